"""Language models from PaddleNLP behind one small interface, their frozen layers and their tokenizers."""

from imageclef_vqa.models.language.interface import Language, Memory
from imageclef_vqa.models.language.prompt import Prompt
from imageclef_vqa.models.language.tokenizer import GLMTokenizer, Tokenizer, learn_tokenizer
from imageclef_vqa.models.language.wordpiece import WordPieceTokenizer

__all__ = ["GLMTokenizer", "Language", "Memory", "Prompt", "Tokenizer", "WordPieceTokenizer", "learn_tokenizer"]
