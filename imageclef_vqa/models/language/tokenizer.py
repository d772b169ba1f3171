"""Text to token ids and back: SentencePiece, as T5's `spiece.model` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from imageclef_vqa.errors import MedvqaError


class Tokenizer:
    """T5's conventions: 0 pads and starts the decoder, 1 ends a text."""

    pad = 0
    end = 1

    def __init__(self, model: Path) -> None:
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
        except (OSError, RuntimeError) as error:
            raise MedvqaError(f"{model} is no SentencePiece model: {error}") from error

    def __len__(self) -> int:
        return int(self._pieces.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without an end."""
        return list(self._pieces.encode(text))

    def encode_answer(self, answers: Sequence[str]) -> list[int]:
        """A set, written "Pink; Red; White", and its end.

        Members are encoded one by one, so that a member has the same ids in every set: decoding walks a trie of them.
        """
        ids: list[int] = []
        for number, answer in enumerate(answers):
            ids += (self.separator if number else []) + self.encode(answer)
        return [*ids, self.end]

    @property
    def separator(self) -> list[int]:
        return self.encode(";")

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._pieces.decode([i for i in ids if i not in (self.pad, self.end)]))
