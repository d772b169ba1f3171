"""A step of stage 2 with an image and its 18 questions as the unit, against the same step one pair at a time.

    python examples/benchmarks/stage2_unit.py

One pair at a time means the ordinary way: a batch in which each pair brings its own copy of the image. Both sides
compute the same loss of the same pairs, their mean; vision, Q-Former and projection learn, the language model is
frozen. No dropout, which would differ between copies.
"""

from __future__ import annotations

import numpy as np
from common import drawn_pairs, random_pixels, report, seconds

from imageclef_vqa import devices
from imageclef_vqa.models.configs import QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.presets import Preset

PRESET = Preset(
    name="vision-heavy",
    vision=VisionConfig(image_size=224, patch_size=14, width=768, layers=12, heads=12, mlp_width=3072),
    qformer=QFormerConfig(
        queries=32, width=256, layers=4, heads=4, mlp_width=1024, vision_width=768, dropout=0.0, attention_dropout=0.0
    ),
    language=T5Config(
        vocab_size=384,
        d_model=256,
        d_kv=64,
        d_ff=512,
        num_layers=3,
        num_decoder_layers=3,
        num_heads=4,
        dropout_rate=0.0,
    ),
    weights=None,
)
IMAGES = 1
TIMES = 3


def main() -> None:
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.models.blip2 import Blip2
    from imageclef_vqa.training.loop import set_trainable
    from imageclef_vqa.training.stage2 import answer_loss, trainable

    model, table = Blip2(PRESET), drawn_pairs(IMAGES)
    learning = set_trainable(model, trainable(vision=True)).values()
    model.train()
    (unit,) = table.all(IMAGES)
    images = np.repeat(unit.images, len(unit.pairs) // IMAGES)
    single = table.batch(images, [[pair] for pair in unit.pairs])
    pixels = random_pixels(IMAGES, PRESET.vision.image_size)

    def step(batch) -> list[np.ndarray]:
        loss = answer_loss(model, model.visual_tokens(model.vision.normalise(pixels[batch.images])), batch, table)
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in learning if parameter.grad is not None]
        model.clear_gradients()
        return gradients

    def rest() -> None:
        features = paddle.zeros([IMAGES, 1 + PRESET.vision.patches, PRESET.vision.width])
        answer_loss(model, model.encode_features(features), unit, table).backward()
        model.clear_gradients()

    gradients = [(one.numpy(), other.numpy()) for one, other in zip(step(unit), step(single), strict=True)]
    norms = [float(np.linalg.norm(one)) for one, _ in gradients]
    # A softmax does not depend on its keys' bias, whose gradient is only rounding: it is compared with all gradients'.
    smallest = 1e-4 * float(np.linalg.norm(norms))
    relative = [
        float(np.linalg.norm(one - other)) / max(norm, smallest)
        for (one, other), norm in zip(gradients, norms, strict=True)
    ]
    absolute = [float(np.abs(one - other).max()) for one, other in gradients]
    del gradients
    as_unit, one_by_one, without_vision = seconds(lambda: step(unit), lambda: step(single), rest, times=TIMES)
    report(
        benchmark="stage2_unit",
        pairs=len(unit.pairs),
        pairs_per_second=len(unit.pairs) / as_unit,
        pairs_per_second_one_by_one=len(unit.pairs) / one_by_one,
        ratio=one_by_one / as_unit,
        vision_to_rest=(as_unit - without_vision) / without_vision,
        largest_difference_of_gradients=max(absolute),
        largest_relative_difference_of_gradients=max(relative),
    )


if __name__ == "__main__":
    main()
