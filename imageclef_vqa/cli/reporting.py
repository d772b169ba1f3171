"""What `medvqa score` leaves in files: scores, the report, plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from imageclef_vqa.evaluation import Comparisons, ReportFold, render_report
from imageclef_vqa.files import write_json, write_text
from imageclef_vqa.workspace import Workspace


def write_scores(place: Workspace, folds: Sequence[ReportFold]) -> None:
    write_json(
        place.scores, {"folds": {fold.name: fold.score.model_dump(mode="json", by_alias=True) for fold in folds}}
    )


def write_report(path: Path, place: Workspace, name: str, folds: Sequence[ReportFold]) -> None:
    write_text(path, render_report(name, folds))


def write_plots(
    folder: Path | None,
    place: Workspace,
    folds: Sequence[ReportFold],
    compared: Mapping[str, Comparisons] | None = None,
) -> None:
    if folder is None:
        return
