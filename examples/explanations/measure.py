"""Do heat maps show what carries an answer (faithfulness), and do they point at it (pointing)?

    python examples/explanations/measure.py WORKSPACE --fold test --out figures.json

Choose on `--fold val`, report `--fold test`. Intervals are 95%, by bootstrapping groups of near-duplicate images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa import devices

devices.prepare("cpu", seed=0)

import paddle  # noqa: E402

from imageclef_vqa.data import read_pixels  # noqa: E402
from imageclef_vqa.editions import QUESTIONS, question_that  # noqa: E402
from imageclef_vqa.evaluation.uncertainty import Bootstrap, clusters_of, interval95  # noqa: E402
from imageclef_vqa.explanations.maps import METHODS, dimmed, hidden_log_probs  # noqa: E402
from imageclef_vqa.explanations.picture import place_of_peak  # noqa: E402
from imageclef_vqa.inference.answerer import Answerer  # noqa: E402
from imageclef_vqa.models.blip2 import Blip2  # noqa: E402
from imageclef_vqa.models.language import Prompt  # noqa: E402
from imageclef_vqa.pipeline.gold import workspace_golds  # noqa: E402
from imageclef_vqa.pipeline.lineage import Lineage  # noqa: E402
from imageclef_vqa.training.pairs import pad  # noqa: E402
from imageclef_vqa.workspace import Workspace  # noqa: E402

THINGS = ("abnormality", "instrument", "landmark")
ASKED = [question_that("presence", thing).id for thing in THINGS]
WHERE = {question_that("presence", thing).id: question_that("location", thing).id for thing in THINGS}
HIDDEN = 0.2  # share of the cells
DRAWS = 3  # random choices of cells
STEPS = np.linspace(0, 1, 6)  # shares of cells in the curves
MOST_CELLS = 5
CENTRE, RANDOM, SHUFFLED = "centre", "random", "shuffled weights"

Maps = Callable[[np.ndarray, paddle.Tensor, paddle.Tensor], np.ndarray]


@dataclass
class Pair:
    """One question about one image: the model's answer, its log-probability where cells are hidden, and the peak."""

    image: str
    question: int
    answer: str
    drop: dict[str, float]  # of the log-probability where 20% are hidden
    deletion: dict[str, list[float]]  # log-probability where the highest cells are hidden, step by step
    insertion: dict[str, list[float]]  # where only they are shown
    peak: dict[str, str]


def main() -> None:
    options = parse()
    workspace = Workspace.at(options.workspace, options.run)
    gold = next(each for each in workspace_golds(Lineage(workspace)) if each.name == options.fold)
    answerer = Answerer.of_run(workspace)
    makers = {}
    for name in options.methods:
        makers[name] = bound(METHODS[name], answerer.model)
        if options.whole:
            makers[f"{name}, not dimmed"] = bound(METHODS[name], answerer.model, whole=True)
    makers[SHUFFLED] = bound(METHODS[options.methods[0]], shuffled(Answerer.of_run(workspace).model))
    image_ids = sorted(gold.image_ids)[: options.images]
    rng = np.random.default_rng(0)
    pairs = [Pair(**json.loads(line)) for line in kept_lines(options.keep)]
    done = {pair.image for pair in pairs}
    for image_id in image_ids:
        if image_id not in done:
            found = measure(answerer, gold.images[image_id], makers, rng)
            pairs += found
            if options.keep is not None:
                with options.keep.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(asdict(pair)) + "\n" for pair in found)
    bootstrap = Bootstrap(clusters_of(image_ids, gold.groups), resamples=4000)
    figures: dict[str, Any] = {"fold": options.fold, "images": len(image_ids), "pairs": len(pairs)}
    names = [*makers, CENTRE]
    figures["faithfulness"] = {name: faithfulness(pairs, name, image_ids, bootstrap) for name in names}
    figures["pointing"] = {
        thing: pointing(pairs, asked, gold.answers, names, image_ids, bootstrap)
        for thing, asked in zip(THINGS, ASKED, strict=True)
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--run", default="main")
    parser.add_argument("--fold", choices=("val", "test"), default="val")
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument("--whole", action="store_true", help="also maps that are not dimmed around the field of view")
    parser.add_argument("--images", type=int, default=None, help="only the first ones")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--keep", type=Path, default=None, help="file of measured pairs: a stopped call goes on")
    return parser.parse_args()


def kept_lines(file: Path | None) -> list[str]:
    """What an earlier call measured with the same arguments."""
    if file is None or not file.exists():
        return []
    return file.read_text(encoding="utf-8").splitlines()


def bound(method: Any, model: Blip2, *, whole: bool = False) -> Maps:
    """Maps of one picture, which is repeated for each question."""

    def maps(pixels: np.ndarray, question: paddle.Tensor, answer: paddle.Tensor) -> np.ndarray:
        found: np.ndarray = method(model, pixels, question, answer)
        return found if whole else dimmed(found, pixels[0])[0]

    return maps


def shuffled(model: Blip2, seed: int = 0) -> Blip2:
    """The model with the numbers of each of its tensors in random order."""
    rng = np.random.default_rng(seed)
    for tensor in model.parameters():
        values = tensor.numpy()
        tensor.set_value(rng.permutation(values.ravel()).reshape(values.shape))
    model.eval()
    return model


def measure(answerer: Answerer, file: Path, makers: dict[str, Maps], rng: np.random.Generator) -> list[Pair]:
    """The pairs of one image with the three questions that ask which things there are."""
    model, tokenizer = answerer.model, answerer.tokenizer
    image = read_pixels(file, model.preset.vision.image_size)
    given = [ranked[0][0] for ranked in answerer.rank(image[None])[0]]
    prompt = Prompt(model.preset.language, tokenizer)
    question = paddle.to_tensor(pad([prompt.encode(QUESTIONS[asked].text) for asked in ASKED]))
    answer = paddle.to_tensor(pad([tokenizer.encode_answer(given[asked]) for asked in ASKED]))
    maps = {name: make(np.stack([image] * len(ASKED)), question, answer) for name, make in makers.items()}
    side = next(iter(maps.values())).shape[1]
    distance = np.abs(np.arange(side) - (side - 1) / 2)
    maps[CENTRE] = np.repeat(1 - np.hypot(distance[:, None], distance)[None] / side, len(ASKED), axis=0)
    pairs = []
    for number, asked in enumerate(ASKED):
        own = {name: each[number] for name, each in maps.items()}
        orders = {name: ranking(each, rng) for name, each in own.items()}
        orders |= {f"{RANDOM} {draw}": rng.permutation(side * side) for draw in range(DRAWS)}
        masks = np.stack([view for order in orders.values() for view in views(order, side)])
        scores = hidden_log_probs(model, image, masks, question[number], answer[number]).reshape(len(orders), -1)
        curve, steps = dict(zip(orders, scores, strict=True)), len(STEPS)
        drop = {name: float(each[0] - each[2 * steps]) for name, each in curve.items()}
        drop[RANDOM] = float(np.mean([drop.pop(f"{RANDOM} {draw}") for draw in range(DRAWS)]))
        pairs.append(
            Pair(
                file.stem,
                asked,
                "; ".join(given[asked]),
                drop,
                {name: each[:steps].tolist() for name, each in curve.items()},
                {name: each[steps : 2 * steps].tolist() for name, each in curve.items()},
                {name: place_of_peak(each) for name, each in own.items()},
            )
        )
    return pairs


def ranking(heat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The cells from the highest to the lowest; equal ones in random order."""
    order = rng.permutation(heat.size)
    return order[np.argsort(-heat.ravel()[order], kind="stable")]


def views(order: np.ndarray, side: int) -> list[np.ndarray]:
    """Which cells are hidden [rows, columns]: for deletion, for insertion, and the highest 20%."""
    rank = np.empty(side * side, dtype="int64")
    rank[order] = np.arange(side * side)
    rank = rank.reshape(side, side)
    shares = [round(share * side * side) for share in STEPS]
    return [*(rank < count for count in shares), *(rank >= count for count in shares), rank < round(HIDDEN * side**2)]


def faithfulness(pairs: Sequence[Pair], name: str, image_ids: Sequence[str], bootstrap: Bootstrap) -> dict[str, Any]:
    """Drop of the log-probability against random cells, and areas under the curves of probabilities."""
    more = estimate(pairs, lambda pair: pair.drop[name] - pair.drop[RANDOM], image_ids, bootstrap)
    return {
        "drop": estimate(pairs, lambda pair: pair.drop[name], image_ids, bootstrap)["mean"],
        "drop at random": estimate(pairs, lambda pair: pair.drop[RANDOM], image_ids, bootstrap)["mean"],
        "more than at random": more,
        "deletion, area": estimate(pairs, lambda pair: area(pair.deletion, name), image_ids, bootstrap)["mean"],
        "insertion, area": estimate(pairs, lambda pair: area(pair.insertion, name), image_ids, bootstrap)["mean"],
        "deletion below random": estimate(
            pairs, lambda pair: random_area(pair.deletion) - area(pair.deletion, name), image_ids, bootstrap
        ),
        "insertion above random": estimate(
            pairs, lambda pair: area(pair.insertion, name) - random_area(pair.insertion), image_ids, bootstrap
        ),
    }


def area(curves: dict[str, list[float]], name: str) -> float:
    """The mean probability along a curve."""
    return float(np.mean(np.exp(curves[name])))


def random_area(curves: dict[str, list[float]]) -> float:
    return float(np.mean([area(curves, f"{RANDOM} {draw}") for draw in range(DRAWS)]))


def pointing(
    pairs: Sequence[Pair],
    asked: int,
    gold: Any,
    names: Sequence[str],
    image_ids: Sequence[str],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """How often the peak is in a gold cell, and how much more often than the share of gold cells."""
    cells = {pair.image: places(gold.get((pair.image, WHERE[asked]), ())) for pair in pairs}
    own = [pair for pair in pairs if pair.question == asked and 0 < len(cells[pair.image]) <= MOST_CELLS]
    figures: dict[str, Any] = {"images": len(own)}
    if not own:
        return figures
    figures["chance"] = float(np.mean([len(cells[pair.image]) / 9 for pair in own]))
    for name in names:

        def hit(pair: Pair, name: str = name) -> float:
            return float(pair.peak[name] in cells[pair.image])

        above = estimate(own, lambda pair: hit(pair) - len(cells[pair.image]) / 9, image_ids, bootstrap)
        figures[name] = {"hits": float(np.mean([hit(pair) for pair in own])), "above chance": above}
    return figures


def places(answers: Sequence[str]) -> set[str]:
    return {each.casefold().replace("rigth", "right") for each in answers} - {"not relevant", ""}


def estimate(
    pairs: Sequence[Pair], value: Callable[[Pair], float], image_ids: Sequence[str], bootstrap: Bootstrap
) -> dict[str, Any]:
    """The mean over pairs with its 95% interval by groups of images."""
    table = np.full((len(image_ids), len(QUESTIONS)), np.nan)
    number = {image_id: index for index, image_id in enumerate(image_ids)}
    for pair in pairs:
        table[number[pair.image], pair.question] = value(pair)
    known = ~np.isnan(table)
    sums = bootstrap.sums(np.where(known, table, 0.0)).sum(axis=1)
    return {
        "mean": round(float(np.nanmean(table)), 4),
        "interval": [round(each, 4) for each in interval95(sums / bootstrap.sums(known).sum(axis=1))],
    }


if __name__ == "__main__":
    main()
