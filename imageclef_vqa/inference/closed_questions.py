"""Closed questions: from ranked answers to those that are given, by temperature, metric and rules between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from imageclef_vqa.editions import Implication, Prediction
from imageclef_vqa.inference.answering import averaged
from imageclef_vqa.inference.builders import from_free_text, from_prior, from_ranked
from imageclef_vqa.inference.calibration import Calibration, apply_temperature
from imageclef_vqa.inference.consistency import Consistency
from imageclef_vqa.inference.decoding import NO_ANSWER
from imageclef_vqa.inference.jobs import Job, PredictOptions
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inference.ranked import Answers, Ranked, best
from imageclef_vqa.inference.runs import Ensemble


class Given(NamedTuple):
    """For each question about an image: all answers with calibrated probabilities, the best one, the one given.

    The last two differ where rules between questions were applied.
    """

    ranked: list[Ranked]
    likely: list[Answers]
    given: list[Answers]


class ClosedChoice:
    """From ranked answers to predictions; counts the `repaired` and the `empty` ones."""

    def __init__(
        self,
        ensemble: Ensemble,
        options: PredictOptions,
        calibration: Calibration | None,
        rules: tuple[Implication, ...] = (),
    ) -> None:
        self._ensemble, self._options, self._rules = ensemble, options, Consistency(rules)
        self.temperature = calibration.temperature if calibration else 1.0
        self.repaired = self.empty = 0

    def choose(self, of_image: Sequence[Ranked]) -> Given:
        """The answers to all questions [question] about an image."""
        ranked = [apply_temperature(each, self.temperature) for each in of_image]
        likely = [best(each, self._options.optimise)[0] for each in ranked]
        given = self._rules.repair(likely, ranked)
        self.repaired += sum(one != other for one, other in zip(likely, given, strict=True))
        return Given(ranked, likely, given)

    def predictions(self, job: Job, journals: Sequence[Journal]) -> Iterator[Prediction]:
        answered, vocabulary, model = averaged(journals), self._ensemble.vocabulary, self._ensemble.name
        for image_id in job.pictures.image_ids:
            if image_id in job.pictures.faults:
                yield from from_prior(image_id, vocabulary)
            elif self._options.decode == "free":
                of_image = next(answered)
                self.empty += sum(answers == (NO_ANSWER,) for ((answers, _), *_) in of_image)
                yield from from_free_text(image_id, of_image, vocabulary, model)
            else:
                yield from from_ranked(image_id, *self.choose(next(answered)), vocabulary, model)
