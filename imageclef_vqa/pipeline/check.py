"""`medvqa check`: anybody's run file, against the reference data there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.editions import Edition, find_edition
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.reference import Reference, predicted, read_reference
from imageclef_vqa.submission import (
    Finding,
    ParsedRun,
    RunAnswers,
    Verdict,
    check_manifest,
    check_name,
    check_run,
    check_source,
    errors_in,
    organisers_verdict,
    parse_run,
    read_bytes,
    read_manifest,
    warning,
)
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Checked:
    """What was found in a run file, errors first; `verdict` is what the organisers' own checker would say of it."""

    findings: tuple[Finding, ...]
    images: int
    answers: int
    labels: str | None
    ids: str | None
    verdict: Verdict | None

    @property
    def errors(self) -> int:
        return errors_in(self.findings)


def check(
    file: str | Path,
    *,
    ids: str | Path | None = None,
    development: str | Path | None = None,
    edition: str | None = None,
    workspace: str | Path = ".",
    run: str = "main",
) -> Checked:
    """Check a run file: everything for which it would be rejected, or scored other than meant.

    Args:
        ids: a file with the ids to be answered, one to a line; by default, those of the test images.
        development: a gt.json whose labels say what may be answered; by default, the workspace's.

    Raises:
        MedvqaError: a file cannot be read.
    """
    at, path = Workspace.at(workspace, run), Path(file)
    spoken = find_edition(edition or at.edition)
    content = read_bytes(path)
    labels, listed = (None if each is None else Path(each) for each in (development, ids))
    reference = read_reference(at, spoken, labels, listed)
    parsed = parse_run(content, str(path), path.suffix.lower(), spoken)
    found = [*check_name(path, spoken), *parsed.findings(), *_check_answers(at, path, parsed, reference, spoken)]
    findings = sorted(found, key=lambda each: each.severity)
    images = list(dict.fromkeys(image_id for image_id, _ in parsed.answers))
    verdict = None
    if spoken.has_checker:
        verdict = organisers_verdict(parsed.content, reference.image_ids or images, findings, instead=parsed.answers)
    return Checked(
        tuple(findings), len(images), len(parsed.answers), reference.learnt_from, reference.listed_in, verdict
    )


def _check_answers(
    workspace: Workspace, file: Path, parsed: ParsedRun, reference: Reference, edition: Edition
) -> list[Finding]:
    """What is found in the answers; nothing where the file holds none."""
    answers = parsed.as_lists()
    if not answers:
        return []
    given = RunAnswers(
        answers,
        list(dict.fromkeys(image_id for image_id, _ in answers))
        if reference.image_ids is None
        else reference.image_ids,
        reference.vocabulary,
        edition.bank,
        spellings=reference.spellings,
        implications=reference.implications,
        validation=reference.validation,
        listed=reference.image_ids is not None,
        faulty=frozenset(parsed.faulty),
    )
    packaged = check_manifest(file, workspace.root)
    if packaged == []:
        packaged = _check_answers_from(workspace, file)
    altered = packaged if packaged is not None else check_source(answers, predicted(workspace, edition))
    return [*check_run(given), *altered]


def _check_answers_from(workspace: Workspace, file: Path) -> list[Finding]:
    """Whether the answers that a run was packaged from are still those of the current chain."""
    answers = read_manifest(file).answers
    if not answers:
        return []
    lineage = Lineage(Workspace.at(workspace.root, answers["run"]))
    state = lineage.artefact(answers["artefact"])
    if state.status in ("fresh", "missing"):
        return []
    message = f"{workspace.shown(state.path)} is {state.status}: {'; '.join(state.reasons)}"
    return [warning("stale", [file.name], message, f"begin with `{lineage.remedy(state.name)}`")]
