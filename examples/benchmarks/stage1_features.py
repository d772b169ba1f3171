"""Stage 1 with frozen vision's features kept, against the same steps with vision run each time.

    python examples/benchmarks/stage1_features.py

ViT-L/14 as in the paper's table 2 and a small Q-Former; forward, backward and optimiser. Kept features are read from
the disk. The pass that makes them is not counted: a stage makes it once and then sees each image in every epoch.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from common import drawn_pairs, random_pixels, report

from imageclef_vqa import devices
from imageclef_vqa.models.configs import QFormerConfig, T5Config
from imageclef_vqa.models.presets import VIT_L, Preset

PRESET = Preset(
    name="vision-heavy",
    vision=VIT_L,
    qformer=QFormerConfig(queries=32, width=256, layers=4, heads=4, mlp_width=1024, vision_width=1024, vocabulary=386),
    language=T5Config(vocab_size=384, d_model=64, d_kv=16, d_ff=64, num_layers=1, num_decoder_layers=1, num_heads=4),
    weights=None,
)
IMAGES, BATCH, TIMES = 16, 8, 2


def main() -> None:
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.models.blip2 import Blip2
    from imageclef_vqa.models.pretraining_heads import PretrainingHeads
    from imageclef_vqa.training.features import FeatureStore, rounded_features
    from imageclef_vqa.training.loop import set_trainable
    from imageclef_vqa.training.parallel import Shard
    from imageclef_vqa.training.stage1 import TRAINABLE, Stage1, representation_losses

    table, pixels = drawn_pairs(IMAGES), random_pixels(IMAGES, PRESET.vision.image_size)
    model = Stage1(Blip2(PRESET), PretrainingHeads(PRESET.qformer))
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    vision, learning = model.blip2.vision, list(set_trainable(model, TRAINABLE).values())

    def epoch(features_of) -> tuple[list[float], float]:
        """The losses of an epoch from the start, and how long it took."""
        model.set_state_dict(start)
        model.train()
        optimizer = paddle.optimizer.AdamW(1e-4, parameters=learning)
        rng, losses = np.random.default_rng(0), []
        paddle.seed(0)
        started = time.perf_counter()
        for batch in table.epoch(BATCH, 1, rng):
            features = features_of(batch.images)
            parts = representation_losses(model.blip2, model.heads, features, table, Shard.single(batch), rng)
            total = paddle.add_n(list(parts.values()))
            total.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(total))
        return losses, time.perf_counter() - started

    def in_float32(images: np.ndarray) -> paddle.Tensor:
        with paddle.no_grad():
            vision.eval()
            return vision.features(vision.normalise(pixels[images]))

    def at_each_step(images: np.ndarray) -> paddle.Tensor:
        return rounded_features(vision, pixels[images]).astype("float32")

    with tempfile.TemporaryDirectory() as folder:
        kept = FeatureStore(Path(folder), vision).of(pixels)

        def from_disk(images: np.ndarray) -> paddle.Tensor:
            return paddle.to_tensor(kept[images]).astype("float32")

        sides = {"kept": from_disk, "each time": at_each_step}
        epoch(from_disk)  # not counted
        found = [{name: epoch(features_of) for name, features_of in sides.items()} for _ in range(TIMES)]
    losses, each_time = (found[0][name][0] for name in sides)
    fast, slow = (min(run[name][1] for run in found) for name in sides)
    not_rounded, _ = epoch(in_float32)
    report(
        benchmark="stage1_features",
        images_per_second=IMAGES / fast,
        images_per_second_each_time=IMAGES / slow,
        ratio=slow / fast,
        largest_difference_of_losses=float(np.abs(np.subtract(losses, each_time)).max()),
        largest_difference_from_float32=float(np.abs(np.subtract(losses, not_rounded)).max()),
        loss=losses[-1],
    )


if __name__ == "__main__":
    main()
