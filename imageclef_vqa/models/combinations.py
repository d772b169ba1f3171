"""Combinations: any encoder with any language model, as a preset made of two. No Paddle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.errors import UsageError
from imageclef_vqa.models.configs import EFFICIENTNET_LITE, EncoderConfig, LanguageConfig, QFormerConfig
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


def combine(
    name: str,
    vision: EncoderConfig | None = None,
    qformer: QFormerConfig | None = None,
    language: LanguageConfig | None = None,
) -> Preset:
    """The combination called `name`, ENCODER+LANGUAGE; "folder" stands for a part whose config is given.

    Its Q-Former has the sizes of the language model's, and starts at random where no weights have it.

    Raises:
        UsageError: there is no such encoder or language model; the message lists them.
    """
    encoders, languages = dict(ENCODERS), dict(LANGUAGES)
    if vision is not None:
        encoders[FOLDER] = vision
    if language is not None:
        languages[FOLDER] = Preset(name=FOLDER, vision=VIT_G, qformer=qformer or QFormerConfig(), language=language)
    seeing, _, speaking = name.partition(SIGN)
    for kind, part, known in (("encoder", seeing, encoders), ("language model", speaking, languages)):
        if part not in known:
            raise UsageError(f"no {kind} is called {part!r}; there are: {', '.join(dict.fromkeys([*known, FOLDER]))}")
    base, encoder = languages[speaking], encoders[seeing]
    packaged: dict[str, Path | None] = dict(TINY_LANGUAGE) if speaking == "t5-tiny" else {}
    if seeing == "vit-tiny":
        packaged["vision.safetensors"] = TINY_WEIGHTS / "vision.safetensors"
    return replace(
        base,
        name=name,
        vision=encoder,
        qformer=replace(base.qformer, vision_width=encoder.width),
        weights=None,
        packaged=packaged,
        encoder=seeing if seeing in _PACKAGED else None,
        sources={},
        stage1_optional=base.learns_language,
    )
