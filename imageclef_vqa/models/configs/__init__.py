"""The sizes of each part, and what follows from them by arithmetic: parameters, operations, memory. No Paddle."""

from imageclef_vqa.models.configs.adapters import AdapterConfig
from imageclef_vqa.models.configs.efficientnet import EFFICIENTNET_LITE, EfficientNetConfig
from imageclef_vqa.models.configs.encoder import EncoderConfig
from imageclef_vqa.models.configs.glm import GLMConfig
from imageclef_vqa.models.configs.language import LanguageConfig
from imageclef_vqa.models.configs.qformer import QFormerConfig
from imageclef_vqa.models.configs.t5 import T5Config
from imageclef_vqa.models.configs.vision import VisionConfig

# By the names that a folder of weights gives them.
VISION_FAMILIES: dict[str, type[EncoderConfig]] = {family.kind: family for family in (VisionConfig, EfficientNetConfig)}
LANGUAGE_FAMILIES: dict[str, type[LanguageConfig]] = {family.kind: family for family in (T5Config, GLMConfig)}

__all__ = [
    "EFFICIENTNET_LITE",
    "LANGUAGE_FAMILIES",
    "VISION_FAMILIES",
    "AdapterConfig",
    "EfficientNetConfig",
    "EncoderConfig",
    "GLMConfig",
    "LanguageConfig",
    "QFormerConfig",
    "T5Config",
    "VisionConfig",
]
