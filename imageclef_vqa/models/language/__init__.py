"""Language models from PaddleNLP behind one small interface, frozen ones as stored, and their tokenizers."""

from imageclef_vqa.models.language.interface import Language, Memory
from imageclef_vqa.models.language.loading import build_language, load_language, stored_bits
from imageclef_vqa.models.language.tokenizer import GLMTokenizer, Tokenizer, read_tokenizer, tokenizer_file
from imageclef_vqa.models.language.wordpiece import WordPieceTokenizer

__all__ = [
    "GLMTokenizer",
    "Language",
    "Memory",
    "Tokenizer",
    "WordPieceTokenizer",
    "build_language",
    "load_language",
    "read_tokenizer",
    "stored_bits",
    "tokenizer_file",
]
