"""A run as the checks see it: its answers, and all that is known of what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imageclef_vqa.editions import QUESTIONS, Implication, Vocabulary, learn_vocabulary
from imageclef_vqa.submission.records import Answers, PairAnswers

Pair = tuple[str, int]  # image id, question id


@dataclass(frozen=True)
class Run:
    """Answers to be checked, the ids that must be answered, in order, and what training allows.

    Args:
        answers: in the order of the file.
        image_ids: the test list.
        vocabulary: what training answers, in the spelling of the edition.
        bank: what is known of the competition, whatever training answers, in the same spelling.
        spellings: question → strings that the labels hold besides the vocabulary's members.
        implications: what the training labels hold to.
        validation: the same model's answers to validation images.
        listed: whether `image_ids` is a list that somebody gave, or only what the file itself names.
        faulty: pairs that the file holds but that could not be read; they are not missing.
    """

    answers: PairAnswers
    image_ids: Sequence[str]
    vocabulary: Vocabulary
    bank: Vocabulary = field(default_factory=lambda: learn_vocabulary([]))
    spellings: Mapping[int, frozenset[str]] = field(default_factory=dict)
    implications: Sequence[Implication] = ()
    validation: PairAnswers = field(default_factory=dict)
    listed: bool = True
    faulty: frozenset[Pair] = frozenset()
    by_question: dict[int, list[tuple[str, Answers]]] = field(init=False)
    by_image: dict[str, dict[int, Answers]] = field(init=False)

    def __post_init__(self) -> None:
        by_question: dict[int, list[tuple[str, Answers]]] = {question.id: [] for question in QUESTIONS}
        for (image_id, question_id), answers in self.answers.items():
            by_question[question_id].append((image_id, answers))
        object.__setattr__(self, "by_question", by_question)
        object.__setattr__(self, "by_image", images_of(self.answers))


def images_of(answers: PairAnswers) -> dict[str, dict[int, Answers]]:
    """Image id → question id → answers."""
    images: dict[str, dict[int, Answers]] = {}
    for (image_id, question_id), given in answers.items():
        images.setdefault(image_id, {})[question_id] = given
    return images
