"""Generation of sentences against Hugging Face transformers' `generate`: the T5 of `tiny-open`, on the CPU, in one run.

    pip install '.[bench]'
    python examples/benchmarks/generation.py

Both sides get the visual tokens of eight images and 18 questions about each, and write 16 tokens to each question,
greedily and with eight beams whose sentences are all returned. The encoder is included, vision and Q-Former are not.
Weights are random and equal, and no sentence may end early. This project reads the visual tokens of an image once for
all its questions (`share_prefix`, as the open presets do) or, for equal sentences, once per question as transformers
has to.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from common import report, seconds

from imageclef_vqa import devices
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import PRESETS

SIZES = PRESETS["tiny-open"].language
IMAGES, QUESTIONS, QUERIES, WORDS, LENGTH = 8, 18, 20, 10, 16
BEAMS, TIMES = (1, 8), 3
PAIRS = IMAGES * QUESTIONS
NEVER = -1  # a token that no model writes, in place of the end


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random weights of a tensor by its name in transformers; norms are 1."""
    if "layer_norm" in name:
        return np.ones(shape, "float32")
    return np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.05, shape).astype("float32")


def inputs() -> tuple[np.ndarray, np.ndarray]:
    """Visual tokens [i, q, w] and questions [n, t]."""
    rng = np.random.default_rng(0)
    visual = rng.normal(size=(IMAGES, QUERIES, SIZES.d_model)).astype("float32")
    return visual, rng.integers(2, SIZES.vocab_size, (PAIRS, WORDS))


def ours() -> dict[str, Callable[[], list[list[int]]]]:
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.inference.generation import beam_search

    model = build_language(SIZES)
    model.eval()
    for name, tensor in model.model.named_parameters():
        flips = tensor.ndim == 2 and "shared" not in name and "relative_attention_bias" not in name
        shape = tuple(tensor.shape)
        made = weights(name.removeprefix("t5."), shape[::-1] if flips else shape)
        tensor.set_value(made.T if flips else made)
    visual, question = map(paddle.to_tensor, inputs())
    image_of_pair = paddle.to_tensor(np.repeat(np.arange(IMAGES), QUESTIONS))

    @paddle.no_grad()
    def answer(width: int, shared: bool) -> list[list[int]]:
        mask = paddle.ones_like(question)
        if shared:
            memory = model.encode_shared(visual, image_of_pair, question, mask)
        else:
            memory = model.encode(visual.index_select(image_of_pair), question, mask)
        found = beam_search(model, memory, PAIRS, NEVER, width, LENGTH)
        return [list(sentences[0].tokens) for sentences in found]

    return {f"{width} {shared}": lambda w=width, s=shared: answer(w, s) for width in BEAMS for shared in (False, True)}


def transformers() -> dict[str, Callable[[], list[list[int]]]]:
    import torch
    from transformers import T5Config as Sizes
    from transformers import T5ForConditionalGeneration

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    names = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads")
    config = Sizes(**{name: getattr(SIZES, name) for name in names}, decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.from_numpy(weights(name, tuple(tensor.shape))))
    visual, question = map(torch.from_numpy, inputs())

    @torch.inference_mode()
    def answer(width: int) -> list[list[int]]:
        both = torch.cat([visual.repeat_interleave(QUESTIONS, 0), model.get_input_embeddings()(question)], 1)
        found = model.generate(
            inputs_embeds=both,
            attention_mask=torch.ones(both.shape[:2], dtype=torch.long),
            num_beams=width,
            num_return_sequences=width,
            do_sample=False,
            length_penalty=0.0,
            min_new_tokens=LENGTH,
            max_new_tokens=LENGTH,
        )
        return found[::width, 1:].tolist()

    return {str(width): lambda w=width: answer(w) for width in BEAMS}


def measure(side: str, found: Any) -> None:
    """Pairs per second of each way of answering, and the first sentence of each pair."""
    answers = {"ours": ours, "transformers": transformers}[side]()
    took = seconds(*answers.values(), times=TIMES)
    said = {way: answer() for way, answer in answers.items() if not way.endswith("True")}
    found.put(({way: PAIRS / each for way, each in zip(answers, took, strict=True)}, said))


def in_a_process(side: str) -> Any:
    context = multiprocessing.get_context("spawn")
    found = context.SimpleQueue()
    process = context.Process(target=measure, args=(side, found))
    process.start()
    process.join()
    return found.get() if process.exitcode == 0 else sys.exit(process.exitcode)


def main() -> None:
    (mine, said), (theirs, expected) = in_a_process("ours"), in_a_process("transformers")
    for width in map(str, BEAMS):
        same = [one == other for one, other in zip(said[f"{width} False"], expected[width], strict=True)]
        report(
            benchmark="generation",
            beams=int(width),
            pairs_per_second=round(mine[f"{width} True"], 1),
            per_question=round(mine[f"{width} False"], 1),
            transformers=round(theirs[width], 1),
            ratio=round(mine[f"{width} True"] / theirs[width], 2),
            equal_sentences=round(float(np.mean(same)), 3),
        )


if __name__ == "__main__":
    main()
