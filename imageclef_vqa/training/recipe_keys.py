"""The keys of a recipe: how one stage is trained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.training.adapter_keys import AdapterKeys

if TYPE_CHECKING:
    from imageclef_vqa.data.augmentation import View
    from imageclef_vqa.models.presets import Preset
    from imageclef_vqa.planning import Workload


def _panel(name: str) -> dict[str, JsonValue]:
    return {"panel": name}


MODEL, DATA, OPTIMISATION, MEMORY, DEVICES = map(
    _panel, ("Model", "Data", "Optimisation", "Memory and speed", "Devices")
)


class Recipe(AdapterKeys):
    """One stage of fine-tuning. The defaults are the paper's (section 3.1), except that answers have any length and no
    target is smoothed.

    Each field's description is the help of its option in `medvqa finetune`, and its panel the group of that option.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    freeze_vision: bool = Field(
        default=False,
        description="Keep the vision encoder as it is (the asterisk in the paper's table 2). Stage 1 always does.",
        json_schema_extra=MODEL,
    )
    unfreeze: int = Field(
        default=0,
        ge=0,
        description="Train the last blocks of a frozen vision encoder, this many; no features are then cached. "
        "Stage 2.",
        json_schema_extra=MODEL,
    )
    answer_weight: float = Field(
        default=1.0,
        ge=0,
        description="Factor on the language model's loss. Stage 2.",
        json_schema_extra=MODEL,
    )
    word_weight: float = Field(
        default=0.0,
        ge=0,
        description="Factor on the squared distance between visual tokens and the embedded words of the answers. "
        "Only for preset tiny, stage 2.",
        json_schema_extra=MODEL,
    )
    share_prefix: bool = Field(
        default=False,
        description="Let the language model read an image's visual tokens once for all its questions; what it makes of "
        "them then does not depend on the question. Stage 2.",
        json_schema_extra=MODEL,
    )

    train_on: Literal["train", "all"] = Field(
        default="train",
        description="train: the training fold. all: the validation images too, for the final fit.",
        json_schema_extra=DATA,
    )
    questions: int = Field(
        default=len(QUESTIONS),
        ge=1,
        le=len(QUESTIONS),
        description="Questions per image and step, drawn at random each time. Stage 2.",
        json_schema_extra=DATA,
    )
    answer_tokens: int = Field(
        default=0,
        ge=0,
        description="Longest answer, in tokens, that validation and `predict` may write; 0: as long as the longest "
        "one in training. Training uses whole answers.",
        json_schema_extra=DATA,
    )
    augment: bool = Field(
        default=False,
        description="Train on images that are turned, brightened or cropped at random where their answers stay true; "
        "with cached features, only mirrored. `predict` averages over the mirrored views by itself.",
        json_schema_extra=DATA,
    )

    epochs: int = Field(ge=1, description="Passes over the training images.", json_schema_extra=OPTIMISATION)
    max_minutes: float = Field(
        default=0.0,
        ge=0,
        description="Stop after this many minutes, as after the last epoch; 0: no limit.",
        json_schema_extra=OPTIMISATION,
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="Stop after this many epochs without a better validation score; 0: never.",
        json_schema_extra=OPTIMISATION,
    )
    batch: int = Field(
        default=16,
        ge=1,
        description="Images, or pairs of image and question, per step over all devices.",
        json_schema_extra=OPTIMISATION,
    )
    batch_unit: Literal["images", "pairs"] = Field(
        default="images",
        description="What batch counts. images: each with its questions, in stage 1 with one statement; an epoch shows "
        "every image once. pairs: single questions, in stage 1 single statements; an epoch shows every pair once.",
        json_schema_extra=DATA,
    )
    learning_rate: float = Field(
        default=1e-4, gt=0, description="Learning rate after the warm-up.", json_schema_extra=OPTIMISATION
    )
    warmup_steps: int = Field(
        default=1000,
        ge=0,
        description="Steps over which the learning rate grows from zero.",
        json_schema_extra=OPTIMISATION,
    )
    decay: bool = Field(
        default=False,
        description="After the warm-up, lower the learning rate to zero along a cosine. The paper keeps it constant.",
        json_schema_extra=OPTIMISATION,
    )
    weight_decay: float = Field(
        default=1e-4, ge=0, description="Weight decay of AdamW.", json_schema_extra=OPTIMISATION
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from each vision layer to the one below it; 1: the same rate for all. "
        "Stage 2.",
        json_schema_extra=OPTIMISATION,
    )
    clip: float = Field(
        default=0.0,
        ge=0,
        description="Largest norm of all gradients together; 0: no limit.",
        json_schema_extra=OPTIMISATION,
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each target that is spread evenly over all classes, in the contrastive and the "
        "generation loss. Stage 1.",
        json_schema_extra=OPTIMISATION,
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay per step of a moving average of the weights, which is then validated and kept; 0: none.",
        json_schema_extra=OPTIMISATION,
    )

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="Precision of matrix products; auto: the best that the device has. Trained weights stay in fp32.",
        json_schema_extra=DEVICES,
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Parts that a batch is computed in, one after another: less memory, the same gradients.",
        json_schema_extra=MEMORY,
    )
    recompute: bool = Field(
        default=False,
        description="Compute vision's activations again in the backward pass: less memory, more time.",
        json_schema_extra=MEMORY,
    )
    cache_features: bool = Field(
        default=True,
        description="Compute the features of a frozen vision encoder once per image, with --augment for four "
        "mirrored views of it, and keep them on disk.",
        json_schema_extra=MEMORY,
    )

    @property
    def trains_vision(self) -> bool:
        """Whether more of vision is trained than its last norm."""
        return not self.freeze_vision or self.unfreeze > 0

    @property
    def caches_features(self) -> bool:
        """Whether vision is frozen, and its features are kept on disk."""
        return self.cache_features and not self.trains_vision

    @property
    def views(self) -> tuple[View, ...]:
        """The views of each image whose features are kept, and over which answers are averaged."""
        from imageclef_vqa.data.augmentation import MIRRORED, PLAIN  # help needs a recipe's fields only

        return MIRRORED if self.augment else (PLAIN,)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of `step` (from 0) of `steps`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if not self.decay:
            return self.learning_rate
        along = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * along))

    def workload(self, preset: Preset, stage: int, **conditions: Any) -> Workload:
        """The workload of this stage for `medvqa plan`; `conditions` are the other fields of `Workload`."""
        from imageclef_vqa.planning import Workload  # help needs a recipe's fields only

        fields = self.model_dump(include={"batch", "batch_unit", "accumulate", "questions", "epochs"})
        fields["freeze_vision"] = not self.trains_vision  # a few blocks count as all: memory is then an upper bound
        fields["views"] = len(self.views) if self.caches_features else 1
        own = fields | {"adapters": self.adapters} | conditions
        return Workload(preset=preset, stage="1" if stage == 1 else "2", **own)

    def contradictions(self, stage: int) -> list[str]:
        """Keys that contradict each other, or that this stage does not have; each with the reason."""
        found = self.adapter_contradictions(stage, share_prefix=self.share_prefix)
        if stage == 1:
            found += [
                f"{name}: only stage 2 has it"
                for name in ("unfreeze", "questions", "answer_weight", "word_weight", "layer_decay", "share_prefix")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
            if not self.freeze_vision:
                found.append("freeze_vision: stage 1 never trains vision")
        else:
            if self.label_smoothing:
                found.append("label_smoothing: only stage 1 has it")
            if self.unfreeze and not self.freeze_vision:
                found.append("unfreeze: without freeze_vision, all of vision is trained")
            if not self.answer_weight and not self.word_weight:
                found.append("answer_weight: there is no loss if word_weight is 0 too")
            if self.batch_unit == "pairs" and self.questions != type(self).model_fields["questions"].default:
                found.append("questions: with batch_unit = pairs, a step takes single questions")
        if self.train_on == "all" and self.patience:
            found.append("patience: with train_on = all there are no validation images")
        if self.accumulate > self.batch:
            found.append(f"accumulate: a batch of {self.batch} cannot be computed in {self.accumulate} parts")
        return found
