"""`medvqa baseline`."""

from __future__ import annotations

from pathlib import Path

import typer

from imageclef_vqa.cli.options import FoldOption, JsonOption, WorkspaceOption


def baseline(
    fold: FoldOption = 0,
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Fit the baselines: the most frequent answers, and a classical expert that is fitted in seconds."""
    from imageclef_vqa import routing
    from imageclef_vqa.cli.console import note, print_json, print_table
    from imageclef_vqa.editions import QUESTIONS, read_predictions
    from imageclef_vqa.evaluation import score_answers
    from imageclef_vqa.evaluation.tables import score_table
    from imageclef_vqa.pipeline.gather import Answers, answers_of, read_development, read_gold
    from imageclef_vqa.workspace import Workspace

    place = Workspace.at(workspace, routing.BASELINE)
    vocabulary = routing.baseline(place, fold=fold, notify=note)
    development = read_development(place)
    golds: dict[str, tuple[Answers, dict[str, int] | None]] = {
        "val": (development.validation_gold(), development.split.groups)
    }
    if place.has_test and (test_gold := place.test / "gt.json").exists():
        golds["test"] = (read_gold(test_gold)[0], None)
    majority = [vocabulary[question.id].majority for question in QUESTIONS]
    scores = {
        name: score_answers(
            answers_of(read_predictions(place.predictions(name))), gold, majority=majority, groups=groups
        )
        for name, (gold, groups) in golds.items()
    }
    if as_json:
        print_json({"folds": {name: score.model_dump(mode="json", by_alias=True) for name, score in scores.items()}})
        return
    for name, score in scores.items():
        print_table(score_table(f"The classical expert on {'validation' if name == 'val' else 'test'} images", score))
    typer.echo(f"{place.shown(place.run_folder)} is a run like others: `medvqa score` compares yours with it")
