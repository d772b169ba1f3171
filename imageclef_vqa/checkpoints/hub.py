"""Sources of weights by name: a path, or a name on the Hugging Face hub. No Paddle."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Thread

from imageclef_vqa.errors import MedvqaError

_SECONDS = 4.0  # for the hub to list a repository's files, including the DNS lookup
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.json", "*.safetensors", "*.bin", "spiece.model", "ice_text.model", "vocab.txt"]


def find_source(name: str) -> Path:
    """`name` as a path, or the folder into which its files were downloaded.

    Raises:
        MedvqaError: it looks like a hub name, and the hub cannot be reached within seconds or does not have it.
    """
    path = Path(name)
    if path.exists() or not _NAME.fullmatch(name):
        return path
    from huggingface_hub import snapshot_download

    try:
        # Of weights in both formats, fetch one.
        ignored = ["*.bin"] if any(file.endswith(".safetensors") for file in _files(name)) else None
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=ignored))
    except Exception as error:
        raise MedvqaError(
            f"{name}: no such folder, and it cannot be fetched from the Hugging Face hub ({type(error).__name__})",
            remedy=f"where there is a network, download config.json, the weight files and the tokenizer of {name} into "
            "a folder, and pass that folder",
        ) from error


def _files(name: str) -> list[str]:
    """The names of the files in a repository of the hub.

    Raises:
        TimeoutError: no answer in time. A DNS lookup has no timeout of its own, so it runs in a thread.
        Exception: any error of the hub's library.
    """
    from huggingface_hub import HfApi

    answer: list[list[str] | Exception] = []

    def ask() -> None:
        try:
            answer.append([file.rfilename for file in HfApi().model_info(name, timeout=_SECONDS).siblings or ()])
        except Exception as error:
            answer.append(error)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if not answer:
        raise TimeoutError
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]
