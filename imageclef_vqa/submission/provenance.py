"""Whether a run still says what the predictions say that it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.submission.findings import Finding, finding, number, place
from imageclef_vqa.submission.manifest import manifest_path, read_manifest, sha256
from imageclef_vqa.submission.records import Answers, PairAnswers
from imageclef_vqa.submission.run import Pair, images_of
from imageclef_vqa.task import Profile, same_answer

# Good models agree on nine answers of ten, and elsewhere differ on most images and questions, where they are in doubt.
_SAME_SOURCE = 0.9
_CONFINED = 1 / 3  # of the images, or of the questions that are not answered alike throughout
_FEWEST = 10  # images; on fewer, models agree by chance
_SURE = 0.75


class Source(NamedTuple):
    """A prediction file: its name, its answers and how probable it calls each of them."""

    name: str
    answers: PairAnswers
    probabilities: Mapping[Pair, float]


def check_source(answers: PairAnswers, sources: Iterable[Source]) -> Iterator[Finding]:
    """Answers that differ from the predictions that a run was evidently made of; nothing if it equals any of them.

    `sources` are all prediction files that the run may be made of.
    """
    moved: list[tuple[float, str]] = []
    closest: tuple[float, str, list[str]] = (0.0, "", [])
    for name, predicted, probabilities in sources:
        shared = [pair for pair in answers if pair in predicted]
        if len(shared) < _SAME_SOURCE * len(answers) or len({image_id for image_id, _ in shared}) < _FEWEST:
            continue
        moved.append((_moved(answers, predicted), name))
        changed = [pair for pair in shared if not _same(answers[pair], predicted[pair])]
        if not changed:
            return
        agreement = 1 - len(changed) / len(shared)
        varied = _varied(shared, answers, predicted)
        if agreement > closest[0] and _was_altered(changed, varied, probabilities):
            told = [
                f"{place(*pair, '; '.join(answers[pair]))}, predicted {'; '.join(predicted[pair])[:60]!r}"
                for pair in changed
            ]
            closest = (agreement, name, told)
    agreement, name, told = closest
    if agreement >= _SAME_SOURCE:
        message = f"{number(len(told), 'answer differs', 'answers differ')} from {name}, which the others come from"
        remedy = "the file was changed, or the predictions were: `medvqa package` writes it anew"
        yield finding("error", "altered", told, message, remedy)
    elif (most := max(moved, default=(0.0, "")))[0] >= _SAME_SOURCE:
        message = f"the answers are those of {most[1]}, but to other images"
        yield finding("error", "altered", [f"{most[0]:.0%} of the images"], message, "`medvqa package` writes it anew")


def _same(one: Answers, other: Answers) -> bool:
    return one == other or same_answer(one, other)


def _varied(shared: list[Pair], answers: PairAnswers, predicted: PairAnswers) -> list[Pair]:
    """Those of `shared` whose question is not answered alike throughout: any two models agree on the others."""
    values: dict[int, set[Answers]] = {}
    for pair in shared:
        values.setdefault(pair[1], set()).update((answers[pair], predicted[pair]))
    return [pair for pair in shared if len(values[pair[1]]) > 1]


def _was_altered(changed: list[Pair], varied: list[Pair], probabilities: Mapping[Pair, float]) -> bool:
    """Whether answers were changed by hand or by accident, rather than given by another model."""
    for side in (0, 1):  # images, questions
        if len({pair[side] for pair in changed}) <= _CONFINED * len({pair[side] for pair in varied}):
            return True
    return sum(probabilities.get(pair, 0.0) for pair in changed) >= _SURE * len(changed)


def _moved(answers: PairAnswers, predicted: PairAnswers) -> float:
    """The share of images whose answers, as a whole, are those predicted for some image, each used once."""
    ours, theirs = (
        Counter(tuple(sorted(image.items())) for image in images_of(each).values()) for each in (answers, predicted)
    )
    return (ours & theirs).total() / ours.total()


def check_manifest(run: Path) -> list[Finding] | None:
    """What the manifest beside `run` says of its bytes; None if there is none to ask."""
    try:
        manifest = read_manifest(run)
    except MedvqaError:
        return None
    if manifest.run.get("sha256") == sha256(run):
        return []
    message = f"the file is not the one that {manifest_path(run).name} describes: it was changed after it was written"
    remedy = "`medvqa package` writes it anew; `medvqa package --verify` tells what else changed"
    return [finding("error", "altered", [run.name], message, remedy)]


def check_age(predictions: Path, model: Path, name: str) -> Iterator[Finding]:
    """Predictions that were written before the model was trained."""
    if predictions.exists() and model.exists() and predictions.stat().st_mtime < model.stat().st_mtime:
        message = f"{name} is older than the model"
        yield finding("warning", "stale", [name], message, "`medvqa predict` answers with the new model")


def check_name(run: Path, profile: Profile) -> Iterator[Finding]:
    """A zip that is not named as the organisers ask; an error where it was evidently meant to be."""
    if run.suffix.lower() != ".zip" or profile.team_zip is None or profile.team(run.name):
        return
    message = f"the organisers ask for {profile.team_zip.format(team='<team>')}, not {run.name}"
    meant = any(part in run.name.casefold() for part in ("clef", "medvqa"))
    yield finding(
        "error" if meant else "warning", "zip-name", [run.name], message, "`medvqa package --team NAME` names it"
    )
