"""BERT's tokenizer, for the text that the Q-Former reads and writes: WordPiece in lower case (`vocab.txt`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imageclef_vqa.errors import MedvqaError, MissingFileError
from imageclef_vqa.inputs import read_text
from imageclef_vqa.models.language.paddlenlp import BertTokenizer
from imageclef_vqa.models.language.tokenizer import Tokenizer

_LARGEST = 10_000_000  # bytes
_PAD, _UNKNOWN, _READ, _END, _WRITE = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]"


class WordPieceTokenizer(Tokenizer):
    """[SEP] ends a text; `reading`, [CLS], begins a text to read, and `writing`, [DEC], a text to write.

    BERT has no [DEC]: LAVIS gives it the first id after BERT's tokens.
    """

    def __init__(self, file: Path, vocabulary: int) -> None:
        """`vocabulary` is the number of tokens that the Q-Former has embeddings for.

        Raises:
            MedvqaError: the file is missing, not a vocabulary of BERT, or larger than the Q-Former's.
        """
        ids = {token: index for index, token in enumerate(_lines(file))}
        if missing := [token for token in (_PAD, _UNKNOWN, _READ, _END) if token not in ids]:
            raise MedvqaError(f"{file} is not a vocabulary of BERT: it has no {', '.join(missing)}")
        if ids[_PAD] != self.pad:
            raise MedvqaError(
                f"{file} is not a vocabulary of BERT: {_PAD} is on line {ids[_PAD] + 1}, not on the first"
            )
        self.end, self.reading, self.writing = ids[_END], ids[_READ], ids.get(_WRITE, max(ids.values()) + 1)
        if (largest := max(*ids.values(), self.writing)) >= vocabulary:
            raise MedvqaError(
                f"{file} has token ids up to {largest}, {_WRITE} included; the Q-Former has embeddings for "
                f"{vocabulary} tokens",
                remedy="use the vocab.txt that these weights were trained with",
            )
        self._ids, self._tokens = ids, {index: token for token, index in ids.items()}
        self._pieces = BertTokenizer(str(file), do_lower_case=True)

    def __len__(self) -> int:
        return len(self._ids)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without an end."""
        return [self._ids[piece] for piece in self._pieces.tokenize(text)]

    def decode(self, ids: Sequence[int]) -> str:
        tokens = [self._tokens[i] for i in ids if i not in (self.pad, self.end)]
        return " ".join(tokens).replace(" ##", "")


def _lines(file: Path) -> list[str]:
    try:
        return read_text(file, _LARGEST).rstrip("\n").split("\n")
    except MissingFileError as error:
        raise MedvqaError(
            f"{file} is missing: the Q-Former needs its tokens to read text in stage 1",
            remedy="put the vocab.txt of bert-base-uncased (Hugging Face hub) there; BLIP-2 was trained with it",
        ) from error
