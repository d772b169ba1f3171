"""How many parameters a BLIP-2 has, part by part; a test compares every number with the layers themselves."""

from __future__ import annotations

from typing import NamedTuple

from imageclef_vqa.models.configs import AdapterConfig
from imageclef_vqa.models.configs.arithmetic import norm
from imageclef_vqa.models.presets import Preset

_CACHE = 2 * 10**9  # bytes
_MOST_IMAGES = 32  # more at once gain little


class Counts(NamedTuple):
    """Parameters of each part; `text` is what the Q-Former has for text, which only stage 1 needs."""

    vision: int
    vision_norm: int  # of these, the last norm, which is trained beside a frozen encoder, too
    qformer: int
    text: int
    projection: int
    language: int
    adapters: int = 0

    @property
    def total(self) -> int:
        return sum(self) - self.vision_norm


def count_parameters(preset: Preset, adapters: AdapterConfig | None = None) -> Counts:
    """The parameters of a preset, and of the adapters of its language model; a shared tensor counts once."""
    return Counts(
        vision=preset.vision.parameters(),
        vision_norm=norm(preset.vision.width),
        qformer=preset.qformer.query_parameters(),
        text=preset.qformer.text_parameters(),
        projection=(preset.qformer.width + 1) * preset.language.width,
        language=preset.language.parameters(),
        adapters=0 if adapters is None else adapters.parameters(preset.language.linear_layers(mlp=adapters.on_mlp)),
    )


def trained_parameters(counts: Counts, stage: int, heads: int, *, vision: bool, language: bool = False) -> int:
    """How many of them a stage trains; `heads` are the parameters of stage 1's heads.

    Stage 2 also trains adapters, and vision and the language model, if these are true.
    """
    if stage == 1:
        return counts.vision_norm + counts.qformer + counts.text + heads
    parts = (counts.vision if vision else counts.vision_norm) + counts.qformer + counts.projection
    return parts + counts.adapters + counts.language * language


def images_at_once(preset: Preset, questions: int, tokens: int) -> int:
    """How many images are answered together: the language model's cache for their questions stays below 2 GB.

    `questions` are those of an image, each of `tokens` tokens.
    """
    per_image = 4 * questions * preset.language.cache_numbers(preset.qformer.queries + tokens)
    return max(1, min(_MOST_IMAGES, _CACHE // per_image))
