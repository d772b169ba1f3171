"""`medvqa package`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imageclef_vqa.cli.options import EditionOption, JsonOption, RunOption, WorkspaceOption
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.editions import Edition
    from imageclef_vqa.pipeline.gather import Development
    from imageclef_vqa.submission import Finding, RunAnswers


def package(
    out: Annotated[Path | None, typer.Option(help="The run file: .csv, .json or .zip.", show_default="run.csv")] = None,
    team: Annotated[str | None, typer.Option(help="Your team: names the zip as the organisers ask.")] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Predictions to package or to verify.", show_default="the run's newest, routed or plain"),
    ] = None,
    answer_form: Annotated[
        Literal["list", "string"], typer.Option(help="Form of answers in JSON: a list of strings, or one string.")
    ] = "list",
    edition_name: EditionOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write the run even if checks find errors.")] = False,
    verify: Annotated[
        Path | None, typer.Option(help="Only compare this run, and the files it was made of, with its manifest.")
    ] = None,
    workspace: WorkspaceOption = Path("."),
    run: RunOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Check the answers to the test images and write them as a run to submit."""
    from imageclef_vqa.cli.console import print_json, print_table, wrapped
    from imageclef_vqa.cli.findings import expected, expected_table, print_findings
    from imageclef_vqa.data.reading import read_dataset
    from imageclef_vqa.editions import find_edition, read_predictions
    from imageclef_vqa.files import json_text, write_together
    from imageclef_vqa.pipeline.gather import answers_of, read_development, read_scores
    from imageclef_vqa.pipeline.reference import spell
    from imageclef_vqa.pipeline.verifying import compare_with_manifest
    from imageclef_vqa.submission import (
        arrange,
        check_run,
        errors_in,
        hashes,
        in_order,
        list_hash,
        make_manifest,
        manifest_path,
        organisers_verdict,
        render_run,
    )

    place = _run_of(Workspace.at(workspace, run), predictions)
    edition = find_edition(edition_name or place.edition)
    if verify is not None:
        compare_with_manifest(place, verify, predictions, as_json)
        return
    target = _target(place, out, team, edition)
    fold = "test" if place.has_test else "val"
    source = predictions or place.newest_predictions(fold)
    answers = spell(answers_of(read_predictions(source)), edition)
    development = read_development(place)
    fingerprints = {"development": development.dataset.fingerprint}
    image_ids = list(development.split.val(development.fold))
    if place.has_test:
        test = read_dataset(place.test, cache=place.cache, labelled=False)
        image_ids = [example.image_id for example in test.examples]
        fingerprints |= {"test": test.fingerprint, "test list": list_hash(image_ids)}
    answers = in_order(answers, image_ids)
    findings = [
        *_about_the_files(place, target, source, edition),
        *check_run(_as_run(place, development, edition, answers, image_ids, source)),
    ]
    scores = None if predictions else read_scores(place, source)
    verdict = None
    if edition.has_checker:
        first = arrange({pair: answers[pair] for pair in answers if pair[0] == image_ids[0]}, [])  # they see no other
        loaded = None if target.suffix == ".csv" else first
        verdict = organisers_verdict(loaded, image_ids, findings, instead=answers)
    errors = errors_in(findings)
    written = force or not errors
    if written:
        content = render_run(target, answers, image_ids, edition=edition, form=answer_form)
        manifest = make_manifest(
            target.name,
            content,
            images=len({image_id for image_id, _ in answers}),
            answers=len(answers),
            fold=fold,
            command=_command(target, team, predictions, answer_form, edition, force, place.run),
            seed=development.split.seed,
            data=fingerprints,
            inputs=hashes([source, place.split_file, *_models(place)], place.root),
            scores=scores,
            findings=findings,
        )
        write_together({target: content, manifest_path(target): json_text(manifest).encode()})
    if as_json:
        result = {
            "run": place.shown(target) if written else None,
            "manifest": place.shown(manifest_path(target)) if written else None,
            "fold": fold,
            "images": len(image_ids),
            "answers": len(answers),
            "findings": [finding.model_dump() for finding in findings],
            "organisers": None if verdict is None else verdict.model_dump(),
            "expected": expected(scores),
        }
        print_json(result)
    else:
        print_findings(findings)
        if questions := expected(scores):
            print_table(expected_table(questions))
        if verdict is not None:
            typer.echo(wrapped(str(verdict)))
    if not written:
        raise MedvqaError(
            f"{place.shown(target)} was not written: {errors} error{'s' * (errors > 1)}",
            remedy="mend them, or write it all the same with --force",
        )
    if not as_json:
        typer.echo(f"{place.shown(target)}: {len(answers):,} answers to {len(image_ids):,} {_IMAGES[fold]}, read back.")
        typer.echo(f"{place.shown(manifest_path(target))} says what it was made of.")
        zipped = " (the organisers take it as `medvqa package --team NAME` writes it)"
        asked = edition.team_zip is not None and team is None
        typer.echo(wrapped(_NEXT[fold].format(zip=zipped * asked)))


_IMAGES = {"test": "test images", "val": "validation images"}
_NEXT = {
    "test": "Next: keep both, and submit the run{zip}.",
    "val": "Next: put the test images into data/test/images, then `medvqa predict` and `medvqa package` again.",
}


def _target(workspace: Workspace, out: Path | None, team: str | None, edition: Edition) -> Path:
    from imageclef_vqa.submission import team_zip

    if team is None:
        return out or workspace.root / edition.run_file
    name = team_zip(team, edition)
    if out is not None and out.name != name:
        raise UsageError(f"--team {team} writes {name}, --out asks for {out.name}: leave one of them out")
    return out or workspace.root / name


def _run_of(workspace: Workspace, predictions: Path | None) -> Workspace:
    """The workspace, its run that which `predictions` lie in, whatever `--run` says."""
    if predictions is not None and predictions.resolve().is_relative_to(workspace.work.resolve()):
        name = predictions.resolve().relative_to(workspace.work.resolve()).parts[0]
        if name in workspace.runs():
            return Workspace.at(workspace.root, name)
    return workspace


def _as_run(
    workspace: Workspace,
    development: Development,
    edition: Edition,
    answers: dict[tuple[str, int], tuple[str, ...]],
    image_ids: list[str],
    source: Path,
) -> RunAnswers:
    """The answers with all that training and the same model's validation answers say of them."""
    from imageclef_vqa.editions import learn_implications, learn_vocabulary, read_predictions
    from imageclef_vqa.pipeline.gather import answers_of, training_vocabulary
    from imageclef_vqa.pipeline.reference import spell
    from imageclef_vqa.submission import RunAnswers, images_of

    training = development.dataset.subset(development.split.train(development.fold))
    own = {
        workspace.routed("test"): workspace.routed("val"),
        workspace.predictions("test"): workspace.predictions("val"),
    }.get(source)
    return RunAnswers(
        answers,
        image_ids,
        edition.vocabulary(training_vocabulary(workspace, development)),
        edition.vocabulary(learn_vocabulary([])),
        implications=learn_implications(images_of(spell(training.gold(), edition)).values()),
        validation=spell(answers_of(read_predictions(own)), edition) if own and own.exists() else {},
    )


def _about_the_files(workspace: Workspace, target: Path, source: Path, edition: Edition) -> list[Finding]:
    from imageclef_vqa.submission import check_age, check_name, warning

    findings: list[Finding] = []
    if not workspace.has_test:
        message = "THIS IS NO SUBMISSION: there are no test images, these are the validation images' answers"
        remedy = f"put the test images into {workspace.shown(workspace.test / 'images')}"
        findings.append(warning("no-test", ["the test images"], message, remedy))
    findings += check_name(target, edition)
    models = [path for each in workspace.members() for path in sorted(each.stage(2).glob("*.safetensors"))]
    stale = [found for model in models for found in check_age(source, model, workspace.shown(source))]
    return findings + stale[:1]


def _models(workspace: Workspace) -> list[Path]:
    """The files of all that may have answered: BLIP-2 with its recipe, experts, and what calibrates them."""
    trained = [path for each in workspace.members() for path in sorted(each.stage(2).glob("*"))]
    experts = [path for path in workspace.run_folder.glob("experts/*/*") if path.suffix in (".json", ".safetensors")]
    return [*trained, *sorted(experts), workspace.calibration]


def _command(
    target: Path, team: str | None, predictions: Path | None, form: str, edition: Edition, force: bool, run: str
) -> str:
    """What was typed, without the machine's folders."""
    words = ["medvqa", "package", "--out", target.name, "--run", run]
    if team is not None:
        words += ["--team", team]
    if predictions is not None:
        words += ["--predictions", predictions.name]
    if form != "list":
        words += ["--answer-form", form]
    if edition.name != "gi-2023":
        words += ["--edition", edition.name]
    return shlex.join(words + ["--force"] * force)
