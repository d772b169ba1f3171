"""Where a source lies: a path, or a name on the Hugging Face hub, if the network is there."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from imageclef_vqa.errors import MedvqaError

_HUB, _SECONDS = "huggingface.co", 3.0
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.json", "*.safetensors", "*.bin", "spiece.model", "ice_text.model"]


def find_source(name: str) -> Path:
    """The path that `name` is, or the folder into which its files were downloaded.

    Raises:
        MedvqaError: it is neither, or the hub cannot be reached.
    """
    path = Path(name)
    if path.exists() or not _NAME.fullmatch(name):
        return path
    try:
        socket.create_connection((_HUB, 443), timeout=_SECONDS).close()
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except Exception as error:
        raise MedvqaError(
            f"{name}: no such folder, and it cannot be fetched from {_HUB} ({type(error).__name__})",
            remedy=f"where the network is, fetch config.json, the weight files and the tokenizer of {name} into a "
            "folder, and name that folder here",
        ) from error
