"""The Querying Transformer (BLIP-2, section 3.1): learnt queries that read an image, and the text beside them.

It is a BERT; in every second layer, the queries also attend to the image. Queries and text share the self-attention and
have an MLP each. The masks say what attends to what (BLIP-2, figure 2):

    uni-modal           queries see queries, text sees text            itc, image-text contrast
    multi-modal causal  text also sees queries and earlier text        itg, image-grounded text generation
    bi-modal            all see all                                    itm, image-text matching

n sequences, q queries, t text tokens, p patches, k keys, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.attention import attend
from imageclef_vqa.models.configs import QFormerConfig
from imageclef_vqa.models.dropout import Dropout

KeysAndValues = tuple[Tensor, Tensor]  # [n, k, d] each
CrossKV = Sequence[KeysAndValues | None]  # of the patches, for each layer; None without cross-attention


class QFormer(nn.Layer):
    """Patches → queries [n, q, d]; for stage 1 also text, by itself or beside queries."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        initial = nn.initializer.Normal(std=0.02)
        self.queries = self.create_parameter([1, config.queries, config.width], default_initializer=initial)
        self.words = nn.Embedding(config.vocabulary, config.width, weight_attr=paddle.ParamAttr(initializer=initial))
        self.positions = nn.Embedding(config.positions, config.width, weight_attr=paddle.ParamAttr(initializer=initial))
        self.norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.query_dropout = nn.Dropout(config.dropout)  # of what all images share
        self.dropout = Dropout(config.dropout)
        every = config.cross_attention_every
        self.layers = nn.LayerList([QFormerLayer(config, cross=index % every == 0) for index in range(config.layers)])

    def forward(self, patches: Tensor) -> Tensor:
        """Queries [n, q, d] after reading `patches` [n, p, vision width]."""
        return self.read_image(self.encode_image(patches))[0]

    def encode_image(self, patches: Tensor) -> CrossKV:
        """Keys and values [n, p, d] of `patches` [n, p, vision width]; they do not depend on queries or text."""
        return [layer.cross_attention and layer.cross_attention.keys_and_values(patches) for layer in self.layers]

    def read_image(self, cross_kv: CrossKV) -> tuple[Tensor, list[KeysAndValues]]:
        """Queries [n, q, d]; and their own keys and values [n, q, d] in each layer, for `write`."""
        queries, query_kv = self._embed_queries(cross_kv), []
        for layer, image in zip(self.layers, cross_kv, strict=True):
            query_kv.append(layer.self_attention.keys_and_values(queries))
            queries = layer.read(layer.self_attention(queries, query_kv[-1]), image)
        return queries, query_kv

    def read_text(self, text: Tensor, text_mask: Tensor) -> Tensor:
        """Uni-modal: text [n, t] → [n, t, d]; `text_mask` is 1 for a token, 0 for padding."""
        x, visible = self._embed_text(text), text_mask.astype("bool").unsqueeze([1, 2])
        for layer in self.layers:
            x = layer.text_mlp(layer.self_attention(x, layer.self_attention.keys_and_values(x), visible))
        return x

    def read_both(self, cross_kv: CrossKV, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Bi-modal: queries [n, q, d] and text [n, t, d] see each other."""
        queries, x = self._embed_queries(cross_kv), self._embed_text(text)
        q = queries.shape[1]
        visible = paddle.concat([paddle.ones([len(text), q], dtype="bool"), text_mask.astype("bool")], axis=1)
        for layer, image in zip(self.layers, cross_kv, strict=True):
            both = paddle.concat([queries, x], axis=1)
            both = layer.self_attention(both, layer.self_attention.keys_and_values(both), visible.unsqueeze([1, 2]))
            queries, x = layer.read(both[:, :q], image), layer.text_mlp(both[:, q:])
        return queries, x

    def write(self, query_kv: Sequence[KeysAndValues], text: Tensor, text_mask: Tensor) -> Tensor:
        """Multi-modal causal: text [n, t, d] that sees earlier text and the queries of `read_image`.

        No query sees text, so the queries stay as `read_image` made them.
        """
        x, t = self._embed_text(text), text.shape[1]
        earlier = paddle.ones([t, t], dtype="int32").tril().astype("bool") & text_mask.astype("bool").unsqueeze([1, 2])
        queries = paddle.ones([len(text), 1, t, query_kv[0][0].shape[1]], dtype="bool")
        visible = paddle.concat([queries, earlier], axis=-1)  # [n, 1, t, q + t]
        for layer, of_queries in zip(self.layers, query_kv, strict=True):
            of_text = layer.self_attention.keys_and_values(x)
            both = [paddle.concat(pair, axis=1) for pair in zip(of_queries, of_text, strict=True)]
            x = layer.text_mlp(layer.self_attention(x, both, visible))
        return x

    def _embed_queries(self, cross_kv: CrossKV) -> Tensor:
        n = next(len(keys_and_values[0]) for keys_and_values in cross_kv if keys_and_values is not None)
        return self.query_dropout(self.norm(self.queries)).expand([n, -1, -1])

    def _embed_text(self, text: Tensor) -> Tensor:
        return self.dropout(self.norm(self.words(text) + self.positions(paddle.arange(text.shape[1]))))


class QFormerLayer(nn.Layer):
    """BERT's layer (norms come last); with `cross`, the queries also attend to the image."""

    def __init__(self, config: QFormerConfig, *, cross: bool) -> None:
        super().__init__()
        self.self_attention = Attention(config, config.width)
        self.cross_attention = Attention(config, config.vision_width) if cross else None
        self.query_mlp = MLP(config)
        self.text_mlp = MLP(config)

    def read(self, queries: Tensor, image: KeysAndValues | None) -> Tensor:
        """Queries [n, q, d] after self-attention → after cross-attention and MLP."""
        if self.cross_attention is not None and image is not None:
            queries = self.cross_attention(queries, image)
        return self.query_mlp(queries)


class Attention(nn.Layer):
    """Attention to a sequence of width `source_width`, added to its input and normed."""

    def __init__(self, config: QFormerConfig, source_width: int) -> None:
        super().__init__()
        self.heads, self.attention_dropout = config.heads, config.attention_dropout
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(source_width, config.width)
        self.value = nn.Linear(source_width, config.width)
        self.out = nn.Linear(config.width, config.width)
        self.dropout = Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)

    def keys_and_values(self, source: Tensor) -> KeysAndValues:
        """Keys and values [n, k, d] of the sequence that is attended to."""
        return self.key(source), self.value(source)

    def forward(self, x: Tensor, source: KeysAndValues, visible: Tensor | None = None) -> Tensor:
        dropout = self.attention_dropout if self.training else 0.0
        attended = attend(self.query(x), *source, self.heads, visible, dropout=dropout)
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
