"""What the form of an answer is worth: one trained run answers the same images in every way that it can.

    medvqa demo --keep demo
    python examples/benchmarks/answer_forms.py demo

Exact-set accuracy with 95% intervals, on the validation fold (by groups of near-duplicates) and, where they have gold
answers, on the test images, once for the questions that training answers with sets and once for all. Prints a table for
each fold, and one line of JSON.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from common import report

from imageclef_vqa import devices

devices.prepare("cpu", seed=0)

from imageclef_vqa.data import Dataset, load_pixels, read_dataset, read_split  # noqa: E402  (after the environment is set)
from imageclef_vqa.evaluation import score_answers  # noqa: E402
from imageclef_vqa.inference import answerer as answering  # noqa: E402
from imageclef_vqa.inference.answering import IMAGES_AT_ONCE  # noqa: E402
from imageclef_vqa.inference.ranked import Answers, Ranked, best  # noqa: E402
from imageclef_vqa.inference.runs import read_ensemble  # noqa: E402
from imageclef_vqa.workspace import Workspace  # noqa: E402

Pairs = dict[tuple[str, int], Answers]


def said(of_images: list[list[Ranked]], dataset: Dataset, choose: Any) -> Pairs:
    """(image, question) → the answer that `choose` takes of what was ranked."""
    return {
        (example.image_id, question): choose(ranked)
        for example, of_image in zip(dataset.examples, of_images, strict=True)
        for question, ranked in enumerate(of_image)
    }


def parts_of(ranked: Ranked) -> Answers:
    """The members that one free string names."""
    ((text,), _) = ranked[0]
    return tuple(dict.fromkeys(part for part in re.split(r"\s*;\s*", text) if part)) or (text,)


def ways(answerer: answering.Answerer, dataset: Dataset, workspace: Workspace, size: int) -> dict[str, Pairs]:
    """Every way to answer the images of `dataset`."""
    pixels = load_pixels(dataset, size, workspace.cache)
    parts = [pixels[start : start + IMAGES_AT_ONCE] for start in range(0, len(dataset), IMAGES_AT_ONCE)]

    def ranked(beam: int) -> list[list[Ranked]]:
        """By beam search, even where few answers are allowed."""
        with patch.object(answering, "rank_answers", partial(answering.rank_answers, beam=beam, short=0)):
            return [of_image for part in parts for of_image in answerer.rank(part)]

    every = [of_image for part in parts for of_image in answerer.rank(part)]
    free = [of_image for part in parts for of_image in answerer.generate(part)]
    return {
        "sets, for exact match (the default)": said(every, dataset, lambda ranked: best(ranked, "exact")[0]),
        "sets, for F1 (`--optimise f1`)": said(every, dataset, lambda ranked: best(ranked, "f1")[0]),
        "beam search over sets, width 1": said(ranked(1), dataset, lambda ranked: ranked[0][0]),
        "beam search over sets, width 64": said(ranked(64), dataset, lambda ranked: ranked[0][0]),
        "free, read as a set": said(free, dataset, parts_of),
        "free, its first answer": said(free, dataset, lambda ranked: parts_of(ranked)[:1]),
        "free, one string (`--decode free`, the paper's form)": said(free, dataset, lambda ranked: ranked[0][0]),
    }


def main(root: Path) -> None:
    workspace = Workspace.at(root)
    ensemble = read_ensemble([workspace])
    development = read_dataset(workspace.development, cache=workspace.cache)
    split = read_split(workspace.split_file, development)
    folds = {"validation": (development.subset(split.val(ensemble.fold)), split.groups)}
    if (workspace.test / "gt.json").exists():
        folds["test"] = (read_dataset(workspace.test, cache=workspace.cache), None)
    answerer, size = answering.Answerer.of_run(workspace), ensemble.runs[0].preset.vision.image_size
    sets = {entry.question_id for entry in ensemble.vocabulary.questions if entry.takes_a_set}
    results: dict[str, dict[str, list[float]]] = {}
    for fold, (dataset, groups) in folds.items():
        gold = dataset.gold()
        of_sets = {pair: answers for pair, answers in gold.items() if pair[1] in sets}
        print(f"\n{fold}, {len(dataset)} images; questions {', '.join(map(str, sorted(sets)))} take sets\n")
        print("| answers | set questions | F1 there | all questions |\n|---|---|---|---|")
        for way, answers in ways(answerer, dataset, workspace, size).items():
            there, everywhere = (score_answers(answers, some, groups=groups).overall for some in (of_sets, gold))
            cells = [
                f"{score.exact_set:.3f}" + (" [{:.3f}, {:.3f}]".format(*score.interval) if score.interval else "")
                for score in (there, everywhere)
            ]
            print(f"| {way} | {cells[0]} | {there.f1:.3f} | {cells[1]} |")
            results.setdefault(fold, {})[way] = [round(s, 4) for s in (there.exact_set, there.f1, everywhere.exact_set)]
    report(benchmark="answer_forms", **results)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
