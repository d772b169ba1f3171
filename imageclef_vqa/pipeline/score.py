"""`medvqa score`: a run of the workspace, or a file, against the gold answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.evaluation import FoldScore, Published, ReportFold, read_published, score_fold
from imageclef_vqa.files import write_json
from imageclef_vqa.pipeline.answers import Answers, answers_of, probabilities_of, read_answers
from imageclef_vqa.pipeline.gold import Gold, gold_for, gold_of_file, workspace_golds
from imageclef_vqa.pipeline.report import write_plots, write_report
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Scores:
    """What was scored: folds with their answers, or published figures without any."""

    folds: tuple[ReportFold, ...] = ()
    published: Mapping[str, Published] | None = None

    @property
    def results(self) -> Mapping[str, FoldScore | Published]:
        """Name of a fold or file → its score."""
        return self.published or {fold.name: fold.score for fold in self.folds}

    @property
    def mean(self) -> float:
        """The mean exact-set accuracy over the questions; of the test images where there are several folds."""
        *_, last = self.results.values()
        return last.overall.exact_set


def score(
    answers: str | Path | None = None,
    *,
    gold: str | Path | None = None,
    workspace: str | Path = ".",
    run: str = "main",
    report: str | Path | None = None,
    plots: str | Path | None = None,
) -> Scores:
    """Score a run of the workspace, which writes scores.json and the report, or a file of `answers`.

    Raises:
        UsageError: options contradict each other.
        MissingStepError: the run has no predictions for images with gold answers.
        MedvqaError: no image that `answers` holds has a gold answer.
    """
    at = Workspace.at(workspace, run)
    target = None if report is None else Path(report)
    if answers is None:
        if gold is not None:
            raise UsageError("--gold needs a FILE to score: `medvqa score run.csv --gold gt.json`")
        folds = score_run(at)
        write_json(
            at.scores, {"folds": {fold.name: fold.score.model_dump(mode="json", by_alias=True) for fold in folds}}
        )
        write_report(target or at.report, at, run, folds)
        name = run
    else:
        file = Path(answers)
        if (published := read_published(file)) is not None:
            if report or plots:
                raise UsageError(f"{file} holds published figures, without the answers for a report or plots")
            return Scores(published={str(answers): published})
        folds = [score_file(at, file, None if gold is None else Path(gold))]
        name = file.name  # folders may name a person
        if target is not None:
            write_report(target, at, name, folds)
    if plots is not None:
        write_plots(Path(plots), at, folds)
    return Scores(tuple(folds))


def score_run(workspace: Workspace) -> list[ReportFold]:
    """Every fold of the run that has both predictions and gold answers.

    Raises:
        MissingStepError: no fold has.
    """
    folds, missing = [], []
    for gold in workspace_golds(workspace):
        try:
            newest = workspace.newest_predictions(gold.name)
        except MissingStepError as error:
            missing.append(error)
            continue
        routed = newest == workspace.routed(gold.name)
        plain = workspace.predictions(gold.name)
        alone = answers_of(read_predictions(plain)) if routed and plain.exists() else None
        predictions = read_predictions(newest)
        system, baseline = "routed" if routed else "blip2", _baseline(workspace, gold)
        folds.append(_score_fold(gold, answers_of(predictions), system, alone, baseline, probabilities_of(predictions)))
    if not folds:
        raise missing[0]
    return folds


def score_file(workspace: Workspace, file: Path, gold_file: Path | None) -> ReportFold:
    """One file of answers against `gold_file`, or against the fold that its images belong to.

    Raises:
        MedvqaError: no image that it answers has a gold answer.
    """
    given, probabilities = read_answers(workspace, str(file)), {}
    if file.suffix == ".jsonl":
        probabilities = probabilities_of(read_predictions(file))
    gold = gold_of_file(workspace, gold_file) if gold_file is not None else gold_for(workspace, given, str(file))
    answered = {image_id for image_id, _ in given}
    if answered and answered.isdisjoint(gold.image_ids):
        with_extension = not {Path(image_id).stem for image_id in answered}.isdisjoint(gold.image_ids)
        raise MedvqaError(
            f"{file}: none of its images is in {gold_file}",
            remedy="its ids have an extension: write them without, as gt.json does"
            if with_extension
            else "name the gold answers to these images with --gold",
        )
    baseline = None if gold_file is not None else _baseline(workspace, gold)
    return _score_fold(gold, given, "file", None, baseline, probabilities)


def _score_fold(
    gold: Gold,
    given: Answers,
    answered_by: str,
    alone: Answers | None,
    baseline: Answers | None,
    probabilities: Mapping[tuple[str, int], float],
) -> ReportFold:
    score = score_fold(
        answered_by,
        given,
        alone,
        gold.answers,
        majority=gold.majority,
        classical=baseline,
        groups=gold.groups,
        heights=gold.heights,
        seen=gold.trained,
    )
    return ReportFold(
        gold.name,
        score,
        given,
        gold.answers,
        probabilities,
        groups=gold.groups,
        images=gold.images,
        records=gold.records,
    )


def _baseline(workspace: Workspace, gold: Gold) -> Answers | None:
    """The classical expert's answers to these images; None if it answered another fold."""
    path = workspace.floor(gold.name)
    if path is None:
        return None
    answers = answers_of(read_predictions(path))
    return answers if gold.image_ids <= {image_id for image_id, _ in answers} else None
