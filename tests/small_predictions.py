"""Prediction files as commands leave them: with a record of what they were made from, here of nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imageclef_vqa.artefacts import write_artefact
from imageclef_vqa.editions import Prediction, predictions_text


def write_recorded(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write `predictions` with their record."""
    write_artefact(path, predictions_text(predictions).encode(), command="predict", inputs={})
