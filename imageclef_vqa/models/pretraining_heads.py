"""What stage 1 puts on top of the Q-Former: contrast, match and write (BLIP-2, figure 2). Dropped after stage 1.

n sequences, q queries, t text tokens, d width of the Q-Former, s shared width, v vocabulary.
"""

from __future__ import annotations

import math

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.presets import QFormerConfig


class PretrainingHeads(nn.Layer):
    """Three heads, and the tokens with which text begins: one to read it, one to write it.

    Where `begin` does not give the two tokens, they are the last ids of the Q-Former's vocabulary.
    """

    def __init__(self, config: QFormerConfig, begin: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.read_token, self.write_token = begin or (config.vocabulary - 2, config.vocabulary - 1)
        self.image_to_shared = nn.Linear(config.width, config.shared_width)
        self.text_to_shared = nn.Linear(config.width, config.shared_width)
        # The similarity's inverse temperature, learnt in log (CLIP, section 2.5).
        self.log_scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(math.log(1 / 0.07)))
        self.matching = nn.Linear(config.width, 2)
        self.activate = ACTIVATIONS[config.activation]
        self.transform = nn.Linear(config.width, config.width)
        self.transform_norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.word_bias = self.create_parameter([config.vocabulary], is_bias=True)

    def begin_reading(self, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Text and mask [n, 1 + t], a token in front whose state stands for the whole."""
        return _put_in_front(self.read_token, text, mask)

    def begin_writing(self, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Text and mask [n, 1 + t], the token in front that asks for the first word."""
        return _put_in_front(self.write_token, text, mask)

    @property
    def scale(self) -> Tensor:
        """The inverse temperature [1]."""
        return self.log_scale.clip(max=math.log(100.0)).exp()

    def shared_image(self, queries: Tensor) -> Tensor:
        """Queries in the shared space, each of length 1: [i, q, s]."""
        return nn.functional.normalize(self.image_to_shared(queries), axis=-1)

    def shared_text(self, text: Tensor) -> Tensor:
        """Text by its first token in the shared space, of length 1: [n, s]."""
        return nn.functional.normalize(self.text_to_shared(text[:, 0]), axis=-1)

    def match(self, queries: Tensor) -> Tensor:
        """Logits [n, 2] for "does not belong" and "belongs", the mean over the queries."""
        return self.matching(queries).mean(axis=1)

    def next_word(self, states: Tensor, words: Tensor) -> Tensor:
        """Logits [n, t, v] of the word after each state [n, t, d]; the embedding `words` [v, d] is the output layer."""
        states = self.transform_norm(self.activate(self.transform(states)))
        return paddle.matmul(states, words, transpose_y=True) + self.word_bias


def cosine(image: Tensor, text: Tensor) -> Tensor:
    """The cosine between each text [n, s] and the nearest query of each image [i, q, s]: [i, n]."""
    return paddle.matmul(image, text, transpose_y=True).max(axis=1)


def _put_in_front(token: int, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    first = paddle.full([text.shape[0], 1], token, dtype=text.dtype)
    return paddle.concat([first, text], axis=1), paddle.concat([paddle.ones_like(mask[:, :1]), mask], axis=1)
