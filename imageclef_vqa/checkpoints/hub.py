"""Where a source lies: a path, or a name on the Hugging Face hub, if the network is there. Light: no Paddle."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Thread

from imageclef_vqa.errors import MedvqaError

_SECONDS = 4.0  # for the hub to say what it has, the name of its machine looked up included
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.json", "*.safetensors", "*.bin", "spiece.model", "ice_text.model", "vocab.txt"]


def find_source(name: str) -> Path:
    """The path that `name` is, or the folder into which its files were downloaded.

    Raises:
        MedvqaError: it is neither, or the hub cannot be reached within seconds.
    """
    path = Path(name)
    if path.exists() or not _NAME.fullmatch(name):
        return path
    from huggingface_hub import snapshot_download

    try:
        # Weights that are there in both formats are fetched in one.
        twice = ["*.bin"] if any(file.endswith(".safetensors") for file in _files(name)) else None
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=twice))
    except Exception as error:
        raise MedvqaError(
            f"{name}: no such folder, and it cannot be fetched from the Hugging Face hub ({type(error).__name__})",
            remedy=f"where the network is, fetch config.json, the weight files and the tokenizer of {name} into a "
            "folder, and name that folder here",
        ) from error


def _files(name: str) -> list[str]:
    """The names of the files that the hub has.

    Raises:
        TimeoutError: it said nothing; looking up a machine's name knows no limit of its own, so a thread does it.
        Exception: what the hub's library raises.
    """
    from huggingface_hub import HfApi

    said: list[list[str] | Exception] = []

    def ask() -> None:
        try:
            said.append([file.rfilename for file in HfApi().model_info(name, timeout=_SECONDS).siblings or ()])
        except Exception as error:
            said.append(error)

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS)
    if not said:
        raise TimeoutError
    if isinstance(said[0], Exception):
        raise said[0]
    return said[0]
