"""A run inside the organisers' script: it loads the model from its repository and answers batches of rows."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from imageclef_vqa.pipeline.ask import load_model

MODEL_FOLDER = "model"  # of a submission's repository: a workspace with the run alone
RUN = "main"


class SubmittedModel:
    """The model of a submission; `device` as for `medvqa predict`."""

    def __init__(self, folder: str | Path, device: str = "auto") -> None:
        self._model = load_model(folder, RUN, answers="plain", device=device)

    def answer(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """An answer to each row's `question` about its `image`, a Pillow image; equal images are encoded once."""
        listed = list(rows)
        of_image: dict[str, list[int]] = {}
        pictures = {}
        for number, row in enumerate(listed):
            picture = row["image"].convert("RGB")
            key = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
            pictures[key] = picture
            of_image.setdefault(key, []).append(number)
        answers = [""] * len(listed)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "picture.png"  # PNG keeps the pixels
            for key, numbers in of_image.items():
                pictures[key].save(file)
                found = self._model.ask_open(file, [listed[number]["question"] for number in numbers])
                for number, answer in zip(numbers, found, strict=True):
                    answers[number] = answer
        return answers


def load_submission(repo_id: str, beside: str | Path | None = None, device: str = "auto") -> SubmittedModel:
    """The model in the folder `model/` beside the script, or else in the repository on the Hugging Face hub."""
    local = None if beside is None else Path(beside).resolve().parent / MODEL_FOLDER
    if local is not None and local.is_dir():
        return SubmittedModel(local, device)
    from huggingface_hub import snapshot_download

    return SubmittedModel(Path(snapshot_download(repo_id, allow_patterns=[f"{MODEL_FOLDER}/*"])) / MODEL_FOLDER, device)
