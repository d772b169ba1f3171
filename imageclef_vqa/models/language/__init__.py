"""Frozen language models from PaddleNLP behind one small interface, and their tokenizers."""

from imageclef_vqa.models.language.t5 import T5, Memory
from imageclef_vqa.models.language.tokenizer import Tokenizer

__all__ = ["T5", "Memory", "Tokenizer"]
