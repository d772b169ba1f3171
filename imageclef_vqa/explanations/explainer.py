"""How a loaded model explains itself: its heat maps, and what it states about a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle

from imageclef_vqa.data import read_pixels
from imageclef_vqa.editions import QUESTIONS, Implication, find_question, learn_implications
from imageclef_vqa.explanations.maps import METHODS, dimmed, resized, scaled
from imageclef_vqa.explanations.statements import Statement, asks_about_frame, image_values, values_of
from imageclef_vqa.inference.answerer import Answerer
from imageclef_vqa.inference.predict import learn_rules
from imageclef_vqa.inference.ranked import Answers
from imageclef_vqa.inference.replies import Reply
from imageclef_vqa.inference.runs import Ensemble
from imageclef_vqa.inference.sentences import SentenceAnswerer
from imageclef_vqa.models.language import Prompt
from imageclef_vqa.training.pairs import pad


def answerers_of(ensemble: Ensemble) -> list[Answerer | SentenceAnswerer]:
    """What answers for each run of an ensemble."""
    kind = SentenceAnswerer if ensemble.open else Answerer
    return [kind.of_run(run.workspace) for run in ensemble.runs]


class HeatMaps(NamedTuple):
    """Maps [n, rows, columns], and how much of the weight of each [n] is around the field of view."""

    maps: np.ndarray
    around: np.ndarray


def heat_maps(
    answerers: Sequence[Answerer | SentenceAnswerer], image: Path, pairs: Sequence[tuple[str, Answers]], method: str
) -> HeatMaps:
    """Maps of n questions about one picture with their answers; the mean over several models.

    Models whose encoders have different grids are brought to that of the first one. Maps of questions about the frame
    are not dimmed there.
    """
    found: list[np.ndarray] = []
    pictures = [read_pixels(image, answerer.model.preset.vision.image_size) for answerer in answerers]
    for answerer, pixels in zip(answerers, pictures, strict=True):
        own = _maps_of(answerer, pixels, pairs, method)
        found.append(resized(own, found[0].shape[1]) if found else own)
    maps, around = scaled(np.mean(found, axis=0)), np.zeros(len(pairs))
    inside = np.array([not asks_about_frame(text) for text, _ in pairs])
    maps[inside], around[inside] = dimmed(maps[inside], pictures[0])
    return HeatMaps(maps, around)


def _maps_of(
    answerer: Answerer | SentenceAnswerer, pixels: np.ndarray, pairs: Sequence[tuple[str, Answers]], method: str
) -> np.ndarray:
    model, tokenizer = answerer.model, answerer.tokenizer
    prompt = Prompt(model.preset.language, tokenizer)
    question = paddle.to_tensor(pad([prompt.encode(text) for text, _ in pairs]))
    answer = paddle.to_tensor(pad([tokenizer.encode_answer(answers) for _, answers in pairs]))
    return METHODS[method](model, np.stack([pixels] * len(pairs)), question, answer)


def statement(reply: Reply) -> Statement:
    """A reply of the model as a statement about the picture."""
    if reply.question.id >= 0:
        return Statement(
            reply.question.text,
            QUESTIONS[reply.question.id],
            reply.answers,
            reply.answers,
            reply.probability,
            reply.trained,
        )
    question = find_question(reply.question.text)
    values = () if question is None else values_of(question, reply.answers[0])
    return Statement(reply.question.text, question, reply.answers, values, reply.probability, reply.trained)


def bank_in_open_words() -> list[str]:
    """The questions of the bank in correct spelling, as open questions."""
    return [question.text.replace("instrumnets", "instruments") for question in QUESTIONS]


def learn_all_rules(ensemble: Ensemble) -> tuple[Implication, ...]:
    """The rules between questions that the training labels keep, of closed or of open questions.

    Raises:
        MedvqaError: the data cannot be used, or the runs were trained on another split.
    """
    if not ensemble.open:
        return learn_rules(ensemble)
    dataset, split = ensemble.read_development()
    ensemble.check_split(dataset, split)
    examples = dataset.subset(split.train(ensemble.fold)).examples
    return learn_implications(
        image_values((example.questions[row], sentence) for row, (sentence,) in example.answers.items())
        for example in examples
    )
