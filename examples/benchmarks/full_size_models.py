"""Full-size models on a small machine: `vit-g-glm-6b` answers, `vit-g-t5-base` takes a step of stage 2.

One image and QUESTIONS of its questions (all 18 for a step, the first 3 for answers unless said), as `finetune` and
`predict` do it, with random weights: decoding then follows as many answers as it may. The language model's weights are
written to a file in half precision (12.4 GB for ChatGLM-6B, removed again) and mapped from it; words are cut with
`tiny`'s tokenizer. Prints one line of JSON: seconds, and the peaks of resident memory, of which pages of the mapped
file can be dropped at any time.

    python examples/benchmarks/full_size_models.py WHAT [FOLDER] [QUESTIONS]

WHAT is predict, step, step-frozen (vision is), step-lora or step-frozen-lora (with adapters of rank 16).
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np

from imageclef_vqa import devices
from imageclef_vqa.data import Dataset, Example
from imageclef_vqa.editions import learn_vocabulary
from imageclef_vqa.models.presets import TINY_WEIGHTS, Preset, find_preset
from imageclef_vqa.synthetic import sample_scene

BLOCK = (np.random.default_rng(0).standard_normal(2**20) * 0.02).astype("float16")
SCENES = 200  # from which the vocabulary is learnt


class RandomBits:
    """A tensor of random numbers in half precision, made when it is written."""

    dtype = "F16"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def bits(self) -> np.ndarray:
        return np.resize(BLOCK, self.shape)


class Peaks(threading.Thread):
    """Watches resident memory, in bytes: anonymous pages, those of files, and both together."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.mapped = self.both = 0

    def run(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")}
            self.anonymous = max(self.anonymous, sizes["RssAnon"])
            self.mapped = max(self.mapped, sizes["RssFile"])
            self.both = max(self.both, sizes["RssAnon"] + sizes["RssFile"])
            time.sleep(0.1)


def scenes(count: int) -> Dataset:
    answers = [sample_scene(np.random.default_rng([7, number])).answers() for number in range(count)]
    return Dataset(
        Path(), tuple(Example(f"scene{n}", Path(), each, "", 8, 8) for n, each in enumerate(answers)), (), ""
    )


def write_language(preset: Preset, file: Path) -> None:
    """Random weights of the preset's language model."""
    from imageclef_vqa.checkpoints.folder import FolderConfig
    from imageclef_vqa.checkpoints.parts import shapes
    from imageclef_vqa.checkpoints.safetensors import write_safetensors

    sizes = shapes("language", FolderConfig(language=preset.language))
    write_safetensors(file, {name: RandomBits(shape) for name, shape in sizes.items()})


def build(preset: Preset, file: Path):
    from imageclef_vqa.checkpoints.language import load_language
    from imageclef_vqa.models.blip2 import Blip2

    return Blip2(preset, load_language(preset.language, file))


def pixels(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype="uint8")


def predict(model, preset: Preset, questions: int = 3) -> dict[str, float]:
    """Ranked answers to the first questions about one image."""
    import paddle

    from imageclef_vqa.editions import QUESTIONS
    from imageclef_vqa.inference.decoding import rank_answers
    from imageclef_vqa.inference.grammar import Grammar
    from imageclef_vqa.inference.trie import Trie
    from imageclef_vqa.models.language import Tokenizer
    from imageclef_vqa.training.pairs import pad

    tokenizer, vocabulary = Tokenizer(TINY_WEIGHTS / "spiece.model"), learn_vocabulary(scenes(SCENES).labels())
    asked = paddle.to_tensor(pad([tokenizer.encode(question.text) for question in QUESTIONS[:questions]]))
    model.eval()
    with paddle.no_grad():
        visual = model.visual_tokens(model.vision.normalise(pixels(preset.vision.image_size)))
        image_of_pair = paddle.zeros([questions], dtype="int64")
        memory = model.read(visual, image_of_pair, asked, (asked != 0).astype("int64"))
    trie = Trie([Grammar(entry, tokenizer) for entry in vocabulary.questions])
    ranked = rank_answers(model.language, memory, trie, np.arange(questions))
    assert all(probability > 0 for each in ranked for _, probability in each[:1])
    return {"questions": questions, "answers": sum(map(len, ranked))}


def step(model, preset: Preset, questions: int = 18, *, vision: bool = True, rank: int = 0) -> dict[str, float]:
    """A step of stage 2 on one image and its questions; `rank` is that of adapters of the language model."""
    from imageclef_vqa.models.configs import AdapterConfig
    from imageclef_vqa.models.language import Tokenizer
    from imageclef_vqa.models.language.adapters import add_adapters
    from imageclef_vqa.training import stage2
    from imageclef_vqa.training.loop import set_trainable
    from imageclef_vqa.training.optimiser import Optimiser
    from imageclef_vqa.training.pairs import PairTable
    from imageclef_vqa.training.parallel import Processes
    from imageclef_vqa.training.recipe import Recipe

    drawn = scenes(1)
    table = PairTable(drawn, learn_vocabulary(drawn.labels()), Tokenizer(TINY_WEIGHTS / "spiece.model"))
    [batch] = table.epoch(1, questions, np.random.default_rng(0))
    if rank:
        add_adapters(model.language, preset.language, AdapterConfig(rank=rank))
    learning = set_trainable(model, stage2.trainable(vision=vision))
    optimiser = Optimiser(learning, Recipe(epochs=1), Processes(), {})
    model.train()
    model.language.eval()
    loss = stage2.answer_loss(
        model, model.visual_tokens(model.vision.normalise(pixels(preset.vision.image_size))), batch, table
    )
    loss.backward()
    norm = optimiser.step(1e-4)
    assert 0 < norm < math.inf
    return {"questions": len(batch.pairs), "loss": round(float(loss), 3), "norm": round(norm, 3)}


WORKS = {
    "predict": predict,
    "step": step,
    "step-frozen": partial(step, vision=False),
    "step-lora": partial(step, rank=16),
    "step-frozen-lora": partial(step, vision=False, rank=16),
}


def main() -> None:
    what, place = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    preset = find_preset("vit-g-glm-6b" if what == "predict" else "vit-g-t5-base")
    devices.prepare("cpu", seed=0)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        file = Path(folder) / "language.safetensors"
        write_language(preset, file)
        peaks, started = Peaks(), time.monotonic()
        peaks.start()
        model = build(preset, file)
        loaded = time.monotonic()
        done = WORKS[what](model, preset, *map(int, sys.argv[3:4]))
        result = {
            "preset": preset.name,
            "what": what,
            **done,
            "load_s": round(loaded - started, 1),
            "run_s": round(time.monotonic() - loaded, 1),
            "peak_gb": round(peaks.both / 1e9, 2),
            "anonymous_gb": round(peaks.anonymous / 1e9, 2),
            "mapped_gb": round(peaks.mapped / 1e9, 2),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
