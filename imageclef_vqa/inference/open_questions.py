"""Open questions: from the sentences that a model finds to predictions, and what validation says about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from imageclef_vqa.data import Example
from imageclef_vqa.editions import Prediction
from imageclef_vqa.errors import UsageError
from imageclef_vqa.evaluation.text.metrics import TextMeter
from imageclef_vqa.inference.answering import averaged
from imageclef_vqa.inference.builders import from_sentences
from imageclef_vqa.inference.calibration import Calibration, LabelledPair, apply_temperature, calibrate
from imageclef_vqa.inference.choice import RULES, Chooser, Rule, measured
from imageclef_vqa.inference.decoding import NO_ANSWER
from imageclef_vqa.inference.jobs import Job, PredictOptions
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.inference.runs import Ensemble

_DECIDE = ("bleu", "rougeL", "meteor", "exact")  # the sum of these decides between the rules


class _Gold(NamedTuple):
    """A pair with the sentences that were found for it, its gold sentence, and the group of its image."""

    ranked: Ranked
    sentence: str
    group: int


def check_open(ensemble: Ensemble, jobs: Sequence[Job], options: PredictOptions) -> None:
    """Reject what open questions do not have.

    Raises:
        UsageError: an option for closed questions, or images without questions.
    """
    if options.optimise != "exact" or options.augment or options.consistent or options.on_bad_image != "stop":
        raise UsageError(
            "--optimise, --augment, --consistent and --on-bad-image are for closed questions",
            remedy="leave them out: validation chooses how sentences are answered",
        )
    for job in jobs:
        if not job.pictures.readable.open:
            raise UsageError(
                f"run {ensemble.workspace.run} answers open questions, and {job.name} has none",
                remedy="put them into a qa.jsonl beside the images, or name it with --ids",
            )


class OpenChoice:
    """From the sentences that were found to predictions; has the interface of the choice for closed questions."""

    repaired = 0

    def __init__(self, model: str, options: PredictOptions, calibration: Calibration | None) -> None:
        free = options.decode == "free" or calibration is None or calibration.rule is None
        self._rule: Rule = "likeliest" if free or calibration is None else calibration.rule or "likeliest"
        self.temperature = calibration.temperature if calibration else 1.0
        self._meteor = calibration.meteor if calibration else (0.0, 1.0)
        self._model, self._chooser, self.empty = model, Chooser(), 0

    def predictions(self, job: Job, journals: Sequence[Journal]) -> Iterator[Prediction]:
        for example, of_image in zip(job.pictures.readable.examples, averaged(journals), strict=True):
            for (row, question), found in zip(example.questions.items(), of_image, strict=True):
                ranked = apply_temperature(found, self.temperature)
                chosen = self._chooser.choose(ranked, self._rule)
                self.empty += chosen.text == NO_ANSWER
                start, slope = self._meteor
                meteor = min(1.0, max(0.0, start + slope * chosen.meteor))
                yield from_sentences(
                    example.image_id, row, question.text, ranked, chosen._replace(meteor=meteor), self._model
                )


def fit_to_sentences(job: Job, journals: Sequence[Journal], model: str) -> Calibration:
    """Temperature, rule and expected METEOR, fitted to the gold answers of a job.

    The temperature makes probabilities those of being exactly right. The rule is the one with the larger sum of BLEU,
    ROUGE-L, METEOR and exact match. Expected METEOR becomes a line of what the probabilities say, by least squares.
    """
    pairs = list(_gold_pairs(job.pictures.readable.examples, averaged(journals), job))
    fitted = calibrate((LabelledPair(each.ranked, (each.sentence,), each.group) for each in pairs), model)
    meter = TextMeter()
    chooser = Chooser(meter)
    ranked = [apply_temperature(each.ranked, fitted.temperature) for each in pairs]
    chosen = {rule: [chooser.choose(each, rule) for each in ranked] for rule in RULES}
    gold = [each.sentence for each in pairs]
    metrics = {
        rule: measured(meter, [(each.text, right) for each, right in zip(chosen[rule], gold, strict=True)])
        for rule in RULES
    }
    kept = {rule: {name: round(values[name], 4) for name in _DECIDE} for rule, values in metrics.items()}
    rule = max(RULES, key=lambda each: sum(kept[each].values()))
    said = np.array([each.meteor for each in chosen[rule]])
    true = np.array([meter.meteor(each.text, right) for each, right in zip(chosen[rule], gold, strict=True)])
    slope, start = np.polyfit(said, true, 1) if said.std() > 0 else (0.0, true.mean())
    return fitted.model_copy(
        update={"rule": rule, "metrics": kept, "meteor": (round(float(start), 4), round(float(slope), 4))}
    )


def _gold_pairs(examples: Sequence[Example], answered: Iterable[list[Ranked]], job: Job) -> Iterator[_Gold]:
    for example, of_image in zip(examples, answered, strict=True):
        for row, ranked in zip(example.questions, of_image, strict=True):
            yield _Gold(ranked, job.gold[example.image_id, row][0], job.groups[example.image_id])
