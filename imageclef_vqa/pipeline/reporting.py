"""What `medvqa score` leaves in files: scores, the report, plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import atomic_write, write_json, write_text
from imageclef_vqa.pipeline.gather import answers_of
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.evaluation import Comparisons, Model, ReportFold

_THUMBNAIL_BYTES = 8_500_000  # 11.4 MB in the page, which is to stay under 15 MB at 1,938 × 18 answers
_RESAMPLES = 2000


def write_scores(workspace: Workspace, folds: Sequence[ReportFold]) -> None:
    """scores.json of the run."""
    write_json(
        workspace.scores, {"folds": {fold.name: fold.score.model_dump(mode="json", by_alias=True) for fold in folds}}
    )


def write_report(path: Path, workspace: Workspace, name: str, folds: Sequence[ReportFold]) -> None:
    """The report, with thumbnails of the images that were scored."""
    from imageclef_vqa.data.thumbnails import make_thumbnails
    from imageclef_vqa.evaluation import render_report

    scored = {image_id: fold.images[image_id] for fold in folds for image_id, _ in fold.gold if image_id in fold.images}
    thumbnails = make_thumbnails(scored, _THUMBNAIL_BYTES)
    write_text(path, render_report(name, folds, thumbnails=thumbnails, models=_models(workspace, folds)))


def _models(workspace: Workspace, folds: Sequence[ReportFold]) -> list[Model]:
    """The runs of the workspace that answered the same validation images, by BLIP-2 alone."""
    from imageclef_vqa.evaluation import Model, score_answers

    fold = next((fold for fold in folds if fold.name == "val"), None)
    if fold is None:
        return []
    images = {image_id for image_id, _ in fold.gold}
    models = []
    for folder in sorted(path.parent for path in workspace.work.glob("*/stage2")):
        try:
            run = Workspace.at(workspace.root, folder.name)
            size = _size(run)
            given = answers_of(read_predictions(run.predictions("val"))) if size is not None else {}
        except MedvqaError:  # another run's damage is that run's affair
            continue
        if size is not None and images <= {image_id for image_id, _ in given}:
            score = score_answers(given, fold.gold, groups=fold.groups, resamples=_RESAMPLES).overall
            models.append(Model(folder.name, size[0], score.exact_set, frozen=size[1], interval=score.interval))
    return models


def _size(run: Workspace) -> tuple[int, bool] | None:
    """Parameters of a run's model, and whether its vision stayed frozen; None where its files do not tell.

    Raises:
        MedvqaError: the folder of weights that gave the model its sizes is gone.
    """
    from imageclef_vqa.planning import count_parameters
    from imageclef_vqa.training.config import CONFIG, StageConfig

    try:
        config = StageConfig.model_validate_json((run.stage(2) / CONFIG).read_bytes())
    except (OSError, ValueError):
        return None
    return count_parameters(config.starting_point()).total, config.recipe.freeze_vision


def write_plots(
    folder: Path | None,
    workspace: Workspace,
    folds: Sequence[ReportFold],
    compared: Mapping[str, Comparisons] | None = None,
) -> None:
    """Every plot as PNG and SVG in `folder`; nothing without one."""
    if folder is None:
        return
    from imageclef_vqa.evaluation import draw_plots

    comparisons = {name: each.comparisons for name, each in (compared or {}).items()}
    for name, content in draw_plots(folds, _models(workspace, folds), comparisons).items():
        with atomic_write(folder / name, "wb") as file:
            file.write(content)
