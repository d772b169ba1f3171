"""BLIP-2, as figure 1 of the paper draws it:

    pixels ─ vision ─► patches ─ Q-Former ─► queries ─ projection ─► visual tokens ┐
                                                                        question ──┴─ language model ─► answer

The Q-Former does not see the question: an image's visual tokens serve all its questions and are made once.

i images, n pairs of image and question, p patches, q queries, t question tokens, a answer tokens, w width of the
language model.
"""

from __future__ import annotations

from typing import Any

from paddle import Tensor, nn

from imageclef_vqa.models.language import Language, build_language
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.models.qformer import QFormer
from imageclef_vqa.models.vision import VisionTransformer


class Blip2(nn.Layer):
    """Images with their questions → the probability of each answer token.

    With `share_prefix` the language model, too, reads an image once for all its questions: visual tokens then see each
    other, but no question. A model must answer as it was trained.
    """

    share_prefix = False

    def __init__(self, preset: Preset, language: Language | None = None) -> None:
        super().__init__()
        self.preset = preset
        self.vision = VisionTransformer(preset.vision)
        self.qformer = QFormer(preset.qformer)
        self.projection = nn.Linear(preset.qformer.width, preset.language.width)
        self.language = language or build_language(preset.language)

    def visual_tokens(self, pixels: Tensor) -> Tensor:
        """Pixels [i, 3, h, w] → soft words for the language model [i, q, w]."""
        return self.look(self.vision(pixels))

    def look(self, patches: Tensor) -> Tensor:
        """Patches [i, p, d] → soft words for the language model [i, q, w]."""
        return self.projection(self.qformer(patches))

    def read(self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor) -> Any:
        """The language model's memory of each pair: visual tokens [i, q, w], image_of_pair [n], question [n, t]."""
        if self.share_prefix:
            return self.language.encode_shared(visual, image_of_pair, question, question_mask)
        return self.language.encode(visual.index_select(image_of_pair), question, question_mask)

    def forward(
        self, pixels: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor, answer: Tensor
    ) -> Tensor:
        """Log-probability of each answer token [n, a], given image, question and the answer so far."""
        memory = self.read(self.visual_tokens(pixels), image_of_pair, question, question_mask)
        return self.language.answer_log_probs(memory, answer)
