"""The outputs of a converted checkpoint for given inputs, under the names of `expected.safetensors`.

i images and their i texts, q queries, t tokens, a answer tokens, s shared width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from imageclef_vqa.checkpoints.convert import Conversion
from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.parts import build_part
from imageclef_vqa.models.language import Language
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.pretraining_heads import cosine

IGNORED = -100  # a label of an ignored position
_END = 1  # T5's

_QUESTION = ("pixels", "question_ids", "question_mask")
_TEXT = ("pixels", "text_ids", "text_mask")
# Each output, a property of `Outputs`, and the inputs that it needs.
WITHOUT_LANGUAGE = {
    "vision": ("pixels",),
    "qformer": ("pixels",),
    "projected": ("pixels",),
}
WITH_LANGUAGE = {
    **WITHOUT_LANGUAGE,
    "logits": (*_QUESTION, "labels"),
    "loss": (*_QUESTION, "labels"),
    "greedy_ids": _QUESTION,
}
STAGE1 = {
    "vision": ("pixels",),
    "qformer": ("pixels",),
    "itc_image": ("pixels",),
    "itc_text": ("text_ids", "text_mask"),
    "itc_logits_per_image": _TEXT,
    "itm_logits": _TEXT,
}


class Outputs:
    """The outputs for `inputs`, each computed on access; `tokens` is the length of greedy decoding."""

    def __init__(self, conversion: Conversion, inputs: Mapping[str, np.ndarray], tokens: int) -> None:
        self._conversion, self._tokens = conversion, tokens
        self._inputs = {
            name: paddle.to_tensor(array.astype("float32" if array.dtype.kind == "f" else "int64"))
            for name, array in inputs.items()
        }

    @cached_property
    def vision(self) -> Tensor:
        """Patches [i, 1 + p, d], after the final norm."""
        return self._part("vision")(self._inputs["pixels"])

    @cached_property
    def qformer(self) -> Tensor:
        """Queries [i, q, d]."""
        return self._qformer(self.vision)

    @cached_property
    def projected(self) -> Tensor:
        """Visual tokens [i, q, w]."""
        return self._part("projection")(self.qformer)

    @cached_property
    def logits(self) -> Tensor:
        """Logits [i, a, v] of each answer token, given the ones before it."""
        labels = self._inputs["labels"]
        answer = paddle.where(labels == IGNORED, paddle.zeros_like(labels), labels)
        return self._language.answer_logits(self._memory, answer)

    @property
    def loss(self) -> Tensor:
        """The mean negative log-probability of the labels: [1]."""
        labels = self._inputs["labels"].flatten()
        # Summed and divided here: Paddle's own mean counts ignored positions (3.3.1).
        total = F.cross_entropy(self.logits.flatten(0, 1), labels, ignore_index=IGNORED, reduction="sum")
        return (total / (labels != IGNORED).astype("float32").sum()).reshape([1])

    @property
    def greedy_ids(self) -> Tensor:
        """The decoder's start, then the likeliest token at each step; 0 after the end: [i, tokens]."""
        memory, ended = self._memory, paddle.zeros([self._memory.mask.shape[0]], dtype="bool")
        ids = [paddle.full(ended.shape, self._language.start, dtype="int64")]
        while len(ids) < self._tokens:
            logits, memory = self._language.step(memory, ids[-1])
            ids.append(paddle.where(ended, paddle.zeros_like(ids[-1]), logits.argmax(axis=-1)))
            ended = ended | (ids[-1] == _END)
        return paddle.stack(ids, axis=1)

    @cached_property
    def itc_image(self) -> Tensor:
        """Queries in the shared space [i, q, s]."""
        return self._heads.shared_image(self.qformer)

    @cached_property
    def itc_text(self) -> Tensor:
        """Texts in the shared space [i, s]."""
        return self._heads.shared_text(self._qformer.read_text(self._inputs["text_ids"], self._inputs["text_mask"]))

    @property
    def itc_logits_per_image(self) -> Tensor:
        """The cosine of each text and each image's nearest query [i, i]."""
        return cosine(self.itc_image, self.itc_text)

    @property
    def itm_logits(self) -> Tensor:
        """Logits [i, 2] for "does not match" and "matches"."""
        text, mask = self._inputs["text_ids"], self._inputs["text_mask"]
        queries, _ = self._qformer.read_both(self._qformer.encode_image(self.vision), text, mask)
        return self._heads.match(queries)

    @cached_property
    def _qformer(self) -> Any:
        return self._part("qformer")

    @cached_property
    def _heads(self) -> Any:
        return self._part("heads")

    @cached_property
    def _language(self) -> Language:
        assert self._conversion.config.language is not None
        language = build_language(self._conversion.config.language)
        self._load(language.model, "language")
        language.eval()
        return language

    @cached_property
    def _memory(self) -> Any:
        return self._language.encode(self.projected, self._inputs["question_ids"], self._inputs["question_mask"])

    def _part(self, name: str) -> Any:
        layer = build_part(name, self._conversion.config)
        self._load(layer, name)
        layer.eval()
        return layer

    def _load(self, layer: nn.Layer, part: str) -> None:
        absent = [name.removeprefix(f"{part}.") for name in self._conversion.config.absent]
        load_weights(layer, self._conversion.parts[part], str(self._conversion.source.path), absent=absent)
