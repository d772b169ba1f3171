"""`medvqa check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageclef_vqa.cli.options import EditionOption, JsonOption, RunOption, WorkspaceOption
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.editions import Edition
    from imageclef_vqa.pipeline.reference import Known
    from imageclef_vqa.submission import Finding, ParsedRun


def check(
    file: Annotated[Path, typer.Argument(help="A run file of any origin: .csv, .json or .zip.")],
    ids: Annotated[
        Path | None, typer.Option(help="Image ids to answer, one per line.", show_default="those of data/test")
    ] = None,
    development: Annotated[
        Path | None,
        typer.Option(
            "--development",
            "--gold",
            help="A gt.json to check the answers against.",
            show_default="that of data/development",
        ),
    ] = None,
    edition_name: EditionOption = None,
    workspace: WorkspaceOption = Path("."),
    run: RunOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Check a run file for everything that would get it rejected or scored wrongly."""
    from imageclef_vqa.cli.console import print_json, wrapped
    from imageclef_vqa.cli.findings import print_findings
    from imageclef_vqa.editions import find_edition
    from imageclef_vqa.pipeline.reference import known
    from imageclef_vqa.submission import check_name, errors_in, organisers_verdict, parse_run, read_bytes

    place = Workspace.at(workspace, run)
    edition = find_edition(edition_name or place.edition)
    content = read_bytes(file)
    facts = known(place, edition, development, ids)
    parsed = parse_run(content, str(file), file.suffix.lower(), edition)
    found = [*check_name(file, edition), *parsed.findings(), *_of_answers(place, file, parsed, facts, edition)]
    findings = sorted(found, key=lambda each: each.severity)
    images = list(dict.fromkeys(image_id for image_id, _ in parsed.answers))
    verdict = None
    if edition.has_checker:
        verdict = organisers_verdict(parsed.content, facts.image_ids or images, findings, instead=parsed.answers)
    errors = errors_in(findings)
    if as_json:
        print_json(
            {
                "file": str(file),
                "images": len(images),
                "answers": len(parsed.answers),
                "errors": errors,
                "labels": facts.learnt_from,
                "ids": facts.listed_in,
                "findings": [finding.model_dump() for finding in findings],
                "organisers": None if verdict is None else verdict.model_dump(),
            }
        )
    else:
        print_findings(findings)
        for line in _unchecked(facts):
            typer.secho(line, dim=True)
        if verdict is not None:
            typer.echo(wrapped(str(verdict)))
    if errors:
        raise MedvqaError(f"{file}: {errors} error{'s' * (errors > 1)}", remedy="mend them and check again")
    if not as_json:
        typer.echo(f"{file}: {len(parsed.answers):,} answers to {len(images):,} images, no error.")


def _of_answers(workspace: Workspace, file: Path, parsed: ParsedRun, facts: Known, edition: Edition) -> list[Finding]:
    """What is found in the answers; nothing where the file holds none."""
    from imageclef_vqa.editions import learn_vocabulary
    from imageclef_vqa.pipeline.reference import predicted
    from imageclef_vqa.submission import RunAnswers, check_manifest, check_run, check_source

    answers = parsed.as_lists()
    if not answers:
        return []
    given = RunAnswers(
        answers,
        list(dict.fromkeys(image_id for image_id, _ in answers)) if facts.image_ids is None else facts.image_ids,
        facts.vocabulary,
        edition.vocabulary(learn_vocabulary([])),
        spellings=facts.spellings,
        implications=facts.implications,
        validation=facts.validation,
        listed=facts.image_ids is not None,
        faulty=frozenset(parsed.faulty),
    )
    packaged = check_manifest(file, workspace.root)
    altered = packaged if packaged is not None else check_source(answers, predicted(workspace, edition))
    return [*check_run(given), *altered]


def _unchecked(facts: Known) -> list[str]:
    """What could not be checked for want of data."""
    lines = []
    if facts.learnt_from is None:
        lines.append("No labels here: answers were held against those the competition is known for (--development).")
    if facts.image_ids is None:
        lines.append("No id list here: whether all images are there was not checked (--ids).")
    return lines
