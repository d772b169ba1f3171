"""Stage 1's heads on the Q-Former, for its losses itc, itm and itg (BLIP-2, figure 2). Stage 2 does not use them.

n sequences, q queries, t text tokens, d width of the Q-Former, s shared width, v vocabulary.
"""

from __future__ import annotations

import math

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.configs import QFormerConfig


class PretrainingHeads(nn.Layer):
    """Heads for itc, itm and itg, and the first tokens of text: one for text that is read, one for text to write.

    `begin` gives these two tokens; by default they are the last two ids of the Q-Former's vocabulary.
    """

    def __init__(self, config: QFormerConfig, begin: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.read_token, self.write_token = begin or (config.vocabulary - 2, config.vocabulary - 1)
        self.image_to_shared = nn.Linear(config.width, config.shared_width)
        self.text_to_shared = nn.Linear(config.width, config.shared_width)
        # The logarithm of the inverse temperature (CLIP, section 2.5).
        self.log_scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(math.log(1 / 0.07)))
        self.matching = nn.Linear(config.width, 2)
        self.activate = ACTIVATIONS[config.activation]
        self.transform = nn.Linear(config.width, config.width)
        self.transform_norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.word_bias = self.create_parameter([config.vocabulary], is_bias=True)

    def begin_reading(self, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Text and mask [n, 1 + t]; the state of the added first token represents the whole text."""
        return _prepend(self.read_token, text, mask)

    def begin_writing(self, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Text and mask [n, 1 + t]; the added first token asks for the first word."""
        return _prepend(self.write_token, text, mask)

    @property
    def scale(self) -> Tensor:
        """The inverse temperature [1]."""
        return self.log_scale.clip(max=math.log(100.0)).exp()

    def shared_image(self, queries: Tensor) -> Tensor:
        """itc: queries in the shared space [i, q, s], each of norm 1."""
        return nn.functional.normalize(self.image_to_shared(queries), axis=-1)

    def shared_text(self, text: Tensor) -> Tensor:
        """itc: text in the shared space [n, s], by its first token, of norm 1."""
        return nn.functional.normalize(self.text_to_shared(text[:, 0]), axis=-1)

    def match(self, queries: Tensor) -> Tensor:
        """itm: logits [n, 2] for "does not match" and "matches", the mean over the queries."""
        return self.matching(queries).mean(axis=1)

    def next_word(self, states: Tensor, words: Tensor) -> Tensor:
        """itg: logits [n, t, v] of the token after each state [n, t, d]; `words` [v, d] is the Q-Former's embedding."""
        states = self.transform_norm(self.activate(self.transform(states)))
        return paddle.matmul(states, words, transpose_y=True) + self.word_bias


def cosine(image: Tensor, text: Tensor) -> Tensor:
    """The cosine between each text [n, s] and the nearest query of each image [i, q, s]: [i, n]."""
    return paddle.matmul(image, text, transpose_y=True).max(axis=1)


def _prepend(token: int, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    first = paddle.full([text.shape[0], 1], token, dtype=text.dtype)
    return paddle.concat([first, text], axis=1), paddle.concat([paddle.ones_like(mask[:, :1]), mask], axis=1)
