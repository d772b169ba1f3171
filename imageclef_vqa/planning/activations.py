"""How many numbers a forward pass keeps for the backward pass, part by part.

The factors are Paddle's, not theory's: what each operator saves, and the copies that transposes and splits make. They
were found by fitting Paddle's own count of allocated bytes over layers of many sizes (3.3.1, float32): residuals are
below 0.1%, for GLM below 3%. `examples/benchmarks/plan_memory.py` holds the sums to the peak of real steps.

i images, n pairs or sequences, t tokens, p patches, q queries, d width, m width of the perceptron, h heads, v words.
"""

from __future__ import annotations

from imageclef_vqa.models.presets import GLMConfig, LanguageConfig, QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.planning.parameters import stem_channels

# Of a vocabulary's logits at the start of the backward pass: logits, probabilities, the gradient of the logits.
LOGITS = 3


def vision(sizes: VisionConfig, i: int) -> float:
    t, d, m = 1 + sizes.patches, sizes.width, sizes.mlp_width
    wide = 4 if sizes.activation == "quick_gelu" else 2
    layer = i * (8 * t * d + wide * t * m + sizes.heads * t * t)
    kept = sizes.layers * i * t * d + layer if sizes.recompute else sizes.layers * layer
    return kept + i * (4 * t * d + 3 * sizes.image_size**2) + _stem(sizes, i)


def queries(sizes: QFormerConfig, i: int, p: int) -> float:
    """The queries alone, before p patches of i images."""
    return sizes.layers * (
        _attention(sizes, i, sizes.queries, sizes.queries) + _perceptron(sizes, i, sizes.queries)
    ) + (_looks(sizes) * _attention(sizes, i, sizes.queries, p))


def representation(sizes: QFormerConfig, i: int, t: int, p: int, vision_width: int) -> float:
    """Stage 1: queries alone, text alone, both for i pairs and 2 · i others, and text that is written after queries."""
    q, tokens, matched = sizes.queries, sizes.queries + t, 3 * i
    both = sizes.layers * (_attention(sizes, matched, tokens, tokens) + _perceptron(sizes, matched, tokens))
    both += _looks(sizes) * _attention(sizes, matched, q, p)
    text = sizes.layers * (_attention(sizes, i, t, t) + _perceptron(sizes, i, t))
    write = sizes.layers * (_attention(sizes, i, t, tokens) + _perceptron(sizes, i, t))
    words = LOGITS * i * t * sizes.vocabulary
    return queries(sizes, i, p) + text + both + write + words + i * p * vision_width


def language(sizes: LanguageConfig, n: int, prefix: int, answer: int, *, stored: bool) -> float:
    """n pairs of `prefix` tokens and `answer` tokens; a model `stored` below float32 keeps less, because a matrix that
    is widened for one product does not hold on to what it was multiplied with."""
    layers = (
        _glm(sizes, n, prefix, answer, stored)
        if isinstance(sizes, GLMConfig)
        else _t5(sizes, n, prefix, answer, stored)
    )
    return layers + LOGITS * n * answer * sizes.vocab_size + 2 * n * prefix * sizes.width


def _t5(sizes: T5Config, n: int, t: int, a: int, stored: bool) -> float:
    d, inner, m, h = sizes.d_model, sizes.num_heads * sizes.d_kv, sizes.d_ff, sizes.num_heads
    wide = (2 if sizes.feed_forward_proj == "relu" else 7) - stored
    encoder = n * t * ((6 - 2 * stored) * d + (4 - stored) * inner + wide * m) + 2 * n * h * t * t
    decoder = n * a * ((9 - 3 * stored) * d + (6 - 2 * stored) * inner + wide * m) + 2 * n * h * a * (a + t)
    return sizes.num_layers * encoder + sizes.num_decoder_layers * (decoder + 2 * n * t * inner)


def _glm(sizes: GLMConfig, n: int, t: int, a: int, stored: bool) -> float:
    d, m, h = sizes.hidden_size, sizes.inner_hidden_size, sizes.num_attention_heads
    prefix = n * t * ((17.3 - 3 * stored) * d + (2 - stored) * m)
    said = n * a * ((12.7 - 3 * stored) * d + (2 - stored) * m)
    return sizes.num_layers * (prefix + said + n * h * (t * t + a * (t + a)))


def _attention(sizes: QFormerConfig, n: int, q: int, k: int) -> float:
    return n * (4.25 * q * sizes.width + 2 * k * sizes.width + 2.25 * sizes.heads * q * k)


def _perceptron(sizes: QFormerConfig, n: int, t: int) -> float:
    return n * t * (2.25 * sizes.width + 2 * sizes.mlp_width)


def _looks(sizes: QFormerConfig) -> int:
    return -(-sizes.layers // sizes.cross_attention_every)


def _stem(sizes: VisionConfig, i: int) -> float:
    """Three numbers for each that a convolution puts out: its own, the norm's, the activation's."""
    if sizes.stem == "linear":
        return 0.0
    side, kept = sizes.image_size, 0
    for channels in stem_channels(sizes)[1:]:
        side //= 2
        kept += 3 * channels * side * side
    return float(i * kept)
