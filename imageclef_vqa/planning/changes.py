"""Which change of options makes a workload fit into a device's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from imageclef_vqa.planning.plan import make_plan
from imageclef_vqa.planning.workload import Workload

_FEWER_QUESTIONS = (9, 6, 3, 1)


def smallest_change(workload: Workload, memory: float) -> tuple[list[str], Workload] | None:
    """The changes that make a workload fit into `memory` bytes, each as a text, and the changed workload.

    One change if one is enough, else several together. Changes that alter no result come first, then the cheapest.
    None where all of them are not enough.
    """
    for text, changed in _changes(workload):
        if make_plan(changed).peak <= memory:
            return [text], changed
    texts: list[str] = []
    while changes := list(_changes(workload)):
        # The first change that is now enough; if none is, the one that saves most.
        best = min(changes, key=lambda change: make_plan(change[1]).peak)
        text, workload = next((each for each in changes if make_plan(each[1]).peak <= memory), best)
        texts.append(text)
        if make_plan(workload).peak <= memory:
            return texts, workload
    return None


def _changes(workload: Workload) -> Iterator[tuple[str, Workload]]:
    """Every single change that takes less memory, the preferred ones first."""
    if workload.trains_vision and not workload.preset.vision.recompute:
        vision = replace(workload.preset.vision, recompute=True)
        preset = replace(workload.preset, vision=vision)
        yield "recompute vision's activations (--recompute)", replace(workload, preset=preset)
    if workload.stage == "2":
        parts = 2 * workload.accumulate
        while parts * workload.devices <= workload.batch:
            yield f"compute a batch in {parts} parts (--accumulate {parts})", replace(workload, accumulate=parts)
            parts *= 2
    for bits, stored in ((16, "half precision"), (8, "8 bits (`medvqa weights shrink`)")):
        if bits < workload.language_bits:
            yield f"store the language model in {stored}", replace(workload, language_bits=bits)
    if workload.stage == "2" and workload.batch_unit == "images":
        for questions in _FEWER_QUESTIONS:
            if questions < workload.questions:
                text = f"ask {questions} of an image's questions per step (--questions {questions})"
                yield text, replace(workload, questions=questions)
    if workload.stage == "1":  # parts of a batch would change its contrastive loss
        batch = workload.batch // 2
        while batch >= workload.devices:
            text = f"take {batch} {workload.batch_unit[:-1]}{'s' * (batch > 1)} per step (--batch {batch})"
            yield text, replace(workload, batch=batch)
            batch //= 2
    if workload.trains_vision:
        yield "freeze vision (--freeze-vision)", replace(workload, freeze_vision=True)
