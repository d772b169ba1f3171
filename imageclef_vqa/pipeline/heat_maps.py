"""Heat maps of wrong answers for the report: small ones, of as many answers as a page can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imageclef_vqa.devices import prepare
from imageclef_vqa.editions import QUESTIONS, same_answer
from imageclef_vqa.evaluation import ReportFold
from imageclef_vqa.evaluation.folds import SmallMap
from imageclef_vqa.evaluation.text.folds import TextFold
from imageclef_vqa.evaluation.text.report import shown_pairs
from imageclef_vqa.explanations import METHODS
from imageclef_vqa.explanations.picture import place_of_peak, small_png
from imageclef_vqa.progress import track
from imageclef_vqa.workspace import Workspace

_MOST = 1000  # on a page, where each takes 300 bytes; at full size, 5,000 answers may be wrong

Fold = ReportFold | TextFold
Pair = tuple[str, int]


def with_heat_maps(
    workspace: Workspace, folds: Sequence[Fold], device: str = "auto", method: str = METHODS[0]
) -> list[Fold]:
    """The folds with maps of the answers given to them that are wrong, the most probable ones.

    Raises:
        UsageError: there is no such device.
        MissingStepError: a run that answers has no finished stage 2.
    """
    prepare(device, seed=0)

    from imageclef_vqa.explanations.explainer import answerers_of, heat_maps
    from imageclef_vqa.inference.runs import read_ensemble

    answerers = answerers_of(read_ensemble(workspace.members()))
    wrong = [(number, pair) for number, fold in enumerate(folds) for pair in _mistakes(fold)]
    wrong.sort(key=lambda each: -(folds[each[0]].probabilities.get(each[1]) or 0.0))
    of_image: dict[tuple[int, str], list[Pair]] = {}
    for number, pair in wrong[:_MOST]:
        of_image.setdefault((number, pair[0]), []).append(pair)
    found: list[dict[Pair, SmallMap]] = [{} for _ in folds]
    for (number, image_id), pairs in track(of_image.items(), "draw heat maps", len(of_image)):
        fold = folds[number]
        asked = [(_text(fold, pair), tuple(fold.given[pair])) for pair in pairs]
        for pair, heat in zip(pairs, heat_maps(answerers, fold.images[image_id], asked, method).maps, strict=True):
            found[number][pair] = SmallMap(small_png(heat), place_of_peak(heat))
    return [replace(fold, heat_maps=maps) for fold, maps in zip(folds, found, strict=True)]


def _mistakes(fold: Fold) -> list[Pair]:
    """Pairs with a wrong answer and a picture; of open questions, those that the gallery shows."""
    shown = shown_pairs(fold) if isinstance(fold, TextFold) else list(fold.gold)
    return [
        pair
        for pair in shown
        if fold.given.get(pair) and pair[0] in fold.images and not same_answer(fold.given[pair], fold.gold[pair])
    ]


def _text(fold: Fold, pair: Pair) -> str:
    return fold.questions[pair].text if isinstance(fold, TextFold) else QUESTIONS[pair[1]].text
