"""Where a run comes from: its manifest, its file name, and the predictions that it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, permutations
from math import exp
from pathlib import Path
from typing import NamedTuple

from imageclef_vqa.editions import Edition, as_set, same_answer
from imageclef_vqa.errors import MedvqaError, counted
from imageclef_vqa.inputs import sha256
from imageclef_vqa.submission.manifest import is_beneath, manifest_path, read_manifest
from imageclef_vqa.submission.run import (
    Finding,
    Pair,
    PairAnswers,
    error,
    finding,
    images_of,
    location,
    shown,
    warning,
)

# Good models agree on nine answers of ten. Where they differ, they are in doubt, on most images and questions.
_SAME_SOURCE = 0.9
_FEWEST = 10  # images; on fewer, models agree by chance
_CONFINED = 1 / 3  # of the images, or of the questions whose answers vary
_CERTAIN = 0.75  # mean probability
_SLIPPED = 3  # questions; in fewer, two models may give each answer equally often by chance
_WHOLE = 0.2  # share of images beyond chance that agree altogether; models differ at random (0.04 on real runs)
_LOST = 20  # sets, or images; on fewer, models differ so by chance

_PACKAGE = "`medvqa package` writes it from the predictions"
_CHANGED = f"{_PACKAGE}; if they were changed on purpose, `medvqa adopt FILE` makes them a run of their own"


class Source(NamedTuple):
    """A prediction file; `outdated` means that what it was made from has changed since."""

    name: str
    answers: PairAnswers
    probabilities: Mapping[Pair, float]
    outdated: bool = False


def check_name(run: Path, edition: Edition) -> Iterator[Finding]:
    """A zip that is not named as the organisers ask; an error if it was clearly intended to be."""
    if run.suffix.lower() != ".zip" or edition.team_zip is None or edition.team(run.name):
        return
    intended = any(part in run.name.casefold() for part in ("clef", "medvqa"))
    message = f"the organisers ask for {edition.team_zip.format(team='<team>')}, not {run.name}"
    remedy = "`medvqa package --team NAME` writes a zip of that name"
    yield finding("error" if intended else "warning", "zip-name", [run.name], message, remedy)


def check_manifest(run: Path, root: Path) -> list[Finding] | None:
    """Whether a run is the one that its manifest describes, and its predictions in the workspace `root` are the same.

    None if no manifest describes it.
    """
    try:
        manifest = read_manifest(run)
    except MedvqaError:
        return None
    if manifest.run.get("sha256") != sha256(run):
        message = f"the file is not the one that {manifest_path(run).name} describes: it was changed since"
        remedy = "`medvqa package` writes it again; `medvqa package --verify` shows what else changed"
        return [error("altered", [run.name], message, remedy)]
    findings: list[Finding] = []
    for name, then in manifest.inputs.items():
        path = root / name
        if not is_beneath(name) or path.suffix != ".jsonl" or not {"predictions", "routed"} & set(path.parts):
            continue
        if path.is_file() and sha256(path) != then:
            message = f"{name} was written again after the run"
            findings.append(warning("stale", [name], message, "`medvqa package` writes a run of these predictions"))
    return findings


class _Agreement(NamedTuple):
    """A run beside one source: the pairs that both answer, and those of them with different answers."""

    source: Source
    shared: list[Pair]
    changed: list[Pair]

    @property
    def share(self) -> float:
        return 1 - len(self.changed) / len(self.shared)

    @property
    def unchanged_images(self) -> set[str]:
        return {image_id for image_id, _ in self.shared} - {image_id for image_id, _ in self.changed}


def check_source(answers: PairAnswers, sources: Iterable[Source]) -> Iterator[Finding]:
    """Differences from the predictions that the run was evidently made of; none if it equals one of `sources`.

    Another model's run is no error: it differs on most images and questions, where this model is in doubt.
    """
    agreements: list[_Agreement] = []
    known = list(sources)
    for source in known:
        shared = [pair for pair in answers if pair in source.answers]
        if len(shared) < _SAME_SOURCE * len(answers) or len({image_id for image_id, _ in shared}) < _FEWEST:
            continue
        changed = [pair for pair in shared if not same_answer(answers[pair], source.answers[pair])]
        if not changed:
            if source.outdated:
                remedy = "`medvqa status` shows why, and the command that makes it again"
                yield warning("stale", [source.name], f"{source.name} is stale", remedy)
            return
        agreements.append(_Agreement(source, shared, changed))
    kinds = (_mixed, partial(_joined, known), _altered, _moved, _rearranged)
    explanations = (explain(answers, agreements) for explain in kinds)
    yield from islice(filter(None, explanations), 1)


def _mixed(answers: PairAnswers, agreements: Sequence[_Agreement]) -> Finding | None:
    """Two sources that together answer all images as the run does."""
    images = {image_id for image_id, _ in answers}
    for one, other in permutations(sorted(agreements, key=lambda each: -len(each.unchanged_images)), 2):
        mine, rest = one.unchanged_images, images - one.unchanged_images
        if min(len(mine), len(rest)) >= _FEWEST and rest <= other.unchanged_images:
            names = one.source.name, other.source.name
            message = f"every image is answered as in {names[0]} or as in {names[1]}: two runs in one file"
            lines = [f"{len(mine):,} images as in {names[0]}", f"{len(rest):,} as in {names[1]}"]
            return error("mixed", lines, message, "`medvqa package --run NAME` writes the answers of one run")
    return None


def _joined(known: Sequence[Source], answers: PairAnswers, agreements: Sequence[_Agreement]) -> Finding | None:
    """Answers of several sources, pair by pair, as an ensemble has them."""
    if not agreements:
        return None
    source, _, changed = max(agreements, key=lambda each: each.share)
    others = [
        next((o.name for o in known if pair in o.answers and same_answer(answers[pair], o.answers[pair])), None)
        for pair in changed
    ]
    if len(changed) < _FEWEST or None in others:
        return None
    lines = [f"{count:,} as in {name}" for name, count in Counter(others).most_common()]
    message = f"{counted(len(changed), 'answer comes', 'answers come')} from other predictions than {source.name}"
    return warning("mixed", lines, message, "check whether they were joined on purpose")


def _altered(answers: PairAnswers, agreements: Sequence[_Agreement]) -> Finding | None:
    """Single answers that were changed, by hand or by accident."""
    altered = [
        each
        for each in agreements
        if _is_split(each)
        or _lost_members(each, answers)
        or (each.share >= _SAME_SOURCE and _was_altered(each, answers))
    ]
    if not altered:
        return None
    source, _, changed = max(altered, key=lambda each: each.share)
    lines = [f"{location(*pair, answers[pair])}, predicted {shown(source.answers[pair])}" for pair in changed]
    message = f"{counted(len(lines), 'answer differs', 'answers differ')} from {source.name}, "
    return error("altered", lines, f"{message}which the others come from", _CHANGED)


def _is_split(agreement: _Agreement) -> bool:
    """Whether many images agree altogether and the others do not; differences at random follow Poisson's law."""
    images = len({image_id for image_id, _ in agreement.shared})
    whole = len(agreement.unchanged_images)
    return whole >= _LOST and whole / images - exp(-len(agreement.changed) / images) >= _WHOLE


def _lost_members(agreement: _Agreement, answers: PairAnswers) -> bool:
    """Whether sets lack members and nothing else differs."""
    source, _, changed = agreement
    return len(changed) >= _LOST and all(as_set(answers[pair]) < as_set(source.answers[pair]) for pair in changed)


def _was_altered(agreement: _Agreement, answers: PairAnswers) -> bool:
    """Whether another model is no explanation: few images or questions differ, or this model was certain there."""
    source, shared, changed = agreement
    values: dict[int, set[frozenset[str]]] = {}
    for pair in shared:
        values.setdefault(pair[1], set()).update((as_set(answers[pair]), as_set(source.answers[pair])))
    varied = [pair for pair in shared if len(values[pair[1]]) > 1]  # any two models agree on the others
    images, questions = (len({pair[k] for pair in changed}) / len({pair[k] for pair in varied}) for k in (0, 1))
    certainty = sum(source.probabilities.get(pair, 0.0) for pair in changed) / len(changed)
    return min(images, questions) <= _CONFINED or certainty >= _CERTAIN


def _moved(answers: PairAnswers, agreements: Sequence[_Agreement]) -> Finding | None:
    """Images that have the answers of other images, as a whole."""
    ours = _whole_images(answers)
    for each in agreements:
        share = (ours & _whole_images(each.source.answers)).total() / ours.total()
        if share >= _SAME_SOURCE:
            message = f"the answers are those of {each.source.name}, but to other images"
            return error("altered", [f"{share:.0%} of the images"], message, _PACKAGE)
    return None


def _whole_images(answers: PairAnswers) -> Counter[frozenset[tuple[int, tuple[str, ...]]]]:
    return Counter(frozenset(image.items()) for image in images_of(answers).values())


def _rearranged(answers: PairAnswers, agreements: Sequence[_Agreement]) -> Finding | None:
    """Questions that have the predicted answers, but of other images or of another question."""
    ours = _columns(answers)
    for each in agreements:
        theirs = _columns(each.source.answers)
        questions = sorted({question_id for _, question_id in each.changed})
        origins = {
            q: f"question {q}, with the answers to question {other}"
            for q in questions
            for other in questions
            if other != q and theirs[other] == ours[q]
        }
        exchanged = bool(origins)
        for q in questions:
            if Counter(ours[q].values()) == Counter(theirs[q].values()):
                origins.setdefault(q, f"question {q}, with those of other images")
        if len(origins) == len(questions) and (exchanged or len(questions) >= _SLIPPED):
            asked = counted(len(questions), "question is", "questions are")
            message = f"{asked} answered as in {each.source.name}, but with the answers in other places"
            return error("altered", [origins[q] for q in questions], message, _CHANGED)
    return None


def _columns(answers: PairAnswers) -> dict[int, dict[str, frozenset[str]]]:
    """Question id → image id → answers."""
    columns: dict[int, dict[str, frozenset[str]]] = {}
    for (image_id, question_id), given in answers.items():
        columns.setdefault(question_id, {})[image_id] = as_set(given)
    return columns
