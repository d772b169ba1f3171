"""Sustained FLOP rate of the ViT forward, against a plain matrix product of the same library on the same machine.

    python examples/benchmarks/vision_flops.py

Blocks of ViT-g/14's own width (EVA-CLIP, as BLIP-2 uses it) at 224 × 224; four of them stand for 39, which are alike.
Only products are counted: of linear layers, of attention, and of the patch embedding. Forward and products take turns,
about as long each, so that both meet the same machine; the ratio is the median over the turns.
"""

from __future__ import annotations

import numpy as np
from common import report, turns

from imageclef_vqa import devices
from imageclef_vqa.models.configs import VisionConfig

SIZES = VisionConfig(image_size=224, patch_size=14, width=1408, layers=4, heads=16, mlp_width=6144)
IMAGES, SQUARE, TIMES = 4, 2048, 9


def vision_flops(sizes: VisionConfig, images: int) -> int:
    """Two for each multiplication with its addition."""
    tokens, width = 1 + sizes.patches, sizes.width
    linear = tokens * width * (4 * width + 2 * sizes.mlp_width)
    attention = 2 * tokens * tokens * width
    stem = sizes.patches * 3 * sizes.patch_size**2 * width
    return 2 * images * (stem + sizes.layers * (linear + attention))


def main() -> None:
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.models.vision import VisionTransformer

    vision, pixels = VisionTransformer(SIZES), paddle.randn([IMAGES, 3, SIZES.image_size, SIZES.image_size])
    one, other = paddle.randn([SQUARE, SQUARE]), paddle.randn([SQUARE, SQUARE])
    vision.eval()
    work, single = vision_flops(SIZES, IMAGES), 2 * SQUARE**3
    products = round(work / single)

    def multiply() -> None:
        for _ in range(products):
            paddle.matmul(one, other)

    with paddle.no_grad():
        plain, forward = turns(multiply, lambda: vision(pixels), times=TIMES).T
    rates = {"product_gflops": products * single / plain / 1e9, "vision_gflops": work / forward / 1e9}
    ratios = rates["vision_gflops"] / rates["product_gflops"]
    report(
        benchmark="vision_flops",
        **{name: float(np.median(rate)) for name, rate in rates.items()},
        ratio=float(np.median(ratios)),
        lowest=float(ratios.min()),
        highest=float(ratios.max()),
    )


if __name__ == "__main__":
    main()
