"""The Querying Transformer (BLIP-2, section 3.1): learnt queries that read an image, and the text beside them.

It is a BERT whose every second layer lets the queries look at the image. Queries and text share the self-attention;
each has a perceptron of its own. What sees what is a matter of masks (BLIP-2, figure 2):

    uni-modal           queries see queries, text sees text            contrastive loss
    multi-modal causal  text also sees queries and earlier text        text generation
    bi-modal            all see all                                    matching

n sequences, q queries, t text tokens, p patches, k keys, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.attention import attend
from imageclef_vqa.models.dropout import Dropout
from imageclef_vqa.models.presets import QFormerConfig

KeysAndValues = tuple[Tensor, Tensor]  # [n, k, d] each
CrossKV = Sequence[KeysAndValues | None]  # of the patches, for each layer; None where a layer does not look at them


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
        return self.read_image(self.look(patches))[0]

    def look(self, patches: Tensor) -> CrossKV:
        """Keys and values [n, p, d] of `patches` [n, p, vision width]: whatever is read beside an image, they are the
        same."""
        return [layer.cross_attention and layer.cross_attention.look(patches) for layer in self.layers]

    def read_image(self, looked: CrossKV) -> tuple[Tensor, list[KeysAndValues]]:
        """What the queries read: [n, q, d]; and their keys and values [n, q, d] in each layer, for `write`."""
        queries, asked = self._embed_queries(looked), []
        for layer, of_image in zip(self.layers, looked, strict=True):
            asked.append(layer.self_attention.look(queries))
            queries = layer.read(layer.self_attention(queries, asked[-1]), of_image)
        return queries, asked

    def read_text(self, text: Tensor, text_mask: Tensor) -> Tensor:
        """Text [n, t] by itself, each token seeing all that `text_mask` (1 for a token, 0 for padding) leaves."""
        states, visible = self._embed_text(text), text_mask.astype("bool").unsqueeze([1, 2])
        for layer in self.layers:
            states = layer.text_mlp(layer.self_attention(states, layer.self_attention.look(states), visible))
        return states

    def read_both(self, looked: CrossKV, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [n, q, d] and text [n, t, d] side by side, bi-modal: all see all."""
        queries, states = self._embed_queries(looked), self._embed_text(text)
        q = queries.shape[1]
        visible = paddle.concat([paddle.ones([len(text), q], dtype="bool"), text_mask.astype("bool")], axis=1)
        for layer, of_image in zip(self.layers, looked, strict=True):
            together = paddle.concat([queries, states], axis=1)
            together = layer.self_attention(together, layer.self_attention.look(together), visible.unsqueeze([1, 2]))
            queries, states = layer.read(together[:, :q], of_image), layer.text_mlp(together[:, q:])
        return queries, states

    def write(self, asked: Sequence[KeysAndValues], text: Tensor, text_mask: Tensor) -> Tensor:
        """Text [n, t, d] after the queries of `read_image`, multi-modal causal: no token sees a later one, and no query
        sees text, so that queries are what they are without it."""
        states, t = self._embed_text(text), text.shape[1]
        earlier = paddle.ones([t, t], dtype="int32").tril().astype("bool") & text_mask.astype("bool").unsqueeze([1, 2])
        queries = paddle.ones([len(text), 1, t, asked[0][0].shape[1]], dtype="bool")
        visible = paddle.concat([queries, earlier], axis=-1)  # [n, 1, t, q + t]
        for layer, of_queries in zip(self.layers, asked, strict=True):
            of_text = layer.self_attention.look(states)
            both = [paddle.concat(pair, axis=1) for pair in zip(of_queries, of_text, strict=True)]
            states = layer.text_mlp(layer.self_attention(states, both, visible))
        return states

    def _embed_queries(self, looked: CrossKV) -> Tensor:
        count = next(len(keys_and_values[0]) for keys_and_values in looked if keys_and_values is not None)
        return self.query_dropout(self.norm(self.queries)).expand([count, -1, -1])

    def _embed_text(self, text: Tensor) -> Tensor:
        return self.dropout(self.norm(self.words(text) + self.positions(paddle.arange(text.shape[1]))))


class QFormerLayer(nn.Layer):
    """BERT's layer (norms after), with a look at the image for the queries in every second one."""

    def __init__(self, config: QFormerConfig, *, looks: bool) -> None:
        super().__init__()
        self.self_attention = Attention(config, config.width)
        self.cross_attention = Attention(config, config.vision_width) if looks else None
        self.query_mlp = MLP(config)
        self.text_mlp = MLP(config)

    def read(self, queries: Tensor, looked: KeysAndValues | None) -> Tensor:
        """Queries after their attention to each other [n, q, d] → after image and perceptron."""
        if self.cross_attention is not None and looked is not None:
            queries = self.cross_attention(queries, looked)
        return self.query_mlp(queries)


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

    def look(self, source: Tensor) -> KeysAndValues:
        """Keys and values [n, k, d] of the sequence that is attended to."""
        return self.key(source), self.value(source)

    def forward(self, x: Tensor, looked: KeysAndValues, visible: Tensor | None = None) -> Tensor:
        dropout = self.attention_dropout if self.training else 0.0
        attended = attend(self.query(x), *looked, self.heads, visible, dropout=dropout)
        return self.norm(x + self.dropout(self.out(attended)))


class MLP(nn.Layer):
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
