"""The text in which a language model meets a question: a template, visual tokens, and perhaps an end token."""

from __future__ import annotations

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import LanguageConfig
from imageclef_vqa.models.language.tokenizer import Tokenizer

_QUESTION, _IMAGE = "{}", "{image}"


class Prompt:
    """The template of a language model's config: `before` are the tokens before the visual ones.

    Each side of the visual tokens is encoded by itself, as LAVIS and VisualGLM do.
    """

    def __init__(self, config: LanguageConfig, tokenizer: Tokenizer) -> None:
        """Raises MedvqaError if the template has no place for a question, or more than one for question or image."""
        before, image, after = config.prompt.rpartition(_IMAGE)
        if after.count(_QUESTION) != 1 or _QUESTION in before or _IMAGE in before:
            raise MedvqaError(
                f"the prompt {config.prompt!r} must have one {_QUESTION}, where the question goes, and at most one "
                f"{_IMAGE} before it"
            )
        self._after, self._tokenizer = after, tokenizer
        self._end = [tokenizer.end] if config.question_end else []
        self.before = tokenizer.encode(before) if image and before else []

    def encode(self, question: str) -> list[int]:
        """The tokens after the visual ones."""
        return self._tokenizer.encode(self._after.replace(_QUESTION, question)) + self._end
