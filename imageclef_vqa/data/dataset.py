"""A data set that was read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imageclef_vqa.editions.open_questions import OpenQuestion


@dataclass(frozen=True)
class Example:
    """One image with its answers: question id → answers as the file spells them, without empty ones.

    `width` and `height` in pixels. Open questions are those of `questions`, by row of `qa.jsonl`, which takes the place
    of a question id; the answer is one sentence, and there is none where gold answers are not known or not read.
    """

    image_id: str
    image: Path
    answers: Mapping[int, tuple[str, ...]]
    sha256: str
    width: int
    height: int
    questions: Mapping[int, OpenQuestion] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """Examples in the order of `gt.json` (or of the list of ids), with warnings about them.

    `fingerprint` is a hash of ids, answers, open questions and image bytes. It does not depend on the order of the
    records, except for open questions, whose row is their name.
    """

    folder: Path
    examples: tuple[Example, ...]
    warnings: tuple[str, ...]
    fingerprint: str

    @property
    def open(self) -> bool:
        """Whether the questions come with the data, and answers are sentences."""
        return any(example.questions for example in self.examples)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The ids of the images, in order."""
        return tuple(example.image_id for example in self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def labels(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Question id and answers of every labelled pair, image by image."""
        return (pair for example in self.examples for pair in example.answers.items())

    def gold(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """(image id, question id) → answers."""
        return {(example.image_id, q): answers for example in self.examples for q, answers in example.answers.items()}

    def subset(self, image_ids: Iterable[str]) -> Dataset:
        """The examples with these ids, in this order. Warnings and fingerprint remain those of the whole data set.

        Raises:
            KeyError: an id is not in the data set.
        """
        by_id = {example.image_id: example for example in self.examples}
        return replace(self, examples=tuple(by_id[image_id] for image_id in image_ids))
