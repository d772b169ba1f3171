"""Prediction against Hugging Face transformers: BLIP-2 of the same size on the same CPU, in one run.

    pip install . torch transformers
    python examples/benchmarks/predict_against_transformers.py

transformers answers the ordinary way: `generate`, greedily and at most the paper's ten tokens, 32 pairs in a batch that
each bring their own picture, on all cores. This project answers 32 images with their 18 questions in a batch, by
ranking what the vocabulary allows, with a process for each core, as `medvqa predict` does where there are enough
images. One side runs after the other. Weights are random: nothing is pruned for being unlikely, and no answer ends
early. `tiny` has its own, as it ships.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from common import random_pixels, report

from imageclef_vqa import runtime
from imageclef_vqa.data.synthetic import sample_scene
from imageclef_vqa.models.presets import TINY_WEIGHTS, Preset, QFormerConfig, T5Config, VisionConfig, find_preset
from imageclef_vqa.task import QUESTIONS, learn_vocabulary

# ViT-B/14, a third of a Q-Former and T5-small.
HEAVY = Preset(
    name="vision-heavy",
    vision=VisionConfig(image_size=224, patch_size=14, width=768, layers=12, heads=12, mlp_width=3072),
    qformer=QFormerConfig(layers=4, vision_width=768),
    language=T5Config(
        vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=6, num_heads=8
    ),
    weights=None,
)
PRESETS = {"vision-heavy": HEAVY, "tiny": find_preset("tiny")}
SCENES, PAIRS, TOKENS = 600, 32, 10
TIMES = {"vision-heavy": 2, "tiny": 8}
together: Barrier  # of the processes that answer at the same time


def rates(
    answer: Callable[[], Any], pairs: int, times: int, meet: Callable[[], Any] = lambda: None
) -> dict[str, float]:
    """Pairs per second and, which other work on the machine disturbs less, per second of CPU time; the best of so many
    calls after one that is not counted, each begun and ended together with the others that `meet`."""
    answer()
    took = []
    for _ in range(times):
        meet()
        wall, cpu = time.perf_counter(), time.process_time()
        answer()
        cpu = time.process_time() - cpu
        meet()
        took.append((time.perf_counter() - wall, cpu))
    walls, cpus = zip(*took, strict=True)
    return {"pairs_per_second": pairs / min(walls), "pairs_per_cpu_second": pairs / min(cpus)}


def ours(preset: Preset) -> dict[str, float]:
    """Pairs per second of as many processes as there are cores, and the number of parameters that take part."""
    context = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    os.environ["MKL_NUM_THREADS"] = "1"
    barrier = context.Barrier(cores)
    with ProcessPoolExecutor(cores, context, _join, (barrier,)) as pool:
        each = list(pool.map(_ours, [preset] * cores))
    return {
        "pairs_per_second": sum(found["pairs_per_second"] for found in each),
        "pairs_per_cpu_second": statistics.mean(found["pairs_per_cpu_second"] for found in each),
        "parameters": each[0]["parameters"],
    }


def _join(barrier: Barrier) -> None:
    global together
    together = barrier


def _ours(preset: Preset) -> dict[str, float]:
    runtime.prepare("cpu", seed=0)

    from imageclef_vqa.inference.answerer import Answerer
    from imageclef_vqa.inference.predict import IMAGES_AT_ONCE
    from imageclef_vqa.models.blip2 import Blip2
    from imageclef_vqa.models.language import Tokenizer
    from imageclef_vqa.models.pretrained import load_pretrained

    model = Blip2(preset) if preset.weights is None else load_pretrained(preset)[0]
    scenes = [sample_scene(np.random.default_rng([7, number])).answers() for number in range(SCENES)]
    vocabulary = learn_vocabulary(pair for scene in scenes for pair in scene.items())
    answerer = Answerer(model, Tokenizer(TINY_WEIGHTS / "spiece.model"), vocabulary)
    pixels = random_pixels(IMAGES_AT_ONCE, preset.vision.image_size)
    pairs, times = IMAGES_AT_ONCE * len(QUESTIONS), TIMES[preset.name]
    found = rates(lambda: answerer.rank(pixels), pairs, times, together.wait)
    # The words and text perceptrons of the Q-Former are those of stage 1; transformers' BLIP-2 has none.
    size = sum(
        int(np.prod(parameter.shape))
        for name, parameter in model.named_parameters()
        if not name.startswith(("qformer.words", "qformer.positions")) and ".text_mlp." not in name
    )
    return found | {"parameters": size}


def transformers(preset: Preset) -> dict[str, Any]:
    """Pairs per second and the number of parameters."""
    import torch
    from transformers_blip2 import random_blip2

    from imageclef_vqa.models.language import Tokenizer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = random_blip2(preset).eval()
    picture = model.config.image_token_index
    tokenizer = Tokenizer(TINY_WEIGHTS / "spiece.model")
    asked = [tokenizer.encode(QUESTIONS[number % len(QUESTIONS)].text) for number in range(PAIRS)]
    width = max(map(len, asked))
    words = torch.tensor([[picture] * preset.qformer.queries + ids + [0] * (width - len(ids)) for ids in asked])
    pixels = torch.tensor(random_pixels(PAIRS, preset.vision.image_size)).permute(0, 3, 1, 2).float() / 127.5 - 1

    @torch.inference_mode()
    def answer() -> None:
        model.generate(
            pixel_values=pixels, input_ids=words, attention_mask=(words != 0).long(), max_new_tokens=TOKENS, num_beams=1
        )

    found = rates(answer, PAIRS, TIMES[preset.name])
    return found | {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def main() -> None:
    sides = {"ours": ours, "transformers": transformers}
    if len(sys.argv) > 1:
        print(json.dumps(sides[sys.argv[1]](PRESETS[sys.argv[2]])))
        return
    results: dict[str, Any] = {}
    for preset in PRESETS:
        found = {}
        for side in sides:
            command = [sys.executable, __file__, side, preset]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[side] = json.loads(done.stdout.splitlines()[-1])
        mine, theirs = found["ours"], found["transformers"]
        results[preset] = {
            name: {
                "ours": round(mine[name], 2),
                "transformers": round(theirs[name], 2),
                "ratio": round(mine[name] / theirs[name], 2),
            }
            for name in mine
        }
    report(benchmark="predict_against_transformers", **results)


if __name__ == "__main__":
    main()
