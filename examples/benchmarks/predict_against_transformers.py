"""Prediction against Hugging Face transformers: BLIP-2 of the same size on the same CPU, in one run.

    pip install '.[bench]'
    python examples/benchmarks/predict_against_transformers.py

transformers answers the ordinary way: `generate`, greedily and at most the paper's ten tokens, 32 pairs in a batch that
each bring their own picture. This project answers 32 images with their 18 questions in a batch, by ranking what the
vocabulary allows. Both do so in one process on all cores, and with a process for each core, as `medvqa predict` does
where there are enough images. One side runs after the other. On a machine with other work, the ratio of pairs per CPU
second is the better one. Weights are random: nothing is pruned for being unlikely, and no answer ends early. `tiny` has
its own, as it ships.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from common import random_pixels, report

from imageclef_vqa import devices
from imageclef_vqa.editions import QUESTIONS, learn_vocabulary
from imageclef_vqa.models.configs import QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.presets import TINY_WEIGHTS, Preset, find_preset
from imageclef_vqa.synthetic import sample_scene

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
PATIENCE = 600  # seconds, after which a process that failed is no longer waited for

# What answers so many pairs in a call, how many, and the number of parameters that take part.
Side = tuple[Callable[[], Any], int, int]


def ours(preset: Preset, threads: int) -> Side:
    os.environ["MKL_NUM_THREADS"] = str(threads)
    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.pretrained import load_pretrained
    from imageclef_vqa.inference.answerer import Answerer
    from imageclef_vqa.inference.answering import IMAGES_AT_ONCE
    from imageclef_vqa.models.blip2 import Blip2
    from imageclef_vqa.models.language import Tokenizer

    model = Blip2(preset) if preset.weights is None else load_pretrained(preset)[0]
    scenes = [sample_scene(np.random.default_rng([7, number])).answers() for number in range(SCENES)]
    vocabulary = learn_vocabulary(pair for scene in scenes for pair in scene.items())
    answerer = Answerer(model, Tokenizer(TINY_WEIGHTS / "spiece.model"), vocabulary)
    pixels = random_pixels(IMAGES_AT_ONCE, preset.vision.image_size)
    # The words and text perceptrons of the Q-Former are those of stage 1; transformers' BLIP-2 has none.
    size = sum(
        int(np.prod(parameter.shape))
        for name, parameter in model.named_parameters()
        if not name.startswith(("qformer.words", "qformer.positions")) and ".text_mlp." not in name
    )
    return partial(answerer.rank, pixels), IMAGES_AT_ONCE * len(QUESTIONS), size


def transformers(preset: Preset, threads: int) -> Side:
    import torch
    from transformers_blip2 import random_blip2

    from imageclef_vqa.models.language import Tokenizer

    torch.set_num_threads(threads)
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

    return answer, PAIRS, sum(parameter.numel() for parameter in model.parameters())


SIDES = {"ours": ours, "transformers": transformers}


def measured(side: str, preset: str, processes: int) -> dict[str, float]:
    """Pairs per second of so many processes that share the cores, the best of several calls that all make together.

    And pairs per CPU second, the best of all calls.
    """
    context = multiprocessing.get_context("spawn")
    together, found = context.Barrier(1 + processes, timeout=PATIENCE), context.SimpleQueue()
    threads = len(os.sched_getaffinity(0)) // processes
    workers = [
        context.Process(target=_answer, args=(side, preset, threads, together, found), daemon=True)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    took = []
    for _ in range(TIMES[preset]):
        together.wait()
        started = time.perf_counter()
        together.wait()
        took.append(time.perf_counter() - started)
    cpu = [found.get() for _ in workers]
    for worker in workers:
        worker.join()
    pairs, size, _ = cpu[0]
    return {
        "pairs_per_second": round(processes * pairs / min(took), 1),
        "pairs_per_cpu_second": round(pairs / min(each for _, _, each in cpu), 1),
        "parameters": size,
    }


def _answer(side: str, preset: str, threads: int, together: Barrier, found: Any) -> None:
    """Answer as often as all others do, after once by itself."""
    answer, pairs, size = SIDES[side](PRESETS[preset], threads)
    answer()
    took = []
    for _ in range(TIMES[preset]):
        together.wait()
        started = time.process_time()
        answer()
        took.append(time.process_time() - started)
        together.wait()
    found.put((pairs, size, min(took)))


def main() -> None:
    results: dict[str, Any] = {}
    cores = len(os.sched_getaffinity(0))
    for preset in PRESETS:
        results[preset] = {}
        for processes in (1, cores):
            mine, theirs = (measured(side, preset, processes) for side in SIDES)
            results[preset][f"{processes} processes"] = {
                name: [mine[name], theirs[name], round(mine[name] / theirs[name], 2)] for name in mine
            }
    report(benchmark="predict_against_transformers", **results)


if __name__ == "__main__":
    main()
