"""`medvqa weights merge`: a run's model as a folder of weights, with the adapters merged into the language model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imageclef_vqa.checkpoints.folder import WORDS, FolderConfig, read_folder_config
from imageclef_vqa.devices import prepare
from imageclef_vqa.errors import UsageError
from imageclef_vqa.files import new_folder
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

    from imageclef_vqa.models.blip2 import Blip2

_LANGUAGE = "language.model."


def merge(target: str | Path, *, workspace: str | Path = ".", run: str = "main") -> dict[str, Any]:
    """Write the model of a run's stage 2 to the new folder `target`; returns the number of merged layers.

    `finetune --preset folder --weights TARGET` starts from it, and its answers are the run's within the precision in
    which the language model is stored.

    Raises:
        MissingStepError: stage 2 is not finished.
        ChangedError: a file of it, or a weight that it started from, has changed.
        UsageError: the run has no adapters.
        FileError: `target` is not empty, or cannot be written.
    """
    at = Workspace.at(workspace, run)
    prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.merge import merge_language
    from imageclef_vqa.checkpoints.pretrained import LANGUAGE
    from imageclef_vqa.inference.answerer import load_stage
    from imageclef_vqa.inference.runs import read_run
    from imageclef_vqa.training.checkpoint import Stage

    config, stage = read_run(at).config.recipe.adapters, Stage(at, 2)
    if config is None:
        raise UsageError(
            f"run {run} has no adapters to merge",
            remedy=f"`{at.typed('medvqa finetune --stage 2 --lora-rank 16')}` trains a run that has",
        )
    tensors, (model, *_) = stage.trained(), load_stage(stage)
    adapters = _by_layer(tensors)
    with new_folder(Path(target), "name a new folder") as folder:
        language = model.preset.file(LANGUAGE)
        assert language is not None, "the run was loaded from it"
        merge_language(language, folder / LANGUAGE, adapters, config.scale)
        _write_rest(model, folder)
    return {"folder": str(target), "layers": len(adapters), "rank": config.rank}


def _by_layer(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A and B of each layer of the language model that has adapters."""
    from imageclef_vqa.models.language.adapters import adapted_layer

    layers = sorted({layer for name in tensors if (layer := adapted_layer(name))})
    return {layer.removeprefix(_LANGUAGE): (tensors[f"{layer}.lora_A"], tensors[f"{layer}.lora_B"]) for layer in layers}


def _write_rest(model: Blip2, folder: Path) -> None:
    """The other parts, tokenizers and `config.json`; what the model's own folder did not have stays absent."""
    from imageclef_vqa.checkpoints.layers import own_tensors, save_weights

    preset, parts = model.preset, ("vision", "qformer", "projection")
    before = (preset.weights and read_folder_config(preset.weights)) or FolderConfig()
    absent = {name: reason for name, reason in before.absent.items() if name.startswith("qformer.")}
    for part in parts:
        own = own_tensors(getattr(model, part))
        kept = {name: tensor for name, tensor in own.items() if f"{part}.{name}" not in absent}
        save_weights(folder / f"{part}.safetensors", kept, {"format": "medvqa"})
    for name in (preset.language.tokenizer_file, WORDS):
        if (path := preset.file(name)) is not None:
            shutil.copyfile(path, folder / name)
    FolderConfig(
        vision=preset.vision,
        qformer=preset.qformer,
        language=preset.language,
        projection=preset.language.width,
        sources=dict.fromkeys((*parts, "language"), "medvqa"),
        absent=absent,
    ).write(folder)
