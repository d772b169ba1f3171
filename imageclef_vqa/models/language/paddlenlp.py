"""What the package takes from PaddleNLP; nothing else imports it.

2.8.1 is its last stable version, and its successor, PaddleFormers, has neither T5 nor ChatGLM-6B.
"""

from __future__ import annotations

from imageclef_vqa.environment import library_import

with library_import():  # it takes seconds
    from paddlenlp.transformers import BertTokenizer, ChatGLMConfig, ChatGLMModel, T5Config, T5ForConditionalGeneration
    from paddlenlp.transformers.model_utils import no_init_weights
    from paddlenlp.transformers.t5.modeling import (
        T5Attention,
        T5DenseReluDense,
        T5LayerFF,
        T5LayerNorm,
        T5Stack,
    )

__all__ = [
    "BertTokenizer",
    "ChatGLMConfig",
    "ChatGLMModel",
    "T5Attention",
    "T5Config",
    "T5DenseReluDense",
    "T5ForConditionalGeneration",
    "T5LayerFF",
    "T5LayerNorm",
    "T5Stack",
    "no_init_weights",
]
