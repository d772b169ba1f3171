"""What is planned: a stage of a preset, with everything that its memory and time depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from imageclef_vqa.devices import Precision
from imageclef_vqa.models.configs import AdapterConfig
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.planning.parameters import images_at_once

Stage = Literal["1", "2", "predict"]
BatchUnit = Literal["images", "pairs"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A stage of a preset on a number of devices; prediction ignores what only training knows."""

    preset: Preset
    stage: Stage
    questions: int  # of an image: in training, per step
    batch: int = 16  # of a step, on all devices together
    batch_unit: BatchUnit = "images"  # what the batch counts: images with their questions, or single questions
    accumulate: int = 1  # parts in which a step is computed
    epochs: int = 1
    freeze_vision: bool = False
    precision: Precision = "fp32"
    devices: int = 1
    language_bits: int = 16
    adapters: AdapterConfig | None = None  # of the language model, in stage 2
    views: int = 1  # of an image: whose features are kept, or over which answers are averaged
    images: int = 1800  # of the training fold: nine tenths of the development set
    # Tokens of the longest question in T5's vocabulary, and of an answer as the paper caps it (section 3.1). A text of
    # stage 1 consists of both.
    question_tokens: int = 14
    answer_tokens: int = 10

    @property
    def predicts(self) -> bool:
        return self.stage == "predict"

    @property
    def trains_vision(self) -> bool:
        return self.stage == "2" and not self.freeze_vision

    @property
    def caches_features(self) -> bool:
        """Whether vision is frozen, and its features are computed once and kept."""
        return not self.predicts and not self.trains_vision

    @property
    def half(self) -> bool:
        """Whether products are computed in half precision."""
        return self.precision != "fp32"

    @property
    def images_per_device(self) -> int:
        """Images that a device computes at once; one for each pair if the batch counts pairs."""
        if self.predicts:
            return images_at_once(self.preset, self.questions, self.question_tokens)
        return math.ceil(self.batch / self.accumulate / self.devices)

    @property
    def parts(self) -> int:
        """How often a device computes that many images in a step."""
        return 1 if self.predicts else self.accumulate

    @property
    def pairs(self) -> int:
        """Pairs of image and question that a device computes at once."""
        together = self.batch_unit == "images" and self.stage != "1"  # in stage 1, an image has one statement
        return self.images_per_device * (self.questions if together else 1)

    @property
    def questions_per_image(self) -> int:
        """Pairs of an image in an epoch; in stage 1, statements."""
        return 1 if self.stage == "1" and self.batch_unit == "images" else self.questions

    @property
    def prefix_tokens(self) -> int:
        """What the language model reads before an answer: visual tokens, question, and the family's own tokens."""
        return self.preset.qformer.queries + self.question_tokens + self.preset.language.prefix_tokens

    @property
    def text_tokens(self) -> int:
        """A text of stage 1: question and answer."""
        return self.question_tokens + self.answer_tokens

    @property
    def steps(self) -> int:
        per_step = self.images_per_device * self.parts * self.devices
        units = self.images * (self.questions if self.batch_unit == "pairs" else 1)
        return math.ceil(units / per_step) * (1 if self.predicts else self.epochs)
