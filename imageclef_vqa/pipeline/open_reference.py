"""What a run of open questions is checked against: the rows that are asked, and how training answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclef_vqa.data.qa import QA_FILE, has_answers, read_qa
from imageclef_vqa.editions import Edition, read_predictions
from imageclef_vqa.errors import MedvqaError, counted
from imageclef_vqa.pipeline.answers import answers_of
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.submission import Finding, error
from imageclef_vqa.submission.checks.customs import Customs
from imageclef_vqa.submission.checks.sentences import Asked
from imageclef_vqa.submission.sentences import SentenceRow
from imageclef_vqa.workspace import Workspace

_SAME_SOURCE = 0.95  # of the rows, from which a file is evidently made of predictions; other seeds agree on 0.86
_MANY, _FEW = 20, 4  # answers, and pairs of words that were exchanged in them


@dataclass(frozen=True)
class OpenReference:
    """The rows in order, or None where no list is known; training's answers; and where both come from."""

    asked: tuple[Asked, ...] | None
    rows: tuple[int, ...]  # of each that is asked, in its qa.jsonl
    customs: Customs
    learnt_from: str | None
    listed_in: str | None


def read_open_reference(
    workspace: Workspace, edition: Edition, labels: Path | None = None, listed: Path | None = None, count: int = -1
) -> OpenReference:
    """Training answers and rows from the files named, or from the workspace; either may be missing.

    `count` is the number of rows of the run that is checked: the organisers' script answers a sample of a larger set.

    Raises:
        MedvqaError: one of the files cannot be read.
    """
    source = labels or _there(workspace.development / QA_FILE)
    learnt_from = None if source is None else workspace.shown(source)
    customs = Customs() if source is None or not has_answers(source) else Customs(_answers(source))
    list_ = listed or _there(workspace.test / QA_FILE)
    if list_ is None:
        return OpenReference(None, (), customs, learnt_from, None)
    questions = read_qa(list_, labelled=False).questions
    asked = {row: Asked(image_id, each.text) for image_id, rows in questions.items() for row, each in rows.items()}
    rows = sorted(asked)
    if edition.sample is not None and count == edition.sample.rows < len(rows):
        rows = [rows[at] for at in sample_of(edition, len(rows))]
    return OpenReference(
        tuple(asked[row] for row in rows),
        tuple(rows),
        customs,
        learnt_from,
        workspace.shown(list_),
    )


def sample_of(edition: Edition, count: int) -> list[int]:
    """The rows that the organisers' script answers: the first of `datasets`' shuffle with their seed."""
    assert edition.sample is not None
    return np.random.default_rng(edition.sample.seed).permutation(count)[: edition.sample.rows].tolist()


def check_altered(workspace: Workspace, rows: Sequence[SentenceRow], reference: OpenReference) -> list[Finding]:
    """Rows that differ from the predictions that the others evidently come from; none if they all equal a source."""
    if len(rows) != len(reference.rows):
        return []
    own = [each.answer for each in rows]
    compared = []
    for name, given in _sources(workspace):
        if given.keys() >= set(reference.rows):
            theirs = [given[row] for row in reference.rows]
            changed = [at for at, answer in enumerate(own) if answer != theirs[at]]
            compared.append((len(changed), name, changed, theirs))
    for count, name, changed, theirs in sorted(compared):
        if not count:
            return []
        if message := _alteration(name, own, theirs):
            lines = [f"row {reference.rows[at]}: {own[at]!r:.60}, predicted {theirs[at]!r:.60}" for at in changed]
            return [error("altered", lines, message, "`medvqa package` writes the answers as they were predicted")]
    return []


def _alteration(name: str, own: Sequence[str], theirs: Sequence[str]) -> str | None:
    """How answers differ from those in the file `name`, if they evidently come from them."""
    pairs = [pair for pair in zip(own, theirs, strict=True) if pair[0] != pair[1]]
    if len(pairs) <= (1 - _SAME_SOURCE) * len(own):
        return f"{counted(len(pairs), 'answer differs', 'answers differ')} from {name}, which the others come from"
    start = f"the answers are those of {name}, but "
    if sum(_plain(one) != _plain(other) for one, other in pairs) <= (1 - _SAME_SOURCE) * len(own):
        return f"{start}with other case, blanks or signs"
    if Counter(own) == Counter(theirs):
        return f"{start}in other rows"
    if words := _exchanged(pairs):
        return f"{start}with other words: " + ", ".join(f"{new!r} for {old!r}" for new, old in sorted(words))
    return None


def _exchanged(pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """The words that differ, if the same few explain all of many differing answers; other models differ in many."""
    words = [(_plain(one), _plain(other)) for one, other in pairs]
    if len(pairs) < _MANY or any(len(one) != len(other) for one, other in words):
        return set()
    found = {(new, old) for one, other in words for new, old in zip(one, other, strict=True) if new != old}
    return found if len(found) <= _FEW else set()


def _plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _sources(workspace: Workspace) -> Iterator[tuple[str, dict[int, str]]]:
    """Every file of test answers in the workspace: its name, and row → answer."""
    for run in workspace.runs():
        lineage = Lineage(Workspace.at(workspace.root, run))
        for name in lineage.names():
            if name.startswith("predictions/") and name.endswith("/test"):
                try:
                    given = answers_of(read_predictions(lineage.path(name)))
                except MedvqaError:
                    continue  # a damaged file is no source; its own command reports it
                yield workspace.shown(lineage.path(name)), {row: answers[0] for (_, row), answers in given.items()}


def _answers(path: Path) -> dict[str, Counter[str]]:
    labels = read_qa(path, labelled=True)
    found: dict[str, Counter[str]] = {}
    for image_id, rows in labels.answers.items():
        for row, (answer,) in rows.items():
            found.setdefault(labels.questions[image_id][row].text, Counter())[answer] += 1
    return found


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None
