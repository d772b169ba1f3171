"""`medvqa plan` against real steps: the peak of resident memory, planned and measured.

Each setting trains two steps in a process of its own (the second one with the optimiser's state in place), on random
pictures, with a random language model in half precision that is mapped from its file. Prints one line of JSON.

    python examples/benchmarks/plan_memory.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from imageclef_vqa import devices
from imageclef_vqa.models.configs import GLMConfig, QFormerConfig, T5Config
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import VIT_G, Preset
from imageclef_vqa.planning import Workload, make_plan

QUESTION, ANSWER = 12, 6  # tokens
QUESTIONS = 18  # of an image


def vision(width: int, layers: int, heads: int):
    return replace(VIT_G, width=width, layers=layers, heads=heads, mlp_width=4 * width)


def t5(width: int, layers: int, heads: int) -> T5Config:
    return T5Config(
        vocab_size=32128,
        d_model=width,
        d_kv=64,
        d_ff=4 * width,
        num_layers=layers,
        num_decoder_layers=layers,
        num_heads=heads,
    )


SMALL = QFormerConfig(width=256, layers=6, heads=4, mlp_width=1024, vision_width=512, vocabulary=8000)
GLM = GLMConfig(vocab_size=20000, hidden_size=1024, num_layers=8, num_attention_heads=8, inner_hidden_size=4096)
GLM = replace(GLM, gmask_token_id=19001, bos_token_id=19004, eos_token_id=19005)
PRESETS = {
    "small": Preset(name="small", vision=vision(512, 8, 8), qformer=SMALL, language=t5(512, 6, 8)),
    "middling": Preset(
        name="middling", vision=vision(1024, 12, 16), qformer=QFormerConfig(vision_width=1024), language=t5(768, 12, 12)
    ),
    "glm": Preset(name="glm", vision=vision(512, 8, 8), qformer=SMALL, language=GLM),
}
WORKLOADS = [("small", "2", 2, False), ("small", "2", 4, True), ("middling", "2", 2, False)]
WORKLOADS += [("glm", "2", 1, False), ("middling", "1", 4, False)]


def workload_of(name: str, stage: str, batch: int, recompute: bool) -> Workload:
    preset = PRESETS[name]
    return Workload(
        preset=replace(preset, vision=replace(preset.vision, recompute=recompute)),
        stage=stage,  # type: ignore[arg-type]
        questions=QUESTIONS,
        batch=batch,
        freeze_vision=stage != "2",
        images=batch,
        question_tokens=QUESTION,
        answer_tokens=ANSWER,
    )


def write_language(preset: Preset, file: Path) -> None:
    """Random weights in half precision."""
    import numpy as np

    from imageclef_vqa.checkpoints.layers import own_tensors
    from imageclef_vqa.checkpoints.safetensors import write_safetensors
    from imageclef_vqa.checkpoints.stored import InMemory

    tensors = own_tensors(build_language(preset.language).model)
    write_safetensors(file, {name: InMemory(np.asarray(t).astype("float16")) for name, t in tensors.items()})


def train(workload: Workload, file: Path) -> None:
    """Two steps; prints the peak of the resident set in bytes."""
    from types import SimpleNamespace

    import numpy as np
    import paddle

    from imageclef_vqa.checkpoints.language import load_language
    from imageclef_vqa.models.blip2 import Blip2
    from imageclef_vqa.models.pretraining_heads import PretrainingHeads
    from imageclef_vqa.training import stage1, stage2
    from imageclef_vqa.training.loop import set_trainable
    from imageclef_vqa.training.pairs import Pair, PairTable
    from imageclef_vqa.training.parallel import Shard

    rng = np.random.default_rng(0)
    images, size = workload.batch, workload.preset.vision.image_size
    pixels = paddle.to_tensor(rng.standard_normal((images, 3, size, size)).astype("float32"))
    model = Blip2(workload.preset, load_language(workload.preset.language, file))
    whole, trainable = model, stage2.trainable(vision=True)
    if workload.stage == "1":
        heads = PretrainingHeads(workload.preset.qformer)
        whole, trainable = stage1.Stage1(model, heads), stage1.TRAINABLE
    learning = list(set_trainable(whole, trainable).values())
    optimizer = paddle.optimizer.AdamW(1e-5, parameters=learning, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0))
    asked = range(1 if workload.stage == "1" else QUESTIONS)
    pairs = [[Pair(number, (str(image),), [2] * ANSWER, []) for number in asked] for image in range(images)]
    batch = PairTable.batch(np.arange(images), pairs)
    table = SimpleNamespace(questions=[[3] * QUESTION] * QUESTIONS, pairs_in=lambda _view, image: pairs[image])
    for _ in range(2):
        whole.train()
        model.language.eval()
        if workload.stage == "2":
            loss = stage2.answer_loss(model, model.visual_tokens(pixels), batch, table)
        else:
            with paddle.no_grad():
                features = model.vision.features(pixels)
            shard = Shard.single(batch)
            loss = sum(stage1.representation_losses(model, heads, features, table, shard, rng).values())
        loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        del loss
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(status.split("VmHWM:")[1].split()[0]) * 1024)


def main() -> None:
    if len(sys.argv) > 1:
        devices.prepare("cpu", seed=0)
        name, stage, batch, recompute, file = sys.argv[1:]
        if stage == "write":
            write_language(PRESETS[name], Path(file))
        else:
            train(workload_of(name, stage, int(batch), recompute == "True"), Path(file))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, stage, batch, recompute in WORKLOADS:
            file = Path(folder) / f"{name}.safetensors"

            def run(*arguments: object) -> str:
                command = [sys.executable, __file__, *map(str, arguments)]
                return subprocess.run(command, check=True, capture_output=True, text=True).stdout

            if not file.exists():
                run(name, "write", 0, False, file)
            measured = int(run(name, stage, batch, recompute, file).split()[-1])
            planned = make_plan(workload_of(name, stage, batch, recompute)).peak
            results.append(
                {
                    "preset": name,
                    "stage": stage,
                    "batch": batch,
                    "recompute": recompute,
                    "planned_gb": round(planned / 1e9, 2),
                    "measured_gb": round(measured / 1e9, 2),
                    "ratio": round(planned / measured, 3),
                }
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
