"""The language models by the classes of their configs."""

from __future__ import annotations

from imageclef_vqa.models.configs import GLMConfig, LanguageConfig, T5Config
from imageclef_vqa.models.language.glm import GLM
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.t5 import T5

_LANGUAGES = {T5Config: T5, GLMConfig: GLM}


def build_language(config: LanguageConfig) -> Language:
    """The language model of these sizes, with random weights."""
    return _LANGUAGES[type(config)](config)
