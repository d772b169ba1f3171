"""Full-size models on a small machine: `vit-g-glm-6b` answers, `vit-g-t5-base` takes a step of stage 2.

Random weights; the language model's are written to a file in half precision (12.4 GB for ChatGLM-6B, removed again)
and mapped from it. Prints one line of JSON: seconds, and the peaks of resident memory, of which pages of the mapped
file can be dropped at any time.

    python examples/benchmarks/full_size_models.py predict|step [FOLDER] [QUESTIONS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from imageclef_vqa import runtime
from imageclef_vqa.models.presets import find_preset

runtime.prepare("cpu", seed=0)

import paddle  # noqa: E402  (after the environment is set for it)

from imageclef_vqa.models.blip2 import Blip2  # noqa: E402
from imageclef_vqa.models.folder import FolderConfig  # noqa: E402
from imageclef_vqa.models.language import load_language  # noqa: E402
from imageclef_vqa.models.parts import shapes  # noqa: E402
from imageclef_vqa.models.weights import write_safetensors  # noqa: E402
from imageclef_vqa.training import stage2  # noqa: E402
from imageclef_vqa.training.loop import choose_what_learns  # noqa: E402

BLOCK = (np.random.default_rng(0).standard_normal(2**20) * 0.02).astype("float16")


class RandomBits:
    """A tensor of random numbers in half precision, made when it is written."""

    dtype = "F16"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def bits(self) -> np.ndarray:
        return np.resize(BLOCK, self.shape)


class Peaks(threading.Thread):
    """Watches resident memory: anonymous pages and those of files, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous = self.mapped = 0

    def run(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")}
            self.anonymous = max(self.anonymous, sizes["RssAnon"])
            self.mapped = max(self.mapped, sizes["RssFile"])
            time.sleep(0.2)


def predict(model: Blip2, questions: int) -> None:
    """One image and its questions, three tokens each, by the likeliest at each step."""
    model.eval()
    language = model.language
    with paddle.no_grad():
        visual = model.visual_tokens(paddle.randn([1, 3, 224, 224]))
        question = paddle.randint(100, 20000, [questions, 12])
        memory = model.read(visual, paddle.zeros([questions], dtype="int64"), question, paddle.ones_like(question))
        tokens = paddle.full([questions], language.start, dtype="int64")
        for _ in range(3):
            logits, memory = language.step(memory, tokens)
            tokens = logits.argmax(axis=-1)
    assert bool(paddle.isfinite(logits).all())


def step(model: Blip2, questions: int) -> None:
    """One step on one image; its vision learns only if there is room for it."""
    room = int(Path("/proc/meminfo").read_text(encoding="utf-8").split("MemAvailable:")[1].split()[0]) * 1024
    vision = room > 16e9
    learning = choose_what_learns(model, stage2.learns(vision=vision))
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=learning, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0))
    model.train()
    model.language.eval()
    question, answer = paddle.randint(100, 20000, [questions, 12]), paddle.randint(100, 20000, [questions, 5])
    image = paddle.zeros([questions], dtype="int64")
    memory = model.read(
        model.visual_tokens(paddle.randn([1, 3, 224, 224])), image, question, paddle.ones_like(question)
    )
    loss = -model.language.score(memory, answer).mean()
    loss.backward()
    optimizer.step()
    assert bool(paddle.isfinite(loss))
    assert float(model.projection.weight.grad.abs().sum()) > 0
    print(f"loss {float(loss):.2f}, {'vision trained' if vision else 'vision frozen'}", file=sys.stderr)


def main() -> None:
    what, place = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    questions = int(sys.argv[3]) if len(sys.argv) > 3 else 18
    preset = find_preset("vit-g-glm-6b" if what == "predict" else "vit-g-t5-base")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        file = Path(folder) / "language.safetensors"
        names = shapes("language", FolderConfig(language=preset.language))
        write_safetensors(file, {name: RandomBits(shape) for name, shape in names.items()})
        peaks, started = Peaks(), time.monotonic()
        peaks.start()
        model = Blip2(preset, load_language(preset.language, file))
        loaded = time.monotonic()
        (predict if what == "predict" else step)(model, questions)
        done = time.monotonic()
        result = {
            "preset": preset.name,
            "what": what,
            "questions": questions,
            "load_s": round(loaded - started, 1),
            "run_s": round(done - loaded, 1),
            "anonymous_gb": round(peaks.anonymous / 1e9, 2),
            "mapped_gb": round(peaks.mapped / 1e9, 2),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
