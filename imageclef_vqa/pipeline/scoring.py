"""What `medvqa score` computes: a run, a file, or several of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.evaluation import ReportFold, read_published, score_fold
from imageclef_vqa.pipeline.gather import Answers, answers_of
from imageclef_vqa.pipeline.gold import Gold, gold_for, gold_of_file, read_answers, workspace_golds
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.evaluation import Comparisons, Published


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
        alone = None
        if routed and (plain := workspace.predictions(gold.name)).exists():
            alone = answers_of(read_predictions(plain))
        predictions = read_predictions(newest)
        probabilities = {(each.image_id, each.question_id): each.probability for each in predictions}
        answered_by = "routed" if routed else "blip2"
        folds.append(_fold(gold, answers_of(predictions), answered_by, alone, _floor(workspace, gold), probabilities))
    if not folds:
        raise missing[0]
    return folds


def score_file(workspace: Workspace, file: Path, gold_file: Path | None) -> tuple[ReportFold | None, Published | None]:
    """One file of answers against `gold_file` or the fold that its images belong to; or else published figures.

    Raises:
        MedvqaError: no image that it answers has a gold answer.
    """
    if (published := read_published(file)) is not None:
        return None, published
    probabilities = {}
    if file.suffix == ".jsonl":
        predictions = read_predictions(file)
        given: Answers = answers_of(predictions)
        probabilities = {(each.image_id, each.question_id): each.probability for each in predictions}
    else:
        given = read_answers(workspace, str(file))
    gold = gold_of_file(workspace, gold_file) if gold_file is not None else gold_for(workspace, given, str(file))
    answered = {image_id for image_id, _ in given}
    if answered and answered.isdisjoint(gold.image_ids):
        bare = {Path(image_id).stem for image_id in answered}
        raise MedvqaError(
            f"{file}: none of its images is in {gold_file}",
            remedy="name the gold answers to these images with --gold"
            if bare.isdisjoint(gold.image_ids)
            else "its ids have an extension: write them without, as gt.json does",
        )
    floor = None if gold_file is not None else _floor(workspace, gold)
    return _fold(gold, given, "file", None, floor, probabilities), None


def _fold(
    gold: Gold,
    given: Answers,
    answered_by: str,
    alone: Answers | None,
    classical: Answers | None,
    probabilities: dict[tuple[str, int], float],
) -> ReportFold:
    score = score_fold(
        answered_by,
        given,
        alone,
        gold.answers,
        majority=gold.majority,
        classical=classical,
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


def _floor(workspace: Workspace, gold: Gold) -> Answers | None:
    """The classical expert's answers to these images; None if they were made for another fold."""
    path = workspace.floor(gold.name)
    if path is None:
        return None
    classical = answers_of(read_predictions(path))
    return classical if gold.image_ids <= {image_id for image_id, _ in classical} else None


def compare_sources(workspace: Workspace, sources: Sequence[str], gold_file: Path | None) -> dict[str, Comparisons]:
    """Each source after the first beside the first, by fold; without sources, the run before and after routing.

    Raises:
        UsageError: there is one source alone, or no gold answer that all of them meet.
    """
    from imageclef_vqa.evaluation import compare_answers

    if len(sources) == 1:
        raise UsageError("--compare wants two or more: files, or names of runs; or none, for a run before routing")
    if any(Path(each).is_file() and read_published(Path(each)) is not None for each in sources):
        raise UsageError("published figures have no answers to pair: score their file by itself, and ours beside it")
    golds = [gold_of_file(workspace, gold_file)] if gold_file is not None else workspace_golds(workspace)
    if sources:
        named = [(source, read_answers(workspace, source)) for source in sources]
        by_fold = [(gold, named) for gold in golds]
    else:
        by_fold = [(gold, _before_and_after(workspace, gold.name)) for gold in golds]
    results = {
        gold.name: compare_answers(given, gold.answers, groups=gold.groups)
        for gold, given in by_fold
        if given and all(not gold.image_ids.isdisjoint(image_id for image_id, _ in each) for _, each in given)
    }
    if not results:
        what = "they answer no image in common that has gold answers" if sources else "nothing was routed"
        raise UsageError(what, remedy="name their gold answers with --gold" if sources else "`medvqa route` does")
    return results


def _before_and_after(workspace: Workspace, fold: str) -> list[tuple[str, Answers]]:
    plain, routed = workspace.predictions(fold), workspace.routed(fold)
    if not (plain.exists() and routed.exists()):
        return []
    return [("BLIP-2", answers_of(read_predictions(plain))), ("routed", answers_of(read_predictions(routed)))]
