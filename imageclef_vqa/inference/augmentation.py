"""Test-time augmentation: small changes of brightness and contrast, which change no answer. Pixels are uint8.

Crops would move locations such as "Upper-left", and changes of hue would change colours. Mirroring moves locations
in a known way, so that answers to a mirrored picture can be mirrored back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imageclef_vqa.data.augmentation import PLAIN, View
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.editions.vocabulary import QuestionVocabulary
from imageclef_vqa.inference.ranked import Ranked

_MIDDLE = 128.0


def _brightness(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.clip(np.rint(pixels * np.float32(factor)), 0, 255).astype(np.uint8)


def _contrast(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.clip(
        np.rint((pixels - np.float32(_MIDDLE)) * np.float32(factor) + np.float32(_MIDDLE)), 0, 255
    ).astype(np.uint8)


VIEWS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda pixels: pixels,
    _brightness(0.92),
    _brightness(1.08),
    _contrast(0.92),
    _contrast(1.08),
)


def mirrored_back(view: View, ranked: Ranked, vocabulary: QuestionVocabulary) -> Ranked:
    """Answers to a mirrored picture as answers to the picture; empty if a location has no name in the vocabulary."""
    if view == PLAIN or QUESTIONS[vocabulary.question_id].asks != "location":
        return ranked
    members = vocabulary.members
    try:
        return tuple(
            (vocabulary.canonical(view.answers(vocabulary.question_id, answers, members)), probability)
            for answers, probability in ranked
        )
    except KeyError:
        return ()
