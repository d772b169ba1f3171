"""`medvqa weights verify`: convert and run a checkpoint, and compare with what its own library computed.

The folder holds, beside the checkpoint, `expected.safetensors` with inputs and outputs:

BLIP-2 with a T5   pixels, question_ids, question_mask, labels → vision, qformer, projected, logits, loss, greedy_ids
stage 1            pixels, text_ids, text_mask → vision, qformer, itc_image, itc_text, itc_logits_per_image, itm_logits

`labels` are -100 at ignored positions; `greedy_ids` begin with the decoder's start token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from imageclef_vqa.checkpoints.convert import Conversion, plan_conversion
from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.checkpoints.outputs import IGNORED, STAGE1, WITH_LANGUAGE, WITHOUT_LANGUAGE, Outputs
from imageclef_vqa.checkpoints.safetensors import open_safetensors
from imageclef_vqa.checkpoints.source import EXPECTED, open_source
from imageclef_vqa.checkpoints.stored import values
from imageclef_vqa.errors import DataError, MedvqaError

TOLERANCE = 1e-5
TOLERANCE_OF_LOGITS = 1e-4


@dataclass(frozen=True)
class Compared:
    """One expected tensor: the largest absolute difference, and its tolerance."""

    name: str
    shape: tuple[int, ...]
    difference: float  # infinite where the shapes differ
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.difference <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity and no NaN: such a difference is null."""
        difference = self.difference if math.isfinite(self.difference) else None
        return asdict(self) | {"difference": difference, "passed": self.passed}


def verify(path: Path) -> list[Compared]:
    """Convert and run the checkpoint in the folder `path`; one line for each expected output.

    Raises:
        MedvqaError: the checkpoint does not fit its format, or `expected.safetensors` is damaged, lacks inputs, or has
            outputs that such a checkpoint does not give.
    """
    given = {name: values(tensor) for name, tensor in open_safetensors(path / EXPECTED)[0].items()}
    conversion = plan_conversion(open_source(path))
    conversion.check_copies()
    outputs = _outputs(conversion)
    asked = [name for name in outputs if name in given]
    if complaints := [*_wrong_names(given, outputs), *_wrong_inputs(given, conversion.config)]:
        raise DataError([f"{path / EXPECTED}:", *complaints])
    inputs = {name: given[name] for output in asked for name in outputs[output]}
    made = Outputs(conversion, inputs, tokens=given["greedy_ids"].shape[-1] if "greedy_ids" in given else 0)
    with paddle.no_grad():
        return [_compare(name, given[name], getattr(made, name).numpy()) for name in asked]


def _outputs(conversion: Conversion) -> Mapping[str, tuple[str, ...]]:
    """The outputs of such a checkpoint, and the inputs of each.

    Raises:
        MedvqaError: it has no vision part or no Q-Former.
    """
    config = conversion.config
    if config.vision is None or config.qformer is None:
        raise MedvqaError(
            f"{conversion.source.path} ({conversion.format}) is not a BLIP-2; other models are not run",
            remedy="`medvqa weights convert` checks names and shapes of any known format",
        )
    if config.heads:
        return STAGE1
    every = WITH_LANGUAGE if config.language is not None and config.language.encoder_decoder else WITHOUT_LANGUAGE
    return every if config.projection else {name: needs for name, needs in every.items() if name != "projected"}


def _compare(name: str, expected: np.ndarray, ours: np.ndarray) -> Compared:
    tolerance = 0.0 if expected.dtype.kind != "f" else TOLERANCE_OF_LOGITS if "logits" in name else TOLERANCE
    if name == "loss":
        expected = expected.reshape([-1])  # a number, or a list of one
    if ours.shape != expected.shape:
        return Compared(name, expected.shape, float("inf"), tolerance)
    difference = np.abs(ours.astype("float64") - expected.astype("float64")).max(initial=0.0)
    return Compared(name, expected.shape, float(difference), tolerance)


def _wrong_names(given: Mapping[str, np.ndarray], outputs: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    known = set(outputs).union(*outputs.values())
    for name in sorted(set(given) - known):
        yield f"{name}: unknown; the outputs of such a checkpoint are {', '.join(outputs)}"
    if not set(given) & set(outputs):
        yield f"nothing to compare; the outputs of such a checkpoint are {', '.join(outputs)}"
    for name in sorted(known - set(outputs) - set(given)):
        if needing := [output for output in outputs if output in given and name in outputs[output]]:
            yield f"{name}: this input is missing; {', '.join(needing)} need it"


def _wrong_inputs(given: Mapping[str, np.ndarray], config: FolderConfig) -> Iterator[str]:
    """Inputs that do not fit the model."""
    assert config.vision is not None
    assert config.qformer is not None
    size, pixels = config.vision.image_size, given.get("pixels")
    if pixels is not None and (pixels.dtype.kind != "f" or pixels.ndim != 4 or pixels.shape[1:] != (3, size, size)):
        yield f"pixels: {pixels.dtype} {list(pixels.shape)}; the model takes floats [images, 3, {size}, {size}]"
    tokens = config.qformer.vocabulary if config.language is None else config.language.vocab_size
    batches = {name: len(array) for name, array in given.items() if array.ndim}
    for name, array in given.items():
        if name not in ("question_ids", "question_mask", "labels", "text_ids", "text_mask"):
            continue
        if array.dtype.kind not in "iu" or array.ndim != 2:
            yield f"{name}: {array.dtype} {list(array.shape)}; it must be integers [images, tokens]"
        elif array.size and not name.endswith("mask") and not _in_vocabulary(array, name, tokens):
            yield f"{name}: token ids from {array.min()} to {array.max()}; the vocabulary has 0 to {tokens - 1}"
        elif name == "text_ids" and array.shape[1] > config.qformer.positions:
            yield f"{name}: {array.shape[1]} tokens; the Q-Former has {config.qformer.positions} positions"
        elif pixels is not None and batches[name] != len(pixels):
            yield f"{name} are for {batches[name]} images, pixels for {len(pixels)}"


def _in_vocabulary(ids: np.ndarray, name: str, tokens: int) -> bool:
    fitting = (ids >= 0) & (ids < tokens)
    return bool((fitting | (ids == IGNORED) if name == "labels" else fitting).all())
