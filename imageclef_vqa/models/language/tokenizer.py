"""Text to token ids and back: SentencePiece, as T5's `spiece.model` and ChatGLM's `ice_text.model` hold it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import read_bytes


class Tokenizer:
    """T5's conventions: 0 pads and starts the decoder, 1 ends a text."""

    pad = 0  # for every language model: masks distinguish padding from a token 0
    end = 1

    def __init__(self, model: Path | bytes) -> None:
        """Raises MedvqaError if the file is missing or no SentencePiece model."""
        content = model if isinstance(model, bytes) else read_bytes(model)
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=content)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise MedvqaError(f"{model!s:.200} is not a SentencePiece model: {error}") from error

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
        for index, answer in enumerate(answers):
            ids += (self.separator if index else []) + self.encode(answer)
        return [*ids, self.end]

    @property
    def separator(self) -> list[int]:
        """The ids between two members of a set."""
        return self.encode(";")

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._pieces.decode([i for i in ids if i not in (self.pad, self.end)]))


def learn_tokenizer(texts: Iterable[str], size: int) -> bytes:
    """A SentencePiece model with at most `size` pieces for `texts`; what it cannot spell becomes bytes.

    Equal sets of texts give equal models.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sorted(set(texts))),
        model_writer=model,
        vocab_size=size,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        pad_id=Tokenizer.pad,
        eos_id=Tokenizer.end,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


class GLMTokenizer(Tokenizer):
    """ChatGLM-6B's conventions (`ice_text.model`): <eop> ends an answer; runs of blanks and line ends are pieces.

    The first edition of ChatGLM-6B has 20,000 image tokens before the pieces. The offset is the difference between its
    id of <eop> and the piece's own. Its file has no special pieces: its code appends them.
    """

    def __init__(self, model: Path, end: int) -> None:
        """Raises MedvqaError if the file is missing or not ChatGLM's."""
        super().__init__(model)
        if end == len(self) + _EOP + _IMAGE_TOKENS:
            super().__init__(_with_special_pieces(read_bytes(model)))
        piece = self._pieces.piece_to_id("<eop>")
        if piece == self._pieces.unk_id():
            raise MedvqaError(f"{model} is not a tokenizer of ChatGLM: it has no <eop>")
        self.end, self._offset = end, end - piece

    def encode(self, text: str) -> list[int]:
        text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
        text = re.sub(" {2,80}", lambda blanks: f"<|blank_{len(blanks[0])}|>", text)
        return [self._offset + piece for piece in self._pieces.encode(text)]

    def decode(self, ids: Sequence[int]) -> str:
        text = str(self._pieces.decode([i - self._offset for i in ids if i not in (self.pad, self.end)]))
        text = re.sub(r"<\|blank_(\d+)\|>", lambda blanks: " " * int(blanks[1]), text)
        return text.replace("<n>", "\n").replace("<|tab|>", "\t")


# `SPTokenizer` of the first edition (`tokenization_chatglm.py`): what follows the pieces of its file, in this order.
_IMAGE_TOKENS = 20000
_SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
_EOP = _SPECIAL.index("<eop>")


def _with_special_pieces(content: bytes) -> bytes:
    """A SentencePiece model with the first edition's special pieces, blanks and bytes."""
    from sentencepiece import sentencepiece_model_pb2 as proto

    model, kinds = proto.ModelProto.FromString(content), proto.ModelProto.SentencePiece
    blanks = ("<|tab|>", *(f"<|blank_{length}|>" for length in range(2, 81)))
    for pieces, kind in (
        (_SPECIAL, kinds.CONTROL),
        (blanks, kinds.USER_DEFINED),
        ([f"<0x{byte:02X}>" for byte in range(256)], kinds.BYTE),
    ):
        model.pieces.extend(kinds(piece=piece, score=0.0, type=kind) for piece in pieces)
    model.trainer_spec.byte_fallback = True
    return bytes(model.SerializeToString())
