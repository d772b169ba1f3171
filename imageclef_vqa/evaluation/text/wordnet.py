"""WordNet for METEOR's synonyms, and Punkt for its sentences: data that are downloaded apart from NLTK."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

_DEBIAN = Path("/usr/share/wordnet")
HOW_TO_GET_IT = "`python -m nltk.downloader wordnet`, or Debian's package wordnet-base"


class NoWordNet:
    """In the place of WordNet's reader: a dictionary where no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        return []


@cache
def find_wordnet() -> Any | None:
    """A reader of WordNet 3.0: NLTK's own copy, the folder in $WNSEARCHDIR, or Debian's; None if there is none."""
    from nltk.corpus import wordnet
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    try:
        wordnet.ensure_loaded()
        return wordnet
    except LookupError:
        pass
    named = os.environ.get("WNSEARCHDIR")
    for folder in ([Path(named)] if named else []) + [_DEBIAN]:
        if (folder / "data.noun").is_file():
            return WordNetCorpusReader(str(folder), None)
    return None


@cache
def has_punkt() -> bool:
    """Whether NLTK can divide a text into sentences as the organisers' script does."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError:
        return False
    return True
