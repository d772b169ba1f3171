"""`medvqa package`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imageclef_vqa.cli.console import echo, print_json, print_table
from imageclef_vqa.cli.findings import expected, expected_table, print_findings
from imageclef_vqa.cli.options import AnswersOption, EditionOption, JsonOption, RunOption, WorkspaceOption
from imageclef_vqa.errors import MedvqaError, UsageError, counted

if TYPE_CHECKING:
    from imageclef_vqa.pipeline.prepared_run import Package
    from imageclef_vqa.workspace import Workspace

SubmissionOption = Annotated[
    Path | None,
    typer.Option(help="New folder for a repository that the organisers run; needs --repo-id.", show_default=False),
]
RepoOption = Annotated[
    str | None, typer.Option(help="Repository on the Hugging Face hub: ORG/NAME.", show_default=False)
]
TemplateOption = Annotated[
    Path | None,
    typer.Option(help="The organisers' submission_task1.py.", show_default="that of their installed package"),
]


def package(
    out: Annotated[Path | None, typer.Option(help="The run file: .csv, .json or .zip.", show_default="run.csv")] = None,
    team: Annotated[str | None, typer.Option(help="Your team: names the zip as the organisers ask.")] = None,
    answers: AnswersOption = None,
    predictions: Annotated[
        Path | None, typer.Option(help="File of predictions to package or to verify, instead of --answers.")
    ] = None,
    answer_form: Annotated[
        Literal["list", "string"], typer.Option(help="Form of answers in JSON: a list of strings, or one string.")
    ] = "list",
    edition: EditionOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write the run even if checks find errors.")] = False,
    verify: Annotated[
        Path | None, typer.Option(help="Only compare this run, and the files it was made of, with its manifest.")
    ] = None,
    submission: SubmissionOption = None,
    repo_id: RepoOption = None,
    template: TemplateOption = None,
    workspace: WorkspaceOption = Path("."),
    run: RunOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Check the answers to the test images and write them as a run to submit."""
    import imageclef_vqa as vqa
    from imageclef_vqa.workspace import Workspace

    if submission is not None or repo_id is not None or template is not None:
        if submission is None or repo_id is None:
            raise UsageError("a repository needs both: --submission FOLDER --repo-id ORG/NAME")
        _submit(submission, repo_id, template, edition, Workspace.at(workspace, run), as_json)
        return
    if verify is not None:
        _verify(verify, predictions, Workspace.at(workspace, run), as_json)
        return
    prepared = vqa.package(
        out,
        team=team,
        answers=answers,
        predictions=predictions,
        answer_form=answer_form,
        edition=edition,
        write=False,
        workspace=workspace,
        run=run,
    )
    writes = force or not prepared.errors
    if as_json:
        print_json(_as_json(prepared, writes))
    else:
        _print_checks(prepared)
    prepared.write(force=force)
    if not as_json:
        _print_written(prepared, zipped=team is not None)


def _as_json(prepared: Package, written: bool) -> dict[str, Any]:
    shown = prepared.workspace.shown
    return {
        "run": shown(prepared.target) if written else None,
        "manifest": shown(prepared.manifest) if written else None,
        "fold": prepared.fold,
        "answers_from": None if prepared.selection is None else prepared.selection.artefact.name,
        "images": len(prepared.image_ids),
        "answers": len(prepared.answers),
        "findings": [finding.model_dump() for finding in prepared.findings],
        "organisers": None if prepared.verdict is None else prepared.verdict.model_dump(),
        "expected": expected(prepared.scores),
    }


def _print_checks(prepared: Package) -> None:
    if prepared.selection is not None:
        echo(prepared.selection.line)
    print_findings(prepared.findings)
    if questions := expected(prepared.scores):
        print_table(expected_table(questions))
    if prepared.verdict is not None and prepared.target.suffix != ".csv":  # their checker reads JSON
        echo(str(prepared.verdict))


def _print_written(prepared: Package, *, zipped: bool) -> None:
    typed, shown = prepared.workspace.typed, prepared.workspace.shown
    images = f"{len(prepared.image_ids):,} {_IMAGES[prepared.fold]}"
    echo(f"{shown(prepared.target)}: {len(prepared.answers):,} answers to {images}, read back.")
    echo(f"{shown(prepared.manifest)} says what it was made of.")
    asked = prepared.edition.team_zip is not None and not zipped
    zip_ = f" (the organisers take it as `{typed('medvqa package --team NAME')}` writes it)" * asked
    if prepared.edition.open and prepared.fold == "test":
        command = typed("medvqa package --submission FOLDER --repo-id ORG/NAME")
        echo(f"The organisers run a repository that answers: `{command}` makes one.")
        return
    commands = {name: typed(f"medvqa {name}") for name in ("predict", "package")}
    echo(_NEXT[prepared.fold].format(zip=zip_, **commands))


def _submit(
    folder: Path, repo_id: str, template: Path | None, edition: str | None, workspace: Workspace, as_json: bool
) -> None:
    from imageclef_vqa.pipeline.submission import make_submission

    done = make_submission(
        folder, repo_id, template=template, edition=edition, workspace=workspace.root, run=workspace.run
    )
    rehearsed = {"rows": done.rehearsed.rows, "public_scores": dict(done.rehearsed.scores)}
    if as_json:
        print_json({"folder": str(folder), "files": done.files, "rehearsal": rehearsed, "commands": done.commands})
        return
    print_findings(done.package.findings)
    echo(f"{folder}: {counted(len(done.files), 'file')} of the repository {repo_id}")
    scores = ", ".join(f"{name} {value:.4f}" for name, value in done.rehearsed.scores.items())
    rows = counted(done.rehearsed.rows, "row")
    echo(f"Rehearsal without network: the script answers {rows} as the run does ({scores}).")
    echo("Next, with a token of the hub (`hf auth login`):")
    for command in done.commands:
        echo(f"  {command}")


def _verify(run: Path, predictions: Path | None, workspace: Workspace, as_json: bool) -> None:
    from imageclef_vqa.pipeline.verify import verify

    found = verify(run, predictions=predictions, workspace=workspace.root, run=workspace.run)
    if as_json:
        listed = [{**each.model_dump(), "same": each.same} for each in found.compared]
        print_json({"same": not found.changed, "compared": listed, "versions": found.versions})
    else:
        for each in found.compared:
            echo(each, fg=None if each.same else "red")
        for line in found.versions:
            echo(f"{line}: no difference in itself", dim=True)
    if found.changed:
        differ = "differs" if len(found.changed) == 1 else "differ"
        again = workspace.typed(f"medvqa package --out {run.name}")
        raise MedvqaError(
            f"{workspace.shown(run)}: {len(found.changed)} of {len(found.compared)} things {differ} from its manifest",
            remedy=f"`{again}` writes the run again from what is there now",
        )
    if not as_json:
        echo(f"{workspace.shown(run)} and all that it was made of are as they were.")


_IMAGES = {"test": "test images", "val": "validation images"}
_NEXT = {
    "test": "Next: keep both, and submit the run{zip}.",
    "val": "Next: put the test images into data/test/images, then `{predict}` and `{package}` again.",
}
