"""Stage 2 against Hugging Face transformers: BLIP-2 of the same size on the same CPU, in one run.

    pip install '.[bench]'
    python examples/benchmarks/against_transformers.py

Each side trains vision, Q-Former and projection with a frozen T5 in float32 with AdamW: transformers the ordinary way,
a batch of pairs that each bring their own picture; this project, images with their 18 questions. Questions and answers
are the same tokens. Each side runs in a process of its own, one after the other, with all cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
from common import drawn_pairs, random_pixels, report, seconds

from imageclef_vqa import devices
from imageclef_vqa.models.configs import QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.presets import Preset

# ViT-B/14, half a Q-Former and half of T5-base.
PRESET = Preset(
    name="medium",
    vision=VisionConfig(image_size=224, patch_size=14, width=768, layers=12, heads=12, mlp_width=3072),
    qformer=QFormerConfig(layers=6, vision_width=768),
    language=T5Config(
        vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=6, num_decoder_layers=6, num_heads=12
    ),
    weights=None,
)
IMAGES, PAIRS, TIMES = 2, 16, 2


def ours() -> dict[str, Any]:
    """Pairs per second and the number of parameters."""
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.models.blip2 import Blip2
    from imageclef_vqa.training.loop import set_trainable
    from imageclef_vqa.training.stage2 import answer_loss, trainable

    model, table = Blip2(PRESET), drawn_pairs(IMAGES)
    learning = list(set_trainable(model, trainable(vision=True)).values())
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=learning, weight_decay=1e-4)
    model.train()
    model.language.eval()
    (batch,) = table.all(IMAGES)
    pixels = random_pixels(IMAGES, PRESET.vision.image_size)

    def step() -> None:
        answer_loss(model, model.visual_tokens(model.vision.normalise(pixels)), batch, table).backward()
        optimizer.step()
        optimizer.clear_grad()

    # The words and text perceptrons of the Q-Former are those of stage 1; transformers' BLIP-2 has none.
    spoken = ("qformer.words", "qformer.positions")
    size = sum(
        int(np.prod(parameter.shape))
        for name, parameter in model.named_parameters()
        if not name.startswith(spoken) and ".text_mlp." not in name
    )
    return {"pairs_per_second": len(batch.pairs) / seconds(step, times=TIMES)[0], "parameters": size}


def transformers() -> dict[str, Any]:
    """Pairs per second and the number of parameters."""
    import torch
    from transformers_blip2 import random_blip2

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = random_blip2(PRESET).train()
    model.language_model.requires_grad_(False).eval()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, weight_decay=1e-4)
    table = drawn_pairs(1)
    pairs = table.of_image[0][:PAIRS]
    visual = [model.config.image_token_index] * PRESET.qformer.queries
    questions = _padded([visual + table.questions[pair.question_id] for pair in pairs], 0)
    answers = _padded([pair.tokens for pair in pairs], -100)
    pixels = torch.tensor(random_pixels(PAIRS, PRESET.vision.image_size)).permute(0, 3, 1, 2).float() / 127.5 - 1

    def step() -> None:
        model(
            pixel_values=pixels,
            input_ids=torch.tensor(questions),
            attention_mask=torch.tensor((questions != 0).astype("int64")),
            labels=torch.tensor(answers),
        ).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    size = sum(parameter.numel() for parameter in model.parameters())
    return {"pairs_per_second": len(pairs) / seconds(step, times=TIMES)[0], "parameters": size}


def _padded(sequences: list[list[int]], padding: int) -> np.ndarray:
    width = max(map(len, sequences))
    return np.array([ids + [padding] * (width - len(ids)) for ids in sequences], dtype="int64")


def main() -> None:
    sides = {"ours": ours, "transformers": transformers}
    if len(sys.argv) > 1:
        print(json.dumps(sides[sys.argv[1]]()))
        return
    found = {}
    for name in sides:
        done = subprocess.run([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    report(
        benchmark="against_transformers",
        pairs_per_second=found["ours"]["pairs_per_second"],
        pairs_per_second_transformers=found["transformers"]["pairs_per_second"],
        ratio=found["ours"]["pairs_per_second"] / found["transformers"]["pairs_per_second"],
        parameters=found["ours"]["parameters"],
        parameters_transformers=found["transformers"]["parameters"],
    )


if __name__ == "__main__":
    main()
