"""A language model from its sizes."""

from __future__ import annotations

from imageclef_vqa.models.language.glm import GLM
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.t5 import T5
from imageclef_vqa.models.presets import GLMConfig, LanguageConfig


def build_language(sizes: LanguageConfig) -> Language:
    """A language model with random weights."""
    return GLM(sizes) if isinstance(sizes, GLMConfig) else T5(sizes)
