"""`medvqa score --compare`: several sets of answers, paired with the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import UsageError
from imageclef_vqa.evaluation import Comparisons, compare_answers, read_published
from imageclef_vqa.evaluation.text.compare import TextComparisons, compare_sentences
from imageclef_vqa.pipeline.answer_rows import AnswerRow, match_rows, read_answer_rows
from imageclef_vqa.pipeline.answers import Answers, answers_of
from imageclef_vqa.pipeline.gold import Gold, gold_of_file, workspace_golds
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.selection import read_answers
from imageclef_vqa.workspace import Workspace


def compare(
    sources: Sequence[str] = (),
    *,
    gold: str | Path | None = None,
    workspace: str | Path = ".",
    run: str = "main",
) -> dict[str, Comparisons | TextComparisons]:
    """Each source (a file, or the name of a run) paired with the first, by fold; without sources, routed and plain.

    Raises:
        UsageError: there is only one source, or they answer no image in common that has gold answers.
    """
    at = Workspace.at(workspace, run)
    if len(sources) == 1:
        raise UsageError("--compare needs two or more files or names of runs; without any, it compares before routing")
    if any(Path(each).is_file() and read_published(Path(each)) is not None for each in sources):
        raise UsageError("published figures have no answers to pair: score their file, and compare the numbers")
    golds = [gold_of_file(at, Path(gold))] if gold is not None else workspace_golds(Lineage(at))
    if sources and golds[0].questions:
        read = {source: read_answer_rows(Path(source)) for source in sources if Path(source).is_file()}
        by_fold = [(each, [(source, _of_rows(at, source, each, read)) for source in sources]) for each in golds]
    elif sources:
        named = [(source, read_answers(at, source)) for source in sources]
        by_fold = [(each, named) for each in golds]
    else:
        by_fold = [(each, _plain_and_routed(at, each.name)) for each in golds]
    results = {
        each.name: compare_fold(given, each)
        for each, given in by_fold
        if given and all(not each.image_ids.isdisjoint(image_id for image_id, _ in answers) for _, answers in given)
    }
    if not results:
        if not sources:
            raise UsageError("nothing was routed", remedy=f"`{at.typed('medvqa route')}` routes")
        what = "they answer no image in common that has gold answers"
        raise UsageError(what, remedy="name their gold answers with --gold")
    return results


def compare_fold(named: Sequence[tuple[str, Answers]], gold: Gold) -> Comparisons | TextComparisons:
    """Several sets of answers to the questions of a fold, by name, each paired with the first."""
    if gold.questions:
        return compare_sentences(named, gold.answers, gold.questions, groups=gold.groups)
    return compare_answers(named, gold.answers, groups=gold.groups)


def _of_rows(workspace: Workspace, source: str, gold: Gold, read: Mapping[str, list[AnswerRow]]) -> Answers:
    """The answers of a file or a run to the rows of `gold`."""
    if source in read:
        return match_rows(read[source], gold.questions).answers
    return {pair: given for pair, given in read_answers(workspace, source).items() if pair in gold.questions}


def _plain_and_routed(workspace: Workspace, fold: str) -> list[tuple[str, Answers]]:
    plain, routed = workspace.predictions(fold), workspace.routed(fold)
    if not (plain.exists() and routed.exists()):
        return []
    return [("BLIP-2", answers_of(read_predictions(plain))), ("routed", answers_of(read_predictions(routed)))]
