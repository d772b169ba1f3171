"""The keys of a recipe for low-rank adapters of the language model. Stage 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, JsonValue

from imageclef_vqa.errors import UsageError
from imageclef_vqa.models.configs.adapters import AdapterConfig, Targets

if TYPE_CHECKING:
    from imageclef_vqa.models.presets import Preset

_PANEL: dict[str, JsonValue] = {"panel": "Adapters of the language model"}


class AdapterKeys(BaseModel):
    """LoRA under the names of peft's `LoraConfig`."""

    lora_rank: int = Field(
        default=0,
        ge=0,
        description="Rank of low-rank adapters (LoRA) on the frozen language model; 0: none. Stage 2.",
        json_schema_extra=_PANEL,
    )
    lora_alpha: float = Field(
        default=AdapterConfig.alpha,
        gt=0,
        description="What adapters add is multiplied by this number over the rank.",
        json_schema_extra=_PANEL,
    )
    lora_dropout: float = Field(
        default=AdapterConfig.dropout,
        ge=0,
        lt=1,
        description="Share of the channels that adapters do not read in a training step.",
        json_schema_extra=_PANEL,
    )
    lora_targets: Targets = Field(
        default=AdapterConfig.targets,
        description="Linear layers that have adapters: those of attention, or those of the MLPs too.",
        json_schema_extra=_PANEL,
    )

    @property
    def adapters(self) -> AdapterConfig | None:
        """The adapters; None for rank 0."""
        if not self.lora_rank:
            return None
        return AdapterConfig(
            rank=self.lora_rank, alpha=self.lora_alpha, dropout=self.lora_dropout, targets=self.lora_targets
        )

    def adapter_contradictions(self, stage: int, *, share_prefix: bool) -> list[str]:
        """Keys that this stage does not have, or that contradict each other."""
        changed = [name for name, key in AdapterKeys.model_fields.items() if getattr(self, name) != key.default]
        if stage == 1:
            return [f"{name}: only stage 2 has it" for name in changed]
        if not self.lora_rank:
            return [f"{name}: there are no adapters with lora_rank = 0" for name in changed]
        if self.lora_dropout and share_prefix:
            return ["lora_dropout: it drops channels per question, and with share_prefix all questions share a reading"]
        return []


def check_adapters(preset: Preset, lora_rank: int) -> None:
    """Reject adapters of a language model that is not frozen.

    Raises:
        UsageError: the preset's language model is trained as a whole.
    """
    if lora_rank and preset.learns_language:
        raise UsageError(
            f"--lora-rank {lora_rank}: the language model of {preset.name} is trained as a whole",
            remedy="leave it out, or choose a preset whose language model is frozen",
        )
