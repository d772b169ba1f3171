"""A test set of the size of 2023's, 1,938 images × 18 questions, drawn from the task's own vocabulary.

Used by the benchmarks beside it: `python examples/benchmarks/scoring.py`.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np

from imageclef_vqa.editions import QUESTIONS, Candidate, Prediction

IMAGES = 1938
Answers = dict[tuple[str, int], tuple[str, ...]]


def image_ids(count: int = IMAGES, seed: int = 0) -> list[str]:
    """Ids of the organisers' form, in four batches."""
    rng, letters = np.random.default_rng(seed), np.array(list(string.ascii_lowercase + string.digits))
    batches = ("cl8k2", "cla82", "clb0k", "clb0l")
    return [batches[at % 4] + "".join(letters[rng.integers(len(letters), size=20)]) for at in range(count)]


def draw_answers(ids: list[str], seed: int) -> Answers:
    """One answer per pair, sets of one to six where the question takes sets."""
    rng, answers = np.random.default_rng(seed), {}
    for image_id in ids:
        for question in QUESTIONS:
            most = min(6, len(question.known)) if question.id in (5, 6, 10, 11, 15) else 1
            chosen = rng.choice(len(question.known), size=rng.integers(1, most + 1), replace=False)
            answers[image_id, question.id] = tuple(question.known[at] for at in sorted(chosen))
    return answers


def spoil(gold: Answers, share: float, seed: int) -> Answers:
    """`gold` with a share of its answers drawn again."""
    rng = np.random.default_rng(seed)
    other = draw_answers(list(dict.fromkeys(image_id for image_id, _ in gold)), seed)
    return {pair: other[pair] if rng.random() < share else answers for pair, answers in gold.items()}


def write_gold(path: Path, gold: Answers) -> None:
    """A gt.json."""
    labels: dict[str, list[dict[str, object]]] = {}
    for (image_id, question_id), answers in gold.items():
        question = QUESTIONS[question_id]
        row = {"Question": question.text, "AnswerType": question.answer_type, "Answer": list(answers)}
        labels.setdefault(image_id, []).append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"ImageID": image_id, "Labels": rows} for image_id, rows in labels.items()]))


def predictions(answers: Answers, seed: int = 0) -> list[Prediction]:
    """Records with a probability and two candidates each."""
    rng = np.random.default_rng(seed)
    return [
        Prediction(
            image_id=image_id,
            question_id=question_id,
            answers=given,
            probability=(probability := float(rng.uniform(0.5, 1))),
            candidates=(
                Candidate(answers=given, probability=probability),
                Candidate(answers=(QUESTIONS[question_id].known[-1],), probability=(1 - probability) / 2),
            ),
            model="drawn",
        )
        for (image_id, question_id), given in answers.items()
    ]
