"""Reference data for checking a run: from the workspace, or from files that are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imageclef_vqa.data.reading import read_test_ids
from imageclef_vqa.editions import (
    QUESTIONS,
    Edition,
    Implication,
    Vocabulary,
    as_set,
    learn_implications,
    learn_vocabulary,
    read_predictions,
)
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import read_text
from imageclef_vqa.pipeline.answers import Answers, answers_of, probabilities_of, read_gold, spell
from imageclef_vqa.pipeline.development import saved_vocabulary
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.selection import select_answers
from imageclef_vqa.submission import Finding, Source, images_of
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Reference:
    """What a run is checked against, in the spelling of its edition.

    `spellings` are all strings that the labels hold, which may be several for one answer. `learnt_from` and
    `listed_in` name where labels and ids come from; None where there are none.
    """

    vocabulary: Vocabulary
    spellings: Mapping[int, frozenset[str]] = field(default_factory=dict)
    implications: Sequence[Implication] = ()
    image_ids: Sequence[str] | None = None
    validation: Answers = field(default_factory=dict)
    learnt_from: str | None = None
    listed_in: str | None = None


def read_reference(
    workspace: Workspace, edition: Edition, labels_file: Path | None, ids_file: Path | None
) -> Reference:
    """Labels and ids from the files named, or else from the workspace; either may be missing.

    Raises:
        MedvqaError: one of the files cannot be read.
    """
    file = labels_file or existing(workspace.development / "gt.json")
    labels = spell(read_gold(file)[0], edition) if file else {}
    vocabulary = learn_vocabulary((q, answers) for (_, q), answers in labels.items())
    spellings: dict[int, set[str]] = {question.id: set() for question in QUESTIONS}
    for (_, question_id), answers in labels.items():
        spellings[question_id] |= as_set(answers)
    if labels_file is None and (saved := saved_vocabulary(workspace)):
        for entry in edition.vocabulary(saved).questions:
            spellings[entry.question_id].update(entry.members)
    image_ids, listed_in = _image_ids(workspace, ids_file)
    own = _answers(workspace, "val") if labels_file is None and workspace.has_test else {}
    return Reference(
        vocabulary=_with_bank(vocabulary, edition),
        spellings={question_id: frozenset(strings) for question_id, strings in spellings.items()},
        implications=learn_implications(images_of(labels).values()),
        image_ids=image_ids,
        validation=spell(own, edition),
        learnt_from=None if file is None else workspace.shown(file),
        listed_in=listed_in,
    )


def predicted(workspace: Workspace, edition: Edition) -> Iterator[Source]:
    """Every prediction file of the workspace that a run may come from, those of this run first."""
    fold = "test" if workspace.has_test else "val"
    for run in sorted(workspace.runs(), key=lambda name: (name != workspace.run, name)):
        lineage = Lineage(Workspace.at(workspace.root, run))
        for name in sorted((each for each in lineage.names() if _is_answers(each, fold)), reverse=True):
            try:
                predictions = read_predictions(lineage.path(name))
            except MedvqaError:
                continue  # a damaged file is no source; its own command reports it
            answers = spell(answers_of(predictions), edition)
            outdated = lineage.artefact(name).status in ("stale", "damaged")
            yield Source(workspace.shown(lineage.path(name)), answers, probabilities_of(predictions), outdated)


def _is_answers(name: str, fold: str) -> bool:
    parts = name.split("/")
    return parts[0] in ("predictions", "routed", "experts") and parts[-1] == fold


def _with_bank(vocabulary: Vocabulary, edition: Edition) -> Vocabulary:
    """The vocabulary with the known answers, as `edition` spells them, for questions without labels."""
    return Vocabulary(questions=tuple(e if e.trained else edition.bank[e.question_id] for e in vocabulary.questions))


def existing(path: Path) -> Path | None:
    """The path, if there is such a file."""
    return path if path.is_file() else None


def _answers(workspace: Workspace, fold: str) -> Answers:
    try:
        return answers_of(select_answers(Lineage(workspace), fold).predictions)
    except MedvqaError:
        return {}


def _image_ids(workspace: Workspace, ids_file: Path | None) -> tuple[list[str] | None, str | None]:
    if ids_file is not None:
        return _listed(ids_file), workspace.shown(ids_file)
    if workspace.has_test:
        return read_test_ids(workspace.test), workspace.shown(workspace.test)
    validation = dict.fromkeys(image_id for image_id, _ in _answers(workspace, "val"))
    return (list(validation), f"{workspace.shown(workspace.work)}: validation images") if validation else (None, None)


def _listed(path: Path) -> list[str]:
    """The ids in a text file, one to a line, or the images of a `gt.json`."""
    if path.suffix == ".json":
        return list(dict.fromkeys(image_id for image_id, _ in read_gold(path)[0]))
    return read_text(path).split()


def with_commands(workspace: Workspace, findings: Iterable[Finding]) -> list[Finding]:
    """`findings` of checks that know no workspace, with `--run` and `--workspace` in the commands of their remedies."""
    return [each.model_copy(update={"remedy": workspace.completed(each.remedy)}) for each in findings]
