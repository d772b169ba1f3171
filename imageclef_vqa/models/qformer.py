"""The Querying Transformer (BLIP-2, section 3.1): learnt queries that read an image, and the text beside them.

It is a BERT whose every second layer lets the queries look at the image. Queries and text share the self-attention;
each has a perceptron of its own. What sees what is a matter of masks (BLIP-2, figure 2):

    uni-modal           queries see queries, text sees text            contrastive loss
    multi-modal causal  text also sees queries and earlier text        text generation
    bi-modal            all see all                                    matching

n sequences, q queries, t text tokens, p patches, d width.
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.attention import attend
from imageclef_vqa.models.dropout import Dropout
from imageclef_vqa.models.presets import QFormerConfig


class QFormer(nn.Layer):
    """Patches → queries [n, q, d]; text alone, or text beside queries, as stage 1 asks."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        initial = nn.initializer.Normal(std=0.02)
        self.queries = self.create_parameter([1, config.queries, config.width], default_initializer=initial)
        self.words = nn.Embedding(config.vocabulary, config.width, weight_attr=paddle.ParamAttr(initializer=initial))
        self.positions = nn.Embedding(config.positions, config.width, weight_attr=paddle.ParamAttr(initializer=initial))
        self.norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.query_dropout = nn.Dropout(config.dropout)  # of what all images share
        self.dropout = Dropout(config.dropout)
        self.layers = nn.LayerList(
            [QFormerLayer(config, looks=number % config.cross_attention_every == 0) for number in range(config.layers)]
        )

    def forward(self, patches: Tensor) -> Tensor:
        """What the queries read from `patches` [n, p, vision width]: [n, q, d]."""
        queries = self._embed_queries(patches.shape[0])
        for layer in self.layers:
            queries, _ = layer(queries, None, patches, None)
        return queries

    def read_text(self, text: Tensor, text_mask: Tensor) -> Tensor:
        """Text [n, t] by itself, each token seeing all that `text_mask` (1 for a token, 0 for padding) leaves."""
        states, visible = self._embed_text(text), text_mask.astype("bool").unsqueeze([1, 2])
        for layer in self.layers:
            _, states = layer(None, states, None, visible)
        return states

    def read_both(self, patches: Tensor, text: Tensor, text_mask: Tensor, *, causal: bool) -> tuple[Tensor, Tensor]:
        """Queries [n, q, d] and text [n, t, d] side by side: multi-modal causal, or bi-modal."""
        queries, states = self._embed_queries(patches.shape[0]), self._embed_text(text)
        visible = visibility(text_mask, queries.shape[1], causal=causal)
        for layer in self.layers:
            queries, states = layer(queries, states, patches, visible)
        return queries, states

    def _embed_queries(self, count: int) -> Tensor:
        return self.query_dropout(self.norm(self.queries)).expand([count, -1, -1])

    def _embed_text(self, text: Tensor) -> Tensor:
        return self.dropout(self.norm(self.words(text) + self.positions(paddle.arange(text.shape[1]))))


def visibility(text_mask: Tensor, queries: int, *, causal: bool) -> Tensor:
    """Who sees whom among `queries` and text: bool [n, 1, q + t, q + t], a row for each that looks.

    With `causal`, queries do not see text and text sees no later text; else all see all. Padding is never seen.
    """
    n, t = text_mask.shape
    columns = paddle.concat([paddle.ones([n, queries], dtype="bool"), text_mask.astype("bool")], axis=1)
    visible = columns.unsqueeze([1, 2]).expand([n, 1, queries + t, queries + t])
    if not causal:
        return visible
    place = paddle.arange(queries + t)
    earlier = (place.unsqueeze(0) <= place.unsqueeze(1)) | (place.unsqueeze(0) < queries)
    return visible & earlier.unsqueeze([0, 1])


class QFormerLayer(nn.Layer):
    """BERT's layer (norms after), with a look at the image for the queries in every second one."""

    def __init__(self, config: QFormerConfig, *, looks: bool) -> None:
        super().__init__()
        self.self_attention = Attention(config, config.width)
        self.cross_attention = Attention(config, config.vision_width) if looks else None
        self.query_mlp = Perceptron(config)
        self.text_mlp = Perceptron(config)

    def forward(
        self, queries: Tensor | None, text: Tensor | None, patches: Tensor | None, visible: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        parts = [part for part in (queries, text) if part is not None]
        together = parts[0] if len(parts) == 1 else paddle.concat(parts, axis=1)
        together = self.self_attention(together, together, visible)
        if queries is not None:
            queries, text = (
                together[:, : queries.shape[1]],
                together[:, queries.shape[1] :] if len(parts) == 2 else None,
            )
            if self.cross_attention is not None:
                queries = self.cross_attention(queries, patches)
            queries = self.query_mlp(queries)
        else:
            text = together
        return queries, None if text is None else self.text_mlp(text)


class Attention(nn.Layer):
    """Attention of one sequence to another of width `source_width`, added to the first and normed."""

    def __init__(self, config: QFormerConfig, source_width: int) -> None:
        super().__init__()
        self.heads, self.attention_dropout = config.heads, config.attention_dropout
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(source_width, config.width)
        self.value = nn.Linear(source_width, config.width)
        self.out = nn.Linear(config.width, config.width)
        self.dropout = Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)

    def forward(self, x: Tensor, source: Tensor, visible: Tensor | None = None) -> Tensor:
        q, k, v = self.query(x), self.key(source), self.value(source)
        dropout = self.attention_dropout if self.training else 0.0
        return self.norm(x + self.dropout(self.out(attend(q, k, v, self.heads, visible, dropout=dropout))))


class Perceptron(nn.Layer):
    """Two linear layers with an activation between, added to the input and normed."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.activate = ACTIVATIONS[config.activation]
        self.widen = nn.Linear(config.width, config.mlp_width)
        self.narrow = nn.Linear(config.mlp_width, config.width)
        self.dropout = Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(self.narrow(self.activate(self.widen(x)))))
