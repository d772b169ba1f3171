"""A device without memory left: said as what was being computed, how much it held, and a plan that would fit."""

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
from imageclef_vqa.planning.plan import PROGRAM, Setting, make_plan, smallest_change

# What Paddle raises: ResourceExhausted for the CPU and for GPUs, and for a plug-in's device C_FAILED, its only word.
_REFUSALS = re.compile(r"ResourceExhausted|Out of memory|CustomDevice error, the error code is : 2\b", re.IGNORECASE)
_OPTION = re.compile(r"--[a-z-]+(?: \d+)?")
# "Cannot allocate 1.46TB memory", "Fail to alloc memory of 40000000000 size".
_ASKED = re.compile(r"(?:Cannot allocate|alloc memory of) ([\d.]+\s*[KMGT]?B?)")
# Which files compute which part, from the root of the package.
_PARTS = {
    "models/vision.py": "vision",
    "models/qformer.py": "the Q-Former",
    "models/representation.py": "stage 1's heads",
    "models/language/": "the language model",
    "training/optimiser.py": "the optimiser",
    "training/loop.py": "the backward pass",
    "models/pretrained.py": "the weights",
    "models/weights/": "the weights",
    "models/expert.py": "ResNet34",
    "training/experts.py": "ResNet34",
    "inference/experts.py": "ResNet34",
}
_PACKAGE = Path(__file__).parents[2]


@contextmanager
def shortage_explained(make_setting: Callable[[], Setting], kept: str) -> Iterator[None]:
    """Within the block, a refusal of memory is an error for the user; `kept` says what of the work is safe.

    Raises:
        MedvqaError: the device had no memory left. It names the part of the model, bytes in use and bytes asked for
            where Paddle says so, the plan of this setting, and the smallest change that fits.
    """

    def plan(room: float) -> tuple[str, str]:
        setting = make_setting()
        return _planned(setting), _remedy(setting, room)

    with _refusals_told(plan, kept):
        yield


@contextmanager
def expert_shortage_explained(planned: float, kept: str) -> Iterator[None]:
    """The same for a ResNet34 expert, which needs about `planned` bytes and has no options that need less.

    Raises:
        MedvqaError: the device had no memory left.
    """
    remedy = "a larger device or --device cpu would do; `medvqa route --expert linear` does without ResNet34"
    with _refusals_told(lambda _: (f"planned are {size_of(planned)}", remedy), kept):
        yield


@contextmanager
def _refusals_told(plan: Callable[[float], tuple[str, str]], kept: str) -> Iterator[None]:
    """`plan` says what was planned and, of the bytes that there turned out to be, what would fit."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if not _REFUSALS.search(str(error)):
            raise
        device, held, asked = devices.device_in_use(), devices.memory_in_use(), _ASKED.search(str(error))
        what = f"{device} has no memory left, in {_part(error.__traceback__)}: {size_of(held)} in use"
        what += f", {asked[1].strip()} asked for" if asked else ""
        # The program lies in the machine's memory, where it is in use as well if that is the device.
        planned, remedy = plan(held + (0 if device == "cpu" else PROGRAM))
        raise MedvqaError(f"{what}\n{planned}", remedy=f"{remedy}\n{kept}") from None


def _part(trace: TracebackType | None) -> str:
    """The part of the model in whose code the innermost call failed."""
    for frame, _ in reversed(list(walk_tb(trace))):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            inside = file.relative_to(_PACKAGE).as_posix()
            for place, name in _PARTS.items():
                if inside.startswith(place):
                    return name
    return "a step"


def _planned(setting: Setting) -> str:
    plan = make_plan(setting)
    held = {name: plan.parts[name] for name in ("weights", "gradients", "optimiser", "activations", "cache")}
    parts = [f"{name} {size_of(number)}" for name, number in held.items() if number]
    return f"planned are {size_of(plan.peak - PROGRAM)}: {', '.join(parts)}"


def _remedy(setting: Setting, room: float) -> str:
    """What would fit into what the device gave before it refused, as options and as the plan that shows them."""
    plan = f"medvqa plan --preset {setting.preset.name} --stage {setting.stage}"
    plan += f" --batch {setting.recipe.batch}" if setting.stage != "predict" else ""
    plan += f" --precision {setting.precision}" if setting.half else ""
    plan += f" --devices {setting.devices}" if setting.devices > 1 else ""
    plan += f" --language-bits {setting.language_bits}"
    if (found := smallest_change(setting, room)) is None:
        return f"no option makes that fit: a smaller preset (`medvqa plan`), or a larger device (`{plan}`)"
    words, fitting = found
    options = "".join(f" {option}" for each in words for option in _OPTION.findall(each))
    return f"{size_of(make_plan(fitting).peak - PROGRAM)} would do: {', '.join(words)}\n`{plan}{options}` shows more"
