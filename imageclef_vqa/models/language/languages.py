"""The language models and their tokenizers by the classes of their configs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imageclef_vqa.models.configs import GLMConfig, LanguageConfig, T5Config
from imageclef_vqa.models.language.glm import GLM
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.t5 import T5
from imageclef_vqa.models.language.tokenizer import GLMTokenizer, Tokenizer

_LANGUAGES = {T5Config: T5, GLMConfig: GLM}
_TOKENIZERS: dict[type[LanguageConfig], Callable[[Any, Path], Tokenizer]] = {
    T5Config: lambda _config, file: Tokenizer(file),
    GLMConfig: lambda config, file: GLMTokenizer(file, config.eos_token_id),
}


def build_language(config: LanguageConfig) -> Language:
    """The language model of these sizes, with random weights."""
    return _LANGUAGES[type(config)](config)


def read_tokenizer(config: LanguageConfig, file: Path) -> Tokenizer:
    """The language model's tokenizer from its file.

    Raises:
        MedvqaError: the file is missing or damaged.
    """
    return _TOKENIZERS[type(config)](config, file)
