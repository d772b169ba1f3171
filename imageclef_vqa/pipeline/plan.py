"""What a stage of one or all presets needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imageclef_vqa.checkpoints.folder import choose_preset
from imageclef_vqa.devices import Precision
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import UsageError
from imageclef_vqa.evaluation.paper import PARAMETERS
from imageclef_vqa.models.configs.adapters import Targets
from imageclef_vqa.planning import BatchUnit, Stage, Workload, summarise
from imageclef_vqa.training.adapter_keys import check_adapters
from imageclef_vqa.training.recipe import choose_recipe


def plan(
    presets: Sequence[str],
    stage: Stage,
    *,
    weights: Path | None = None,
    memory: float,
    rate: float,
    image_size: int | None = None,
    recompute: bool = False,
    questions: int | None = None,
    batch: int | None = None,
    batch_unit: BatchUnit | None = None,
    accumulate: int | None = None,
    epochs: int | None = None,
    freeze_vision: bool = False,
    lora_rank: int | None = None,
    lora_targets: Targets | None = None,
    images: int = 1800,
    precision: Precision = "fp32",
    language_bits: int = 16,
    devices: int = 1,
) -> list[dict[str, Any]]:
    """Parameters, memory, operations and time of a stage, for each preset; nothing is fetched or allocated.

    `weights` is the folder whose sizes the preset "folder" has. `memory` is a device's in bytes, `rate` its sustained
    operations per second. What is None is the recipe's.

    Raises:
        UsageError: an option does not fit the preset, the recipe or the stage.
    """
    changes = {"batch": batch, "batch_unit": batch_unit, "accumulate": accumulate, "epochs": epochs}
    lora: dict[str, Any] = {"lora_rank": lora_rank, "lora_targets": lora_targets}
    if stage == "2":
        changes |= {"questions": questions, "freeze_vision": freeze_vision or None}
    summaries = []
    for name in presets:
        preset = choose_preset(name, weights)
        adapters = {} if preset.learns_language and len(presets) > 1 else lora  # in a table, a line without
        check_adapters(preset, adapters.get("lora_rank") or 0)
        size, patch = image_size or preset.vision.image_size, preset.vision.stride
        if image_size and size % patch:
            raise UsageError(f"--image-size {size}: not a multiple of {name}'s patches of {patch} pixels")
        preset = replace(preset, vision=replace(preset.vision, image_size=size, recompute=recompute))
        conditions: dict[str, Any] = {
            "images": images,
            "precision": precision,
            "language_bits": language_bits,
            "devices": devices,
        }
        if stage == "predict":
            _, recipe = choose_recipe(2, preset=name, changes=adapters)
            conditions |= {
                "questions": questions or len(QUESTIONS),
                "adapters": recipe.adapters,
                "views": len(recipe.views),
            }
            workload = Workload(preset=preset, stage=stage, **conditions)
        else:
            _, recipe = choose_recipe(int(stage), preset=name, changes=changes | adapters)
            workload = recipe.workload(preset, int(stage), **conditions)
        summaries.append(summarise(workload, memory, rate, PARAMETERS.get(name)))
    return summaries
