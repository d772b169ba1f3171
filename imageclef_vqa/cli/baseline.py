"""`medvqa baseline`."""

from __future__ import annotations

from pathlib import Path

from imageclef_vqa.cli.console import echo, note, print_json, print_table
from imageclef_vqa.cli.options import FoldOption, JsonOption, WorkspaceOption


def baseline(
    fold: FoldOption = 0,
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Fit the baselines: the most frequent answers, and a classical expert that is fitted in seconds."""
    from imageclef_vqa.evaluation.tables import score_table
    from imageclef_vqa.pipeline.baseline import BASELINE
    from imageclef_vqa.pipeline.baseline import baseline as score_baseline
    from imageclef_vqa.workspace import Workspace

    scores = score_baseline(workspace, fold=fold, notify=note)
    if as_json:
        print_json({"folds": {name: score.model_dump(mode="json", by_alias=True) for name, score in scores.items()}})
        return
    for name, score in scores.items():
        print_table(score_table(f"The classical expert on {'validation' if name == 'val' else 'test'} images", score))
    folder = Workspace.at(workspace, BASELINE)
    following = folder.typed("medvqa score", run=False)
    echo(f"{folder.shown(folder.run_folder)} is a run like others: `{following}` compares yours with it")
