"""What BLIP-2 needs from a language model of any family.

i images, n pairs, q visual tokens, t question tokens, a answer tokens, r rows (answers that are being decoded), k
tokens of a choice, w width, v vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, Protocol

from paddle import Tensor, nn


class Memory(Protocol):
    """What a language model keeps for each of r rows: image, question, and the answer tokens given to `step`."""

    def rows(self, rows: Tensor) -> Any:
        """The memory of these rows (int64); a row may be taken several times or not at all."""


class Language(nn.Layer):
    """A language model that reads visual tokens, then a question, and decodes an answer.

    `start` is the token before an answer's first; `width` is w, `vocabulary` is v. `model` has the names of the
    checkpoint, and `pairs_axis` is that of pairs in what its linear layers read. `answer_reads` says what the
    attentions of a layer read in `answer_logits`, in their order: the answer so far, the prefix (visual tokens and
    question), or both.
    """

    model: nn.Layer
    pairs_axis = 0
    start: int
    width: int
    vocabulary: int
    answer_reads: tuple[Literal["answer", "prefix", "both"], ...]

    @property
    @abstractmethod
    def token_embedding(self) -> Tensor:
        """The embedding of every token [v, w]."""

    @abstractmethod
    def embed(self, tokens: Tensor) -> Tensor:
        """Embeddings [n, t, w] of `tokens` [n, t]."""

    @abstractmethod
    def encode(self, visual: Tensor, question: Tensor, question_mask: Tensor) -> Any:
        """The memory of visual tokens [n, q, w], then the question [n, t]; its mask is 0 at padding, on any side."""

    @abstractmethod
    def encode_shared(self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor) -> Any:
        """As `encode`, with visual tokens [i, q, w] that see only each other, so that they are read once per image.

        `image_of_pair` [n] is the image of each question [n, t]. Question tokens see what they see in `encode`.
        """

    @abstractmethod
    def answer_logits(self, memory: Any, answer: Tensor) -> Tensor:
        """Logits [n, a, v] of each token of the answer [n, a], given the ones before it."""

    @abstractmethod
    def head(self, tokens: Tensor) -> Tensor:
        """The output layer's weights for `tokens` [k] only: [k, w]."""

    @abstractmethod
    def step(self, memory: Any, tokens: Tensor, head: Tensor | None = None) -> tuple[Tensor, Any]:
        """Logits [r, v] of what follows `tokens` [r] (`start` at first), and the memory that includes `tokens`.

        With `head`, logits [r, k] of the tokens that it was made for.
        """

    def answer_log_probs(self, memory: Any, answer: Tensor) -> Tensor:
        """Log-probability of each answer token [n, a], given the ones before it. Padding is scored too: mask it."""
        # From logits, in float32: PaddleNLP's own `labels=` losses count ignored positions (Paddle 3.3.1). Not by
        # `log_softmax`, which takes 200 times as long on the CPU: 3 s for 3.5 million numbers.
        logits = self.answer_logits(memory, answer).astype("float32").flatten(0, 1)
        losses = nn.functional.cross_entropy(logits, answer.flatten(), reduction="none")
        return -losses.reshape(answer.shape)

    def score(self, memory: Any, answer: Tensor) -> Tensor:
        """Log-probability [n] of whole candidate answers [n, a], each with its end token and 0 for padding."""
        mask = (answer != 0).astype("float32")
        return (self.answer_log_probs(memory, answer) * mask).sum(axis=-1)
