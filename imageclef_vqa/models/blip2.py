"""BLIP-2, as figure 1 of the paper draws it:

    pixels ─ vision ─► patches ─ Q-Former ─► queries ─ projection ─► visual tokens ┐
                                                                        question ──┴─ language model ─► answer

The Q-Former does not see the question: all questions about an image share its visual tokens.

i images, n pairs of image and question, p patches, q queries, t question tokens, a answer tokens, w width of the
language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.encoders import build_encoder
from imageclef_vqa.models.language import Language
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.models.qformer import QFormer


class Blip2(nn.Layer):
    """Images with their questions → the log-probability of each answer token.

    With `share_prefix`, the language model also reads an image once for all its questions: visual tokens then see each
    other, but no question. It must be set as it was in training.
    """

    share_prefix = False
    before_image: Sequence[int] = ()  # tokens of the prompt that the language model reads before the visual ones

    def __init__(self, preset: Preset, language: Language | None = None) -> None:
        super().__init__()
        self.preset = preset
        self.vision = build_encoder(preset.vision)
        self.qformer = QFormer(preset.qformer)
        self.projection = nn.Linear(preset.qformer.width, preset.language.width)
        self.language = language or build_language(preset.language)

    def visual_tokens(self, pixels: Tensor) -> Tensor:
        """Pixels [i, 3, h, w] → visual tokens for the language model [i, q, w]."""
        return self.encode_features(self.vision.features(pixels))

    def encode_features(self, features: Tensor) -> Tensor:
        """Vision's features [i, p, d], before its norm → visual tokens for the language model [i, q, w]."""
        return self.projection(self.qformer(self.vision.norm(features)))

    def read(self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor) -> Any:
        """The language model's memory of each pair: visual tokens [i, q, w], image_of_pair [n], question [n, t]."""
        if self.before_image:
            before = self.language.embed(paddle.to_tensor([list(self.before_image)])).astype(visual.dtype)
            visual = paddle.concat([before.expand([len(visual), -1, -1]), visual], axis=1)
        if self.share_prefix:
            return self.language.encode_shared(visual, image_of_pair, question, question_mask)
        return self.language.encode(visual.index_select(image_of_pair), question, question_mask)

    def forward(
        self, pixels: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor, answer: Tensor
    ) -> Tensor:
        """Log-probability of each answer token [n, a], given image, question and the tokens before it."""
        memory = self.read(self.visual_tokens(pixels), image_of_pair, question, question_mask)
        return self.language.answer_log_probs(memory, answer)
