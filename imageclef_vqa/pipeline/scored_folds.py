"""Answers to one fold, or those of a file, scored against their gold answers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.evaluation import EpochChoice, ReportFold, score_fold
from imageclef_vqa.evaluation.text.folds import TextFold
from imageclef_vqa.evaluation.text.metrics import TextMeter
from imageclef_vqa.evaluation.text.scores import score_sentences
from imageclef_vqa.pipeline.answer_rows import match_rows, read_answer_rows
from imageclef_vqa.pipeline.answers import Answers, answers_of, probabilities_of
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.pipeline.gold import Gold, gold_for, gold_of_file, workspace_golds
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.selection import read_answers
from imageclef_vqa.workspace import Workspace


def score_file(workspace: Workspace, file: Path, gold_file: Path | None) -> ReportFold | TextFold:
    """One file of answers against `gold_file`, or against the fold that its images belong to.

    Raises:
        MedvqaError: no image that it answers has a gold answer.
    """
    if gold_file.suffix == ".jsonl" if gold_file is not None else edition_of(workspace).open:
        return _score_rows(workspace, file, gold_file)
    predictions = read_predictions(file) if file.suffix == ".jsonl" else []
    given, probabilities = answers_of(predictions) or read_answers(workspace, str(file)), probabilities_of(predictions)
    if gold_file is not None:
        gold = gold_of_file(workspace, gold_file)
    elif workspace.development.is_dir():
        gold = gold_for(workspace, given, str(file))
    else:
        raise UsageError(
            f"{file}: there are no gold answers, since {workspace.development} is missing",
            remedy=f"name them: `medvqa score {shlex.quote(str(file))} --gold gt.json`",
        )
    answered = {image_id for image_id, _ in given}
    if answered and answered.isdisjoint(gold.image_ids):
        with_extension = not {Path(image_id).stem for image_id in answered}.isdisjoint(gold.image_ids)
        raise MedvqaError(
            f"{file}: none of its images is in {gold_file}",
            remedy="its ids have an extension: write them without, as gt.json does"
            if with_extension
            else "name the gold answers to these images with --gold",
        )
    baseline = None if gold_file is not None else classical_answers(workspace, gold)
    return score_gold(gold, given, "file", None, baseline, probabilities)


def _score_rows(workspace: Workspace, file: Path, gold_file: Path | None) -> TextFold:
    """A file of answers to open questions; without `gold_file`, against the first fold that it answers.

    Raises:
        MedvqaError: it answers no row that has a gold answer.
    """
    rows = read_answer_rows(file)
    golds = [gold_of_file(workspace, gold_file)] if gold_file is not None else workspace_golds(Lineage(workspace))[::-1]
    for gold in golds:
        matched = match_rows(rows, gold.questions)
        if matched.answers:
            probabilities = {pair: matched.probabilities.get(pair) for pair in matched.answers}
            known = {pair: value for pair, value in probabilities.items() if value is not None}
            return _score_sentences(gold, matched.answers, "file", known, len(matched.strangers))
    raise MedvqaError(
        f"{file}: no row asks what {gold_file or 'the workspace'} asks of the same image",
        remedy="name the gold answers to these rows: `medvqa score FILE --gold qa.jsonl`",
    )


def _score_sentences(
    gold: Gold,
    given: Answers,
    answered_by: str,
    probabilities: Mapping[tuple[str, int], float],
    strangers: int = 0,
) -> TextFold:
    """`strangers` are answers to other rows, which are not in `given`."""
    meter = TextMeter()
    score = score_sentences(
        given,
        gold.answers,
        gold.questions,
        commonest=gold.commonest,
        groups=gold.groups,
        answered_by=answered_by,
        seen=None if gold.trained is None else len(gold.trained & gold.image_ids),
        meter=meter,
    )
    score = score.model_copy(update={"extra": score.extra + strangers})
    return TextFold(
        gold.name,
        score,
        given,
        gold.answers,
        probabilities,
        questions=gold.questions,
        meter=meter,
        groups=gold.groups,
        images=gold.images,
        records=gold.records,
    )


def score_gold(
    gold: Gold,
    given: Answers,
    answered_by: str,
    alone: Answers | None,
    baseline: Answers | None,
    probabilities: Mapping[tuple[str, int], float],
    epoch_choice: EpochChoice | None = None,
) -> ReportFold | TextFold:
    if gold.questions:
        return _score_sentences(gold, given, answered_by, probabilities)
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
        epoch_choice=epoch_choice,
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


def classical_answers(workspace: Workspace, gold: Gold) -> Answers | None:
    """The classical expert's answers to these images; None if it answered another fold."""
    path = workspace.floor(gold.name)
    if path is None:
        return None
    answers = answers_of(read_predictions(path))
    return answers if gold.image_ids <= {image_id for image_id, _ in answers} else None
