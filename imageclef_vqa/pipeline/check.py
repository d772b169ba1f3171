"""`medvqa check`: anybody's run file, against the reference data there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.data.qa import QA_FILE
from imageclef_vqa.editions import Edition, find_edition
from imageclef_vqa.errors import UsageError
from imageclef_vqa.inputs import read_bytes as read_input
from imageclef_vqa.pipeline.explain_rows import check_rows, read_asked
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.open_reference import check_altered, read_open_reference
from imageclef_vqa.pipeline.reference import Reference, predicted, read_reference, with_commands
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
from imageclef_vqa.submission.checks.header import check_header
from imageclef_vqa.submission.checks.sentences import check_sentences
from imageclef_vqa.submission.sentences import LARGEST, read_sentences
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Checked:
    """What was found in a run file, errors first.

    Attributes:
        labels, ids: the files that the run was compared with; None where there is none.
        verdict: what the organisers' own checker would say of it.
        unchecked: what could not be checked for want of a file, and the option that names one.
    """

    findings: tuple[Finding, ...]
    images: int
    answers: int
    labels: str | None
    ids: str | None
    verdict: Verdict | None
    unchecked: tuple[str, ...] = ()

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
            Of open questions, a qa.jsonl with the rows to be answered.
        development: a gt.json or qa.jsonl whose labels say what may be answered; by default, the workspace's.

    Raises:
        MedvqaError: a file cannot be read.
    """
    at, path = Workspace.at(workspace, run), Path(file)
    spoken = find_edition(edition or at.edition)
    labels, listed = (None if each is None else Path(each) for each in (development, ids))
    if spoken.open:
        return _check_open(at, path, spoken, labels, listed)
    content = read_bytes(path)
    reference = read_reference(at, spoken, labels, listed)
    parsed = parse_run(content, str(path), path.suffix.lower(), spoken)
    found = with_commands(at, [*check_name(path, spoken), *parsed.findings()])
    findings = sorted([*found, *_check_answers(at, path, parsed, reference, spoken)], key=lambda each: each.severity)
    images = list(dict.fromkeys(image_id for image_id, _ in parsed.answers))
    verdict = None
    if spoken.has_checker:
        verdict = organisers_verdict(parsed.content, reference.image_ids or images, findings, instead=parsed.answers)
    learnt, listed_in = reference.learnt_from, reference.listed_in
    unchecked = _lacking(
        (learnt, "No labels here: answers were compared with those the edition is known for (--development)."),
        (listed_in, "No id list here: whether all images are answered was not checked (--ids)."),
    )
    return Checked(tuple(findings), len(images), len(parsed.answers), learnt, listed_in, verdict, unchecked)


def _lacking(*files: tuple[str | None, str]) -> tuple[str, ...]:
    """The messages about files that are not there."""
    return tuple(message for file, message in files if file is None)


def _check_open(
    workspace: Workspace, file: Path, edition: Edition, labels: Path | None, listed: Path | None
) -> Checked:
    """Check a `predictions_1.json` against the rows that are asked and the answers of training."""
    if file.suffix == ".jsonl":
        return _check_task2(workspace, file, edition, listed)
    if file.suffix != ".json":
        remedy = f"`{workspace.typed('medvqa package')}` writes it"
        raise UsageError(f"{file}: a run of {edition.name} is a .json file", remedy=remedy)
    parsed = read_sentences(read_input(file, LARGEST))
    reference = read_open_reference(workspace, edition, labels, listed, parsed.total)
    found = list(parsed.findings)
    if parsed.rows:
        found += check_sentences(parsed, reference.asked, reference.customs)
        packaged = check_manifest(file, workspace.root)
        found += check_altered(workspace, parsed.rows, reference) if packaged is None else packaged
    if parsed.header or parsed.rows:
        found += check_header(parsed.header)
    images = {row.image_id for row in parsed.rows}
    ordered = tuple(sorted(with_commands(workspace, found), key=lambda each: each.severity))
    unchecked = _lacking(
        (reference.learnt_from, "No training answers here: sentences were not compared with them (--development)."),
        (reference.listed_in, "No list of rows here: whether all rows are answered was not checked (--ids)."),
    )
    return Checked(ordered, len(images), len(parsed.rows), reference.learnt_from, reference.listed_in, None, unchecked)


def _check_task2(workspace: Workspace, file: Path, edition: Edition, listed: Path | None) -> Checked:
    """Check the lines of task 2 against the rows in `listed`, or in the workspace."""
    content = read_input(file, LARGEST)
    rows = listed or (workspace.test / QA_FILE)
    asked = read_asked(rows, edition, workspace.cache) if rows.is_file() else None
    found = tuple(check_rows(content, file.parent, asked, edition))
    lines = sum(1 for line in content.split(b"\n") if line.strip())
    images = len({row.example.image_id for row in asked or ()})
    ids = None if asked is None else workspace.shown(rows)
    unchecked = _lacking((ids, "No list of rows here: whether each row is explained was not checked (--ids)."))
    return Checked(found, images, lines, None, ids, None, unchecked)


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
        return [*with_commands(workspace, check_run(given)), *_check_answers_from(workspace, file)]
    altered = check_source(answers, predicted(workspace, edition)) if packaged is None else packaged
    return with_commands(workspace, [*check_run(given), *altered])


def _check_answers_from(workspace: Workspace, file: Path) -> list[Finding]:
    """Whether the answers that a run was packaged from are still those of the current chain."""
    answers = read_manifest(file).answers
    if not answers:
        return []
    lineage = Lineage(Workspace.at(workspace.root, answers["run"]))
    state = lineage.artefact(answers["artefact"])
    if state.status in ("fresh", "missing"):
        return []
    message = f"{workspace.shown(state.path)} is {state.state}"
    return [warning("stale", [file.name], message, f"begin with `{lineage.remedy(state.name)}`")]
