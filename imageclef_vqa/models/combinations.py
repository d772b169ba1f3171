"""Combinations: any encoder with any language model, as a preset made of two. No Paddle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.errors import UsageError
from imageclef_vqa.models.configs import EFFICIENTNET_LITE, EncoderConfig, QFormerConfig
from imageclef_vqa.models.configs.published import VIT_G, VIT_L
from imageclef_vqa.models.presets import FOLDER, PRESETS, TINY_LANGUAGE, TINY_WEIGHTS, Preset

SIGN = "+"  # between the two in the name of a combination
_PACKAGED = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
ENCODERS: dict[str, EncoderConfig] = {
    "vit-tiny": PRESETS["tiny"].vision,
    "vit-l": VIT_L,
    "vit-g": VIT_G,
    **{name: EFFICIENTNET_LITE[name] for name in _PACKAGED},
}
# Language models, each by a preset that has it with a Q-Former that fits.
LANGUAGES: dict[str, Preset] = {
    "t5-tiny": PRESETS["tiny"],
    "t5-open": PRESETS["tiny-open"],
    "t5-base": PRESETS["vit-g-t5-base"],
    "t5-3b": PRESETS["vit-g-t5-3b"],
    "glm-6b": PRESETS["vit-g-glm-6b"],
}


class ModelParts(BaseModel):
    """`[model]` of a recipe or of `medvqa.toml`: a combination, by the names of its two parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    vision: str
    language: str

    @property
    def preset(self) -> str:
        """The name of the combination, as `--preset` takes it."""
        return f"{self.vision}{SIGN}{self.language}"


def combine(name: str, own: Mapping[str, Any] | None = None) -> Preset:
    """The combination called `name`, ENCODER+LANGUAGE; "folder" stands for a part of `own`, a folder's configs by part.

    Its Q-Former has the sizes of the language model's, and starts at random where no weights have it.

    Raises:
        UsageError: there is no such encoder or language model; the message lists them.
    """
    encoders, languages = dict(ENCODERS), dict(LANGUAGES)
    vision, _, language = name.partition(SIGN)
    if own and vision == FOLDER:
        encoders[FOLDER] = own["vision"]
    if own and language == FOLDER:
        languages[FOLDER] = Preset(name=FOLDER, **{"vision": VIT_G, "qformer": QFormerConfig()} | dict(own))
    for kind, part, known in (("encoder", vision, encoders), ("language model", language, languages)):
        if part not in known:
            raise UsageError(f"no {kind} is called {part!r}; there are: {', '.join(dict.fromkeys([*known, FOLDER]))}")
    base, encoder = languages[language], encoders[vision]
    packaged = {"vision.safetensors": TINY_WEIGHTS / "vision.safetensors"} if vision == "vit-tiny" else {}
    return replace(
        base,
        name=name,
        vision=encoder,
        qformer=replace(base.qformer, vision_width=encoder.width),
        weights=None,
        packaged=packaged | (TINY_LANGUAGE if language == "t5-tiny" else {}),
        encoder=vision if vision in _PACKAGED else None,
        sources={},
        stage1_optional=base.learns_language,
    )
