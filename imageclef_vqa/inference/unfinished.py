"""Predictions under way: kept beside the target as they come, so that a stopped run loses one batch at most."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from imageclef_vqa.task import Prediction


class Unfinished:
    """What was answered so far, in whole batches of `batch` records: sums depend on what is computed together, so a
    run that goes on must cut the same batches. What another model or data set (another `key`) left is thrown away."""

    def __init__(self, target: Path, key: str, batch: int) -> None:
        self._path, self._batch = target.with_name(f".{target.name}.unfinished"), batch
        self.predictions = self._read(key)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("\n".join([key, *map(_line, self.predictions)]) + "\n", encoding="utf-8")

    def add(self, predictions: list[Prediction]) -> None:
        self.predictions += predictions
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(_line(prediction) + "\n" for prediction in predictions))

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)

    def _read(self, key: str) -> list[Prediction]:
        try:
            found, *lines = self._path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError, ValueError):
            return []
        predictions: list[Prediction] = []
        if found == key:
            for line in lines:
                try:
                    predictions.append(Prediction.model_validate_json(line))
                except ValidationError:
                    break  # the line that was being written when the run was stopped
        return predictions[: len(predictions) // self._batch * self._batch]


def _line(prediction: Prediction) -> str:
    return prediction.model_dump_json(exclude_defaults=True)
