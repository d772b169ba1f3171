"""The sizes of each part, and what follows from them by arithmetic: parameters, operations, memory. No Paddle."""

from imageclef_vqa.models.configs.glm import GLMConfig
from imageclef_vqa.models.configs.language import LanguageConfig
from imageclef_vqa.models.configs.qformer import QFormerConfig
from imageclef_vqa.models.configs.t5 import T5Config
from imageclef_vqa.models.configs.vision import VisionConfig

# By the names that a folder of weights gives them.
LANGUAGE_FAMILIES: dict[str, type[LanguageConfig]] = {family.kind: family for family in (T5Config, GLMConfig)}

__all__ = ["LANGUAGE_FAMILIES", "GLMConfig", "LanguageConfig", "QFormerConfig", "T5Config", "VisionConfig"]
