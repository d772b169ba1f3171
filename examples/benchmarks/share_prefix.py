"""A step of stage 2 whose language model reads visual tokens once per image, against once per question.

    python examples/benchmarks/share_prefix.py

Frozen vision, so that the language model (of T5-small's sizes) is most of the work; an image with its 18 questions. The
losses differ, because visual tokens that are read once do not see the question.
"""

from __future__ import annotations

import numpy as np
from common import drawn_pairs, report, turns

from imageclef_vqa import devices
from imageclef_vqa.models.configs import QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.presets import Preset

PRESET = Preset(
    name="language-heavy",
    vision=VisionConfig(image_size=224, patch_size=14, width=768, layers=1, heads=12, mlp_width=768),
    qformer=QFormerConfig(width=256, layers=4, heads=4, mlp_width=1024, vision_width=768),
    language=T5Config(vocab_size=384, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=6, num_heads=8),
    weights=None,
)
IMAGES, TIMES = 1, 5


def main() -> None:
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.models.blip2 import Blip2
    from imageclef_vqa.training.loop import set_trainable
    from imageclef_vqa.training.stage2 import answer_loss, trainable

    model, table = Blip2(PRESET), drawn_pairs(IMAGES)
    set_trainable(model, trainable(vision=False))
    model.eval()
    (batch,) = table.all(IMAGES)
    features = paddle.randn([IMAGES, 1 + PRESET.vision.patches, PRESET.vision.width])

    def step(shared: bool) -> float:
        model.share_prefix = shared
        loss = answer_loss(model, model.encode_features(features), batch, table)
        loss.backward()
        model.clear_gradients()
        return float(loss)

    took = turns(lambda: step(False), lambda: step(True), times=TIMES)
    report(
        benchmark="share_prefix",
        pairs_per_second=len(batch.pairs) / float(np.median(took[:, 0])),
        pairs_per_second_shared=len(batch.pairs) / float(np.median(took[:, 1])),
        ratio=float(np.median(took[:, 0] / took[:, 1])),
        difference_of_losses=abs(step(True) - step(False)),
    )


if __name__ == "__main__":
    main()
