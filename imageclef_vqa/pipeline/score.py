"""`medvqa score`: a run of the workspace, or a file, against the gold answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.artefacts import write_artefact
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import MissingStepError, UsageError
from imageclef_vqa.evaluation import FoldScore, Published, ReportFold, published_file, read_published
from imageclef_vqa.evaluation.text.folds import TextFold
from imageclef_vqa.evaluation.text.scores import TextScore
from imageclef_vqa.files import check_output, json_text
from imageclef_vqa.pipeline.answers import answers_of, probabilities_of
from imageclef_vqa.pipeline.gold import workspace_golds
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.report import epoch_choice, write_plots, write_report
from imageclef_vqa.pipeline.scored_folds import classical_answers, score_file, score_gold
from imageclef_vqa.pipeline.selection import Selection, select_answers
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Scores:
    """What was scored: folds with their answers, or published figures without any; `selected` answers of a run."""

    folds: tuple[ReportFold | TextFold, ...] = ()
    published: Mapping[str, Published] | None = None
    selected: tuple[Selection, ...] = ()

    @property
    def results(self) -> Mapping[str, FoldScore | TextScore | Published]:
        """Name of a fold or file → its score."""
        return self.published or {fold.name: fold.score for fold in self.folds}

    @property
    def mean(self) -> float:
        """The mean exact-set accuracy over the questions; of the test images where there are several folds.

        Of open questions, METEOR.
        """
        *_, last = self.results.values()
        return last.overall.meteor if isinstance(last, TextScore) else last.overall.exact_set


def score(
    file: str | Path | None = None,
    *,
    answers: str | None = None,
    gold: str | Path | None = None,
    workspace: str | Path = ".",
    run: str = "main",
    report: str | Path | None = None,
    plots: str | Path | None = None,
    heat_maps: bool = False,
    device: str = "auto",
) -> Scores:
    """Score a run of the workspace, which writes scores.json and the report, or a `file` of answers.

    Args:
        answers: of the run: "routed", "plain" or the name of a variant; by default, those that `package` takes.
        heat_maps: whether the report of a run shows what carried its wrong answers; that loads the model on `device`.

    Raises:
        UsageError: options contradict each other.
        MissingStepError: the run has no predictions for images with gold answers.
        MedvqaError: no image that `file` answers has a gold answer.
    """
    at = Workspace.at(workspace, run)
    target = None if report is None else Path(report)
    if target is not None:
        check_output(target)
    selected: list[Selection] = []
    if file is None:
        if gold is not None:
            raise UsageError("--gold needs a FILE to score: `medvqa score run.csv --gold gt.json`")
        folds, selected = score_run(Lineage(at), answers)
        _write_scores(at, folds, selected)
        write_report(target or at.report, at, run, folds, heat_maps_on=device if heat_maps else None)
    else:
        if heat_maps:
            raise UsageError("--heat-maps needs the model of a run of the workspace, without FILE")
        if answers is not None:
            raise UsageError("--answers chooses among the answers of a run, without FILE")
        path = published_file(str(file))
        if (published := read_published(path)) is not None:
            if report or plots:
                raise UsageError(f"{path} holds published figures, without the answers for a report or plots")
            return Scores(published={str(file): published})
        folds = [score_file(at, path, None if gold is None else Path(gold))]
        if target is not None:
            write_report(target, at, path.name, folds)  # without folders, which may name a person
    if plots is not None:
        write_plots(Path(plots), at, folds)
    return Scores(tuple(folds), selected=tuple(selected))


def score_run(lineage: Lineage, answers: str | None = None) -> tuple[list[ReportFold | TextFold], list[Selection]]:
    """Every fold of the run that has both predictions and gold answers, and which answers were scored.

    Raises:
        MissingStepError: no fold has.
    """
    workspace = lineage.workspace
    folds: list[ReportFold | TextFold] = []
    selected, missing = [], []
    for gold in workspace_golds(lineage):
        try:
            selection = select_answers(lineage, gold.name, answers)
        except MissingStepError as error:
            missing.append(error)
            continue
        routed, plain = selection.name == "routed", workspace.predictions(gold.name)
        blip2 = answers_of(read_predictions(plain)) if routed and plain.exists() else None
        given, probabilities = answers_of(selection.predictions), probabilities_of(selection.predictions)
        system = "routed" if routed else "blip2"
        choice = epoch_choice(workspace) if gold.name == "val" else None
        folds.append(score_gold(gold, given, system, blip2, classical_answers(workspace, gold), probabilities, choice))
        selected.append(selection)
    if not folds:
        raise missing[0]
    return folds, selected


def _write_scores(workspace: Workspace, folds: Sequence[ReportFold | TextFold], selected: Sequence[Selection]) -> None:
    """scores.json, with the digests of the answers that were scored."""
    content = {"folds": {fold.name: fold.score.model_dump(mode="json", by_alias=True) for fold in folds}}
    inputs = {each.artefact.name: each.artefact.record.digest for each in selected if each.artefact.record}
    write_artefact(workspace.scores, json_text(content).encode(), command="score", inputs=inputs)
