"""How many parameters a model has and keeps, by arithmetic on its sizes: nothing is allocated, without Paddle.

A test holds every number here to that of the layers themselves.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from imageclef_vqa.models.presets import GLMConfig, LanguageConfig, Preset, QFormerConfig, T5Config, VisionConfig

# Answers under way for each question, and tokens that each has said: few questions have more, most have fewer.
BEAM, SAID = 5, 4
_CACHE = 2 * 10**9  # bytes


class Counts(NamedTuple):
    """The parameters of a BLIP-2, part by part; `text` are those of the Q-Former that only stage 1's text needs."""

    vision: int
    qformer: int
    text: int
    projection: int
    language: int

    @property
    def total(self) -> int:
        return sum(self)


def count(preset: Preset) -> Counts:
    """The parameters of a preset; a tensor that several layers share counts once."""
    return Counts(
        vision=vision_parameters(preset.vision),
        qformer=_query_parameters(preset.qformer),
        text=_text_parameters(preset.qformer),
        projection=_linear(preset.qformer.width, preset.language.width),
        language=language_parameters(preset.language),
    )


def trained(counts: Counts, stage: int, heads: int, *, vision: bool) -> int:
    """How many of them learn in a stage; `heads` are stage 1's own."""
    if stage == 1:
        return counts.qformer + counts.text + heads
    return counts.qformer + counts.projection + (counts.vision if vision else 0)


def vision_parameters(sizes: VisionConfig) -> int:
    d, m = sizes.width, sizes.mlp_width
    layer = 2 * _norm(d) + 3 * d * d + (3 * d if sizes.qkv_bias else 0) + _linear(d, d) + _linear(d, m) + _linear(m, d)
    ends = _norm(d) * (2 if sizes.patch_norm else 1) + (2 + sizes.patches) * d  # class token, positions
    return _stem(sizes) + ends + sizes.layers * layer


def head_parameters(sizes: QFormerConfig) -> int:
    """Stage 1's heads: contrast, match and write."""
    d = sizes.width
    shared = 2 * _linear(d, sizes.shared_width) + 1
    return shared + _linear(d, 2) + _linear(d, d) + _norm(d) + sizes.vocabulary


def language_parameters(sizes: LanguageConfig) -> int:
    return _glm(sizes) if isinstance(sizes, GLMConfig) else _t5(sizes)


def largest_matrix(sizes: LanguageConfig) -> int:
    """Of a frozen language model, what is widened at once: a layer's largest matrix, or a block of the vocabulary."""
    if isinstance(sizes, GLMConfig):
        return sizes.width * max(sizes.inner_hidden_size, 3 * sizes.width, min(sizes.vocab_size, 8192))
    words = min(sizes.vocab_size, 8192) if sizes.tie_word_embeddings else sizes.vocab_size
    return sizes.width * max(sizes.d_ff, sizes.num_heads * sizes.d_kv, words)


def images_at_once(preset: Preset, questions: int, tokens: int) -> int:
    """Images that are answered together: as many as keep the language model's cache of their questions below 2 GB.

    `tokens` is the length of a question. At most 32, beyond which little is gained.
    """
    one = questions * cache_numbers(preset.language, preset.qformer.queries + tokens) * 4
    return max(1, min(32, _CACHE // one))


def cache_numbers(sizes: LanguageConfig, prefix: int) -> int:
    """Numbers that a language model keeps for one question while a beam says its answers, which share its prefix."""
    if isinstance(sizes, GLMConfig):
        return 2 * sizes.num_layers * sizes.width * (prefix + 1)
    of_a_token = 2 * sizes.num_decoder_layers * sizes.num_heads * sizes.d_kv
    return prefix * (sizes.d_model + of_a_token) + BEAM * SAID * of_a_token


def _query_parameters(sizes: QFormerConfig) -> int:
    d = sizes.width
    looks = -(-sizes.layers // sizes.cross_attention_every)
    cross = 2 * _linear(d, d) + 2 * _linear(sizes.vision_width, d) + _norm(d)
    layer = 4 * _linear(d, d) + _norm(d) + _perceptron(sizes)
    return sizes.queries * d + _norm(d) + sizes.layers * layer + looks * cross


def _text_parameters(sizes: QFormerConfig) -> int:
    return (sizes.vocabulary + sizes.positions) * sizes.width + sizes.layers * _perceptron(sizes)


def _perceptron(sizes: QFormerConfig) -> int:
    return _linear(sizes.width, sizes.mlp_width) + _linear(sizes.mlp_width, sizes.width) + _norm(sizes.width)


def _t5(sizes: T5Config) -> int:
    d, inner = sizes.d_model, sizes.num_heads * sizes.d_kv
    attention = 4 * d * inner + d  # no biases; a norm has one tensor
    perceptron = (2 if sizes.feed_forward_proj == "relu" else 3) * d * sizes.d_ff + d
    relative = sizes.relative_attention_num_buckets * sizes.num_heads
    encoder = sizes.num_layers * (attention + perceptron) + relative + d
    decoder = sizes.num_decoder_layers * (2 * attention + perceptron) + relative + d
    words = sizes.vocab_size * d
    return encoder + decoder + words * (1 if sizes.tie_word_embeddings else 2)


def _glm(sizes: GLMConfig) -> int:
    d, m = sizes.hidden_size, sizes.inner_hidden_size
    layer = 2 * _norm(d) + _linear(d, 3 * d) + _linear(d, d) + _linear(d, m) + _linear(m, d)
    return sizes.vocab_size * d + sizes.num_layers * layer + _norm(d)


def stem_channels(sizes: VisionConfig) -> list[int]:
    """The channels from picture to patch of a convolutional stem, which halves the picture from each to the next."""
    halvings = sizes.patch_size.bit_length() - 1
    return [3, *(max(sizes.width >> (halvings - 1 - step), 16) for step in range(halvings))]


def _stem(sizes: VisionConfig) -> int:
    if sizes.stem == "linear":
        return 3 * sizes.patch_size**2 * sizes.width + (sizes.width if sizes.patch_bias else 0)
    channels = stem_channels(sizes)
    blocks = sum(_linear(9 * narrow, wide) + _norm(wide) for narrow, wide in pairwise(channels))
    return blocks + _linear(channels[-1], sizes.width)


def _linear(inner: int, outer: int) -> int:
    return inner * outer + outer


def _norm(width: int) -> int:
    return 2 * width
