"""`medvqa score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageclef_vqa.cli.options import JsonOption, RunOption, WorkspaceOption
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.cli.gather import Answers
    from imageclef_vqa.evaluation import ReportFold, Score

_FOLDS = {"val": "Validation images", "test": "Test images"}


def score(
    file: Annotated[
        Path | None, typer.Argument(help="Predictions (.jsonl) or a run file (.csv, .json, .zip), anybody's.")
    ] = None,
    gold: Annotated[
        Path | None, typer.Option(help="A gt.json to score FILE against, in place of the workspace's own.")
    ] = None,
    workspace: WorkspaceOption = Path("."),
    run: RunOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Compare answers with the gold ones, question by question, and write the report."""
    from imageclef_vqa.cli.console import print_json
    from imageclef_vqa.evaluation import render_report
    from imageclef_vqa.files import write_json, write_text

    place = Workspace.at(workspace, run)
    if file is not None:
        result = _score_file(place, file, gold)
        content = result.model_dump(mode="json", by_alias=True)
        print_json(content) if as_json else _show(str(file), result)
        return
    if gold is not None:
        raise UsageError("--gold goes with a FILE to score: medvqa score run.csv --gold gt.json")
    folds = _score_run(place)
    content = {"folds": {fold.name: fold.score.model_dump(mode="json", by_alias=True) for fold in folds}}
    write_json(place.scores, content)
    write_text(place.report, render_report(run, folds))
    if as_json:
        print_json(content)
        return
    for fold in folds:
        _show(_FOLDS[fold.name], fold.score)
    typer.echo(f"{place.shown(place.report)} shows this with the mistakes. Next: medvqa package --out run.csv")


def _score_run(place: Workspace) -> list[ReportFold]:
    """Every fold of the run that has both predictions and gold answers."""
    from imageclef_vqa.cli.gather import answers_of, read_development, read_gold, training_vocabulary
    from imageclef_vqa.evaluation import ReportFold, score_fold
    from imageclef_vqa.task import QUESTIONS, read_predictions

    development = read_development(place)
    vocabulary = training_vocabulary(place, development)
    majority = [vocabulary[question.id].majority for question in QUESTIONS]
    golds = {"val": development.validation_gold()}
    if (test_gold := place.test / "gt.json").exists():
        golds["test"] = read_gold(test_gold)
    folds, missing = [], []
    for name, gold in golds.items():
        try:
            newest = place.newest_predictions(name)
        except MissingStepError as error:
            missing.append(error)
            continue
        routed = newest == place.routed(name)
        predictions = read_predictions(newest)
        alone = answers_of(read_predictions(plain)) if routed and (plain := place.predictions(name)).exists() else None
        score = score_fold(
            "routed" if routed else "blip2",
            answers_of(predictions),
            alone,
            gold,
            majority=majority,
            groups=development.split.groups if name == "val" else None,
        )
        probabilities = {(each.image_id, each.question_id): each.probability for each in predictions}
        folds.append(ReportFold(name, score, answers_of(predictions), gold, probabilities))
    if not folds:
        raise missing[0]
    return folds


def _score_file(place: Workspace, file: Path, gold_file: Path | None) -> Score:
    """The score of one file, against `gold_file` or the fold of the workspace that its images belong to."""
    from imageclef_vqa.cli.gather import answers_of, read_development, read_gold, training_vocabulary
    from imageclef_vqa.evaluation import score_answers
    from imageclef_vqa.submission import read_run
    from imageclef_vqa.task import QUESTIONS, read_predictions

    given: Answers = answers_of(read_predictions(file)) if file.suffix == ".jsonl" else read_run(file)
    if gold_file is not None:
        return score_answers(given, read_gold(gold_file))
    development = read_development(place)
    vocabulary = training_vocabulary(place, development)
    golds: list[tuple[Answers, dict[str, int] | None]] = [(development.validation_gold(), development.split.groups)]
    if (test_gold := place.test / "gt.json").exists():
        golds.insert(0, (read_gold(test_gold), None))
    images = {image_id for image_id, _ in given}
    for gold, groups in golds:
        if not images.isdisjoint(image_id for image_id, _ in gold):
            majority = [vocabulary[question.id].majority for question in QUESTIONS]
            return score_answers(given, gold, majority=majority, groups=groups)
    raise MedvqaError(
        f"{file}: none of its images is a validation or test image with gold answers",
        remedy="name the file that has them: medvqa score FILE --gold gt.json",
    )


def _show(title: str, result: Score) -> None:
    from imageclef_vqa.cli.console import print_table
    from imageclef_vqa.evaluation import coverage_lines, form_line, score_table

    for line in (form_line(result), *coverage_lines(result)):
        typer.echo(line)
    print_table(score_table(title, result))
