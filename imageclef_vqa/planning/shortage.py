"""A device that ran out of memory: what was computed, how much was in use, and which options would fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

from imageclef_vqa import devices
from imageclef_vqa.environment import size_of
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.planning.changes import smallest_change
from imageclef_vqa.planning.plan import PROGRAM, make_plan
from imageclef_vqa.planning.workload import Workload

# What Paddle raises: ResourceExhausted for the CPU and for GPUs, C_FAILED for a plug-in's device.
_OUT_OF_MEMORY = re.compile(
    r"ResourceExhausted|Out of memory|CustomDevice error, the error code is : 2\b", re.IGNORECASE
)
_OPTION = re.compile(r"--[a-z-]+(?: \d+)?")
# "Cannot allocate 1.46TB memory", "Fail to alloc memory of 40000000000 size".
_REQUESTED = re.compile(r"(?:Cannot allocate|alloc memory of) ([\d.]+\s*[KMGT]?B?)")
# Files from the root of the package, and the part of the model that they compute.
_PARTS = {
    "models/vision.py": "vision",
    "models/qformer.py": "the Q-Former",
    "models/pretraining_heads.py": "stage 1's heads",
    "models/language/": "the language model",
    "training/stage1.py": "stage 1's losses",
    "training/stage2.py": "stage 2's losses",
    "training/optimiser.py": "the optimiser",
    "training/loop.py": "the backward pass",
    "checkpoints/": "the weights",
    "models/resnet34.py": "ResNet34",
    "experts/": "ResNet34",
}
_PACKAGE = Path(__file__).parents[1]


@contextmanager
def shortage_explained(make_workload: Callable[[], Workload], kept: str) -> Iterator[None]:
    """Turn a failed allocation within the block into an error for the user; `kept` says which work is safe.

    Raises:
        MedvqaError: the device had no memory left. The message names the part of the model, the bytes in use and
            requested where Paddle reports them, the plan of this workload, and the smallest change that fits.
    """

    def plan(memory: float) -> tuple[str, str]:
        workload = make_workload()
        return _planned(workload), _remedy(workload, memory)

    with _explained(plan, kept):
        yield


@contextmanager
def expert_shortage_explained(planned: float, kept: str) -> Iterator[None]:
    """The same for a ResNet34 expert, which needs about `planned` bytes and has no options that need less.

    Raises:
        MedvqaError: the device had no memory left.
    """
    remedy = "use a larger device or --device cpu; `medvqa route --expert classical` does without ResNet34"
    with _explained(lambda _: (f"planned: {size_of(planned)}", remedy), kept):
        yield


@contextmanager
def _explained(plan: Callable[[float], tuple[str, str]], kept: str) -> Iterator[None]:
    """`plan` takes the bytes that the device turned out to have; it returns what was planned and what would fit."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if not _OUT_OF_MEMORY.search(str(error)):
            raise
        device, used, requested = devices.device_in_use(), devices.memory_in_use(), _REQUESTED.search(str(error))
        what = f"{device} has no memory left, in {_part(error.__traceback__)}: {size_of(used)} in use"
        what += f", {requested[1].strip()} requested" if requested else ""
        # The program is in the machine's memory; on the CPU, it is part of what is in use.
        planned, remedy = plan(used + (0 if device == "cpu" else PROGRAM))
        raise MedvqaError(f"{what}\n{planned}", remedy=f"{remedy}\n{kept}") from None


def _part(trace: TracebackType | None) -> str:
    """The part of the model whose code made the innermost call that failed."""
    for frame, _ in reversed(list(walk_tb(trace))):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            inside = file.relative_to(_PACKAGE).as_posix()
            for prefix, name in _PARTS.items():
                if inside.startswith(prefix):
                    return name
    return "a step"


def _planned(workload: Workload) -> str:
    plan = make_plan(workload)
    sizes = {name: plan.parts[name] for name in ("weights", "gradients", "optimiser", "activations", "cache")}
    parts = [f"{name} {size_of(size)}" for name, size in sizes.items() if size]
    of = "" if workload.predicts else f" for stage {workload.stage} of {workload.preset.name}"
    return f"planned{of}: {size_of(plan.peak - PROGRAM)} ({', '.join(parts)})"


def _remedy(workload: Workload, memory: float) -> str:
    """What would fit into the memory that the device has, as options and as the plan that shows them."""
    plan = f"medvqa plan --preset {workload.preset.name} --stage {workload.stage}"
    plan += "" if workload.predicts else f" --batch {workload.batch}"
    plan += f" --questions {workload.questions}" if workload.stage == "2" else ""
    plan += " --batch-unit pairs" if workload.batch_unit == "pairs" else ""
    plan += f" --precision {workload.precision}" if workload.half else ""
    plan += f" --devices {workload.devices}" if workload.devices > 1 else ""
    plan += f" --language-bits {workload.language_bits}"
    if workload.adapters is not None:
        plan += f" --lora-rank {workload.adapters.rank} --lora-targets {workload.adapters.targets}"
    if (found := smallest_change(workload, memory)) is None:
        return f"no option makes it fit: use a smaller preset (`medvqa plan`) or a larger device (`{plan}`)"
    texts, fitting = found
    options = "".join(f" {option}" for text in texts for option in _OPTION.findall(text))
    needed = size_of(make_plan(fitting).peak - PROGRAM)
    return f"{', '.join(texts)}: this needs {needed}\n`{plan}{options}` shows the details"
