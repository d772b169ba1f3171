"""Floating-point operations of forward passes; a product of [a, b] and [b, c] has 2·a·b·c. Norms and sums are left out.

i images, n pairs, t tokens, p patches, q queries, a answer tokens, d width, m width of the perceptron.
"""

from __future__ import annotations

from imageclef_vqa.models.presets import GLMConfig, LanguageConfig, QFormerConfig, T5Config, VisionConfig


def vision(sizes: VisionConfig, i: int) -> float:
    t, d = 1 + sizes.patches, sizes.width
    patches = 2 * sizes.patches * 3 * sizes.patch_size**2 * d
    return float(i * (patches + sizes.layers * (_layer(t, d, sizes.mlp_width, 2) + _scores(t, t, d))))


def queries(sizes: QFormerConfig, i: int, p: int) -> float:
    return i * (_bert(sizes, sizes.queries) + _keys(sizes, p) + _look(sizes, p))


def representation(sizes: QFormerConfig, i: int, t: int, p: int) -> float:
    """Stage 1: queries, text, both for 3 · i pairs that are matched, and text that is written after the queries."""
    both = _bert(sizes, sizes.queries + t) + _look(sizes, p)
    write = _bert(sizes, t) + sizes.layers * _scores(t, sizes.queries, sizes.width)
    words = 2 * t * sizes.width * sizes.vocabulary
    return queries(sizes, i, p) + i * (_bert(sizes, t) + 3 * both + write + words)


def language(sizes: LanguageConfig, n: int, prefix: int, answer: int) -> float:
    """The prefix (visual tokens and question) and an answer, all its tokens at once."""
    words = 2 * answer * sizes.width * sizes.vocab_size
    if isinstance(sizes, GLMConfig):
        d, m = sizes.hidden_size, sizes.inner_hidden_size
        scores = _scores(prefix, prefix, d) + _scores(answer, prefix + answer, d)
        return float(n * (sizes.num_layers * (_layer(prefix + answer, d, m, 2) + scores) + words))
    return float(n * (_t5(sizes, prefix, answer) + words))


def _t5(sizes: T5Config, t: int, a: int) -> int:
    d, inner = sizes.d_model, sizes.num_heads * sizes.d_kv
    wide = (2 if sizes.feed_forward_proj == "relu" else 3) * d * sizes.d_ff
    encoder = 2 * t * (4 * d * inner + wide) + _scores(t, t, inner)
    decoder = 2 * a * (6 * d * inner + wide) + 2 * t * 2 * d * inner + _scores(a, a + t, inner)
    return sizes.num_layers * encoder + sizes.num_decoder_layers * decoder


def _bert(sizes: QFormerConfig, t: int) -> int:
    return sizes.layers * (_layer(t, sizes.width, sizes.mlp_width, 2) + _scores(t, t, sizes.width))


def _keys(sizes: QFormerConfig, p: int) -> int:
    """Keys and values of p patches, once for all that is read beside them."""
    return _looks(sizes) * 2 * p * 2 * sizes.vision_width * sizes.width


def _look(sizes: QFormerConfig, p: int) -> int:
    d, q = sizes.width, sizes.queries
    return _looks(sizes) * (2 * q * 2 * d * d + _scores(q, p, d))


def _looks(sizes: QFormerConfig) -> int:
    return -(-sizes.layers // sizes.cross_attention_every)


def _layer(t: int, d: int, m: int, matrices: int) -> int:
    return 2 * t * (4 * d * d + matrices * d * m)


def _scores(q: int, k: int, d: int) -> int:
    return 2 * 2 * q * k * d
