"""The presets: a BLIP-2 each, as the configs of its parts. No Paddle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from imageclef_vqa.errors import UsageError
from imageclef_vqa.models.configs import (
    EFFICIENTNET_LITE,
    EncoderConfig,
    GLMConfig,
    LanguageConfig,
    QFormerConfig,
    T5Config,
    VisionConfig,
)
from imageclef_vqa.models.configs.published import T5_3B, T5_BASE, VIT_G, VIT_L

FOLDER = "folder"  # instead of a preset's name: the sizes are those of a folder of weights


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A BLIP-2: its parts, and the folder of the weights that it starts from, if they come with the package."""

    name: str
    # Which answers its language model can learn: sets of the closed vocabulary, sentences, or both.
    answers: frozenset[Literal["sets", "sentences"]] = frozenset({"sets", "sentences"})
    # It starts at random and is trained in stage 2, with a tokenizer learnt from the training texts.
    learns_language: bool = False
    vision: EncoderConfig
    qformer: QFormerConfig
    language: LanguageConfig
    weights: Path | None = None
    # Files of parts that are elsewhere in the package, by name, instead of those in the folder; None: at random.
    packaged: Mapping[str, Path | None] = field(default_factory=dict)
    encoder: str | None = None  # the name of a vision encoder whose weights come as a Python package
    # Published checkpoints that start each stage: names on the Hugging Face hub, or LAVIS's files.
    sources: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    stage1_optional: bool = False  # the weights are those of a Q-Former that stage 2 has trained

    @property
    def folder(self) -> Path:
        """The folder with the weights.

        Raises:
            UsageError: none was named, and the package has none for this preset.
        """
        if self.weights is None:
            raise UsageError(
                f"preset {self.name} comes without weights: name their folder with --weights",
                remedy=f"`medvqa weights convert` makes it{self.published and ', '}{self.published}",
            )
        return self.weights

    def in_folder(self, part: str) -> bool:
        """Whether the weights of a part, such as "vision", do not come with a package: the folder may have them."""
        return f"{part}.safetensors" not in self.packaged and (part != "vision" or self.encoder is None)

    def file(self, name: str) -> Path | None:
        """The file `name` of the weights, if there is one: of a part in the package, or in the folder."""
        if name == "vision.safetensors" and self.encoder is not None:
            return None
        path = self.packaged[name] if name in self.packaged else self.weights and self.weights / name
        return path if path and path.exists() else None

    @property
    def needs_folder(self) -> bool:
        """Whether vision or a frozen language model does not come with a package."""
        return self.in_folder("vision") or (not self.learns_language and self.in_folder("language"))

    @property
    def own_weights(self) -> Path | None:
        """The folder of weights if it is not one of the package's."""
        return self.weights if self.weights not in (TINY_WEIGHTS, LITE_WEIGHTS) else None

    @property
    def published(self) -> str:
        """What each stage starts from, in words."""
        return "; ".join(f"for stage {stage} from {' and '.join(names)}" for stage, names in self.sources.items())


# With BERT's branch for text, which stage 1 trains; checkpoints of stage 2, such as blip2-flan-t5-xl, lack it.
_STAGE1_G = "Salesforce/blip2-itm-vit-g (or LAVIS's blip2_pretrained.pth with eva_vit_g.pth)"
_HERE = Path(__file__).parent
TINY_WEIGHTS, LITE_WEIGHTS = _HERE / "tiny", _HERE / "lite"
# Made by `pretraining.tiny_language`; other presets have it too.
TINY_LANGUAGE = {name: TINY_WEIGHTS / name for name in ("language.safetensors", T5Config.tokenizer_file)}

# For open questions: small enough to learn to speak from a few thousand sentences.
SPEAKER = T5Config(
    vocab_size=2048,
    d_model=192,
    d_kv=32,
    d_ff=512,
    num_layers=2,
    num_decoder_layers=2,
    num_heads=6,
    dropout_rate=0.15,
    prompt="{}",
    question_end=False,
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="tiny",
            vision=VisionConfig(
                image_size=128, patch_size=16, width=128, layers=3, heads=4, mlp_width=256, stem="convolutional"
            ),
            qformer=QFormerConfig(
                queries=20,
                width=128,
                layers=4,
                heads=4,
                mlp_width=256,
                vision_width=128,
                vocabulary=384,
                positions=64,
                norm_epsilon=1e-6,
                dropout=0.1,
                attention_dropout=0.0,
                shared_width=64,
                text="language",
            ),
            language=T5Config(
                vocab_size=384,
                d_model=128,
                d_kv=32,
                d_ff=256,
                num_layers=2,
                num_decoder_layers=2,
                num_heads=4,
                dropout_rate=0.0,
                prompt="{}",  # it has learnt from questions without any text around them
                question_end=False,
            ),
            answers=frozenset({"sets"}),
            weights=TINY_WEIGHTS,
            stage1_optional=True,
        ),
        # The paper's table 2; each row with vision frozen (its asterisk) or trained.
        Preset(
            name="vit-l-t5-base",
            vision=VIT_L,
            qformer=QFormerConfig(vision_width=1024),
            language=T5_BASE,
            sources=dict.fromkeys(
                (1, 2), ("LAVIS's blip2_pretrained_vitL.pth with clip_vit_L.pth", "google-t5/t5-base")
            ),
        ),
        Preset(
            name="vit-g-t5-base",
            vision=VIT_G,
            qformer=QFormerConfig(),
            language=T5_BASE,
            sources={
                1: (_STAGE1_G, "google-t5/t5-base"),
                2: ("Salesforce/blip2-itm-vit-g", "google-t5/t5-base"),
            },
        ),
        Preset(
            name="vit-g-t5-3b",
            vision=VIT_G,
            qformer=QFormerConfig(),
            language=T5_3B,
            sources={1: (_STAGE1_G, "google/flan-t5-xl"), 2: ("Salesforce/blip2-flan-t5-xl",)},
        ),
        Preset(
            name="vit-g-glm-6b",
            vision=VIT_G,
            qformer=QFormerConfig(),
            language=GLMConfig(),
            sources={
                1: (_STAGE1_G, "THUDM/chatglm-6b"),
                2: ("Salesforce/blip2-itm-vit-g", "THUDM/chatglm-6b"),
            },
        ),
    )
}


PRESETS["tiny-open"] = replace(
    PRESETS["tiny"],
    name="tiny-open",
    answers=frozenset({"sentences"}),
    learns_language=True,
    qformer=replace(PRESETS["tiny"].qformer, vocabulary=SPEAKER.vocab_size),
    language=SPEAKER,
)


_LITE = EFFICIENTNET_LITE["efficientnet-lite2"]
PRESETS["lite"] = replace(
    PRESETS["tiny"],
    name="lite",
    encoder="efficientnet-lite2",
    vision=_LITE,
    qformer=replace(PRESETS["tiny"].qformer, vision_width=_LITE.width),
    weights=LITE_WEIGHTS,
    packaged=TINY_LANGUAGE,
)
PRESETS["lite-open"] = replace(
    PRESETS["tiny-open"],
    name="lite-open",
    weights=None,
    encoder="efficientnet-lite2",
    vision=_LITE,
    qformer=replace(PRESETS["tiny-open"].qformer, vision_width=_LITE.width),
)


def find_preset(name: str, weights: Path | None = None) -> Preset:
    """The preset called `name`; it starts from the folder `weights` where one is given.

    Raises:
        UsageError: no preset has this name; the message lists them.
    """
    if name not in PRESETS:
        raise UsageError(f"no preset is called {name!r}; there are: {', '.join(PRESETS)}")
    preset = PRESETS[name]
    if weights is None:
        return preset
    encoder = None if (weights / "vision.safetensors").exists() else preset.encoder
    return replace(preset, weights=weights, packaged={}, encoder=encoder)
