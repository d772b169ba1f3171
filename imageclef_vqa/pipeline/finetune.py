"""`medvqa finetune`: a stage of BLIP-2, trained on the training fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imageclef_vqa.checkpoints.folder import choose_preset
from imageclef_vqa.checkpoints.packaged import packaged_weights
from imageclef_vqa.devices import prepare
from imageclef_vqa.errors import UsageError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.pipeline.development import read_development
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.training.recipe import Recipe, choose_recipe
from imageclef_vqa.training.tracking import Service, check_service
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.models.presets import Preset
    from imageclef_vqa.training.finetune import Finetuned


def default_preset(kind: Literal["sentences", "sets"]) -> str:
    """The preset where none is named: with an encoder that was trained on photographs, if its package is installed."""
    lite, tiny = ("lite", "tiny") if kind == "sets" else ("lite-open", "tiny-open")
    encoder = PRESETS[lite].encoder
    return lite if encoder is not None and packaged_weights(encoder) is not None else tiny


def choose_model(
    workspace: Workspace,
    stage: int,
    preset: str | None = None,
    weights: str | Path | None = None,
    recipe: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[Preset, Recipe]:
    """The model and the recipe of a stage; found without Paddle, whose import takes seconds.

    The edition decides which preset is the default.

    Raises:
        UsageError: there is no such preset, recipe or key of a recipe, or the preset cannot answer as the edition asks.
        MedvqaError: the preset's weights are not there.
    """
    kind: Literal["sentences", "sets"] = "sentences" if edition_of(workspace).open else "sets"
    default = default_preset(kind)
    name, chosen = choose_recipe(stage, preset=preset, recipe=recipe, changes=dict(overrides or {}), default=default)
    model = choose_preset(name, None if weights is None else Path(weights))
    if kind not in model.answers:
        raise UsageError(
            f"--preset {name} cannot learn {kind}, which edition {workspace.edition} asks for",
            remedy=f"without --preset, it is {default}; `medvqa plan` lists all of them",
        )
    if kind == "sentences" and chosen.augment:
        raise UsageError("--augment: a changed picture would make sentences about places and colours wrong")
    if model.needs_folder:
        _ = model.folder  # complains if it was not named
    return model, chosen


def finetune(
    workspace: str | Path = ".",
    *,
    stage: int,
    preset: str | None = None,
    weights: str | Path | None = None,
    recipe: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    fold: int = 0,
    fresh: bool = False,
    from_scratch_parts: bool = False,
    device: str = "auto",
    seed: int = 0,
    run: str = "main",
    track: Service | None = None,
    notify: Callable[[str], None] = lambda message: None,
) -> Finetuned:
    """Train a stage, or go on where an unfinished one stopped; `overrides` are keys of the recipe with their values.

    With `from_scratch_parts`, vision, Q-Former or its branch for text may start at random, as a whole. `track` sends
    the numbers of the log to a service, too.

    Raises:
        UsageError: an option cannot be meant, or names what does not exist.
        MedvqaError: the data, an earlier stage or an unfinished run do not fit; a loss is not finite.
    """
    at = Workspace.at(workspace, run)
    model, chosen = choose_model(at, stage, preset, weights, recipe, overrides)
    at.check_development()
    if track is not None:
        check_service(track)
    prepare(device, seed=seed)

    return finetune_stage(
        at,
        model,
        chosen,
        stage,
        seed=seed,
        fold=fold,
        fresh=fresh,
        from_scratch_parts=from_scratch_parts,
        track=track,
        notify=notify,
    )


def finetune_stage(
    workspace: Workspace,
    preset: Preset,
    recipe: Recipe,
    number: int,
    *,
    seed: int,
    fold: int = 0,
    fresh: bool = False,
    from_scratch_parts: bool = False,
    track: Service | None = None,
    notify: Callable[[str], None],
) -> Finetuned:
    """Train stage `number` of the workspace's run on the device that is prepared, or resume it.

    Raises:
        MedvqaError: the data, an earlier stage or an unfinished run do not fit; a loss is not finite.
    """
    from imageclef_vqa.training.finetune import check_options, train_stage
    from imageclef_vqa.training.parallel import Processes
    from imageclef_vqa.training.replacement import replace_finished
    from imageclef_vqa.training.start import StageJob

    check_options(preset, recipe)  # before the data are read
    processes = Processes.start()
    with processes.session(workspace.run_folder):
        with processes.first_goes_ahead():
            if processes.first:
                replace_finished(workspace.stage(number))  # if the process that finished it was killed
            split = sha256(workspace.split_file) if workspace.split_file.exists() else ""
            development = read_development(workspace, fold)
        job = StageJob(
            number=number,
            preset=preset,
            recipe=recipe,
            seed=seed,
            fresh=fresh,
            from_scratch_parts=from_scratch_parts,
            workspace=workspace,
            dataset=development.dataset,
            train=development.training,
            val=development.validation,
            fold=fold,
            split=split,
            track=track,
            processes=processes,
            notify=notify,
        )
        return train_stage(job)
