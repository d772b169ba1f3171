"""What `medvqa score` writes for people: the report and the plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from imageclef_vqa.data.thumbnails import make_thumbnails
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import DamagedFileError, MedvqaError, MissingFileError
from imageclef_vqa.evaluation import (
    Comparisons,
    EpochChoice,
    Model,
    ReportFold,
    draw_plots,
    render_report,
    score_answers,
)
from imageclef_vqa.evaluation.plots import rendered
from imageclef_vqa.evaluation.text.compare import TextComparisons
from imageclef_vqa.evaluation.text.folds import TextFold
from imageclef_vqa.evaluation.text.plots import text_drawings
from imageclef_vqa.evaluation.text.report import render_text_report
from imageclef_vqa.files import atomic_write, write_text
from imageclef_vqa.inputs import read_model
from imageclef_vqa.pipeline.answers import answers_of
from imageclef_vqa.training.history import read_history
from imageclef_vqa.workspace import Workspace

_THUMBNAIL_BYTES = 8_500_000  # 11.4 MB as text in the page, which stays under 15 MB at full size
_RESAMPLES = 2000


def write_report(
    path: Path,
    workspace: Workspace,
    name: str,
    folds: Sequence[ReportFold | TextFold],
    *,
    heat_maps_on: str | None = None,
) -> None:
    """The report, with thumbnails of the scored images, and heat maps of wrong answers if their device is named."""
    if heat_maps_on is not None:
        from imageclef_vqa.pipeline.heat_maps import with_heat_maps

        folds = with_heat_maps(workspace, folds, heat_maps_on)
    scored = {image_id: fold.images[image_id] for fold in folds for image_id, _ in fold.gold if image_id in fold.images}
    thumbnails = make_thumbnails(scored, _THUMBNAIL_BYTES)
    if sentences := [fold for fold in folds if isinstance(fold, TextFold)]:
        write_text(path, render_text_report(name, sentences, thumbnails=thumbnails))
        return
    closed = [fold for fold in folds if isinstance(fold, ReportFold)]
    write_text(path, render_report(name, closed, thumbnails=thumbnails, models=_models(workspace, closed)))


def write_plots(
    folder: Path,
    workspace: Workspace,
    folds: Sequence[ReportFold | TextFold] = (),
    compared: Mapping[str, Comparisons | TextComparisons] | None = None,
) -> None:
    """Every plot as PNG and SVG in `folder`."""
    closed = [fold for fold in folds if isinstance(fold, ReportFold)]
    sentences = [fold for fold in folds if isinstance(fold, TextFold)]
    of_sets = {n: each.comparisons for n, each in (compared or {}).items() if isinstance(each, Comparisons)}
    of_text = {n: each.comparisons for n, each in (compared or {}).items() if isinstance(each, TextComparisons)}
    plots = draw_plots(closed, _models(workspace, closed), of_sets) | rendered(text_drawings(sentences, of_text))
    for name, content in plots.items():
        with atomic_write(folder / name, "wb") as file:
            file.write(content)


def _models(workspace: Workspace, folds: Sequence[ReportFold]) -> list[Model]:
    """The runs of the workspace whose BLIP-2 answered the same validation images."""
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
        except MedvqaError:  # a damaged run is not drawn; its own commands report it
            continue
        if size is not None and images <= {image_id for image_id, _ in given}:
            score = score_answers(given, fold.gold, groups=fold.groups, resamples=_RESAMPLES).overall
            models.append(Model(folder.name, size[0], score.exact_set, frozen=size[1], interval=score.interval))
    return models


def _size(run: Workspace) -> tuple[int, bool] | None:
    """Parameters of a run's model, and whether its vision stayed frozen; None where its files do not tell.

    Raises:
        MedvqaError: the folder of weights that the model started from is gone.
    """
    from imageclef_vqa.planning import count_parameters
    from imageclef_vqa.training.config import CONFIG, StageConfig

    try:
        config = read_model(run.stage(2) / CONFIG, StageConfig)
    except (MissingFileError, DamagedFileError):
        return None
    return count_parameters(config.starting_point()).total, not config.recipe.trains_vision


def epoch_choice(workspace: Workspace) -> EpochChoice | None:
    """The epoch of stage 2 that the validation images chose; None for an ensemble, and without validation."""
    history = read_history(workspace.stage(2))
    if history is None or history.best is None or history.best_epoch is None or history.last is None:
        return None
    return EpochChoice(
        epoch=history.best_epoch, epochs=history.epoch, exact_set=history.best, last_exact_set=history.last
    )
