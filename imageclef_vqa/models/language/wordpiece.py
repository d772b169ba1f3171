"""BERT's tokenizer, which the Q-Former's text branch reads and writes with: WordPiece in lower case (`vocab.txt`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.language.paddlenlp import BertTokenizer
from imageclef_vqa.models.language.tokenizer import Tokenizer

_LARGEST = 10_000_000  # bytes
_PAD, _UNKNOWN, _READ, _END, _WRITE = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]"


class WordPieceTokenizer(Tokenizer):
    """[SEP] ends a text; `reading`, [CLS], begins one that is read, and `writing`, [DEC], one that is to be written.

    BERT has no [DEC]: LAVIS gives it the first id after BERT's words.
    """

    def __init__(self, file: Path, vocabulary: int) -> None:
        """`vocabulary` is how many words the Q-Former has embeddings for.

        Raises:
            MedvqaError: the file is missing, no vocabulary of BERT's, or larger than the Q-Former's.
        """
        ids = {word: number for number, word in enumerate(_lines(file))}
        if missing := [word for word in (_PAD, _UNKNOWN, _READ, _END) if word not in ids]:
            raise MedvqaError(f"{file} is no vocabulary of BERT: it has no {', '.join(missing)}")
        if ids[_PAD] != self.pad:
            raise MedvqaError(
                f"{file} is no vocabulary of BERT: {_PAD} stands in line {ids[_PAD] + 1}, not in the first"
            )
        self.end, self.reading, self.writing = ids[_END], ids[_READ], ids.get(_WRITE, max(ids.values()) + 1)
        if (largest := max(*ids.values(), self.writing)) >= vocabulary:
            raise MedvqaError(
                f"{file} has words up to number {largest}, {_WRITE} included; the Q-Former has embeddings for "
                f"{vocabulary}",
                remedy="put the vocab.txt beside it that these weights were trained with",
            )
        self._ids, self._words = ids, {number: word for word, number in ids.items()}
        self._pieces = BertTokenizer(str(file), do_lower_case=True)

    def __len__(self) -> int:
        return len(self._ids)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without an end."""
        return [self._ids[piece] for piece in self._pieces.tokenize(text)]

    def decode(self, ids: Sequence[int]) -> str:
        words = [self._words[i] for i in ids if i not in (self.pad, self.end)]
        return " ".join(words).replace(" ##", "")


def _lines(file: Path) -> list[str]:
    try:
        if file.stat().st_size > _LARGEST:
            raise MedvqaError(f"{file}: more than {_LARGEST} bytes, which no vocabulary has")
        return file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except FileNotFoundError as error:
        raise MedvqaError(
            f"{file} is missing: with these words the Q-Former reads text in stage 1",
            remedy="put the vocab.txt of bert-base-uncased (Hugging Face hub) there, which BLIP-2 was trained with",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise MedvqaError(f"{file} is no vocabulary of BERT: {error}") from error
