"""AdamW over many processes: gradients are summed and clipped, each process moves its part of the weights (ZeRO-1).

Weights that learn are kept in float32 whatever the precision of the products. Names are those of the model, so that
what is saved does not depend on how many processes there were.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import Tensor

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.training.checkpoint import TrainerState
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe

_FIRST_SCALE, _GROW_AFTER = 2.0**15, 2000  # of the loss in fp16 (Micikevicius et al. 2018, section 3.2)


_KINDS = ("moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc")  # what Paddle's AdamW keeps of a parameter


class Optimiser:
    """The recipe's AdamW for `parameters`, by name; `rates` are factors on the learning rate of some of them."""

    def __init__(
        self, parameters: Mapping[str, Tensor], recipe: Recipe, processes: Processes, rates: Mapping[str, float]
    ) -> None:
        for name, rate in rates.items():
            parameters[name].optimize_attr["learning_rate"] = rate
        self.parameters, self._recipe, self._processes = parameters, recipe, processes
        self._owned = _by_owner(parameters, processes.count)
        self._own = self._owned[processes.rank]
        self._adamw = paddle.optimizer.AdamW(
            recipe.learning_rate, parameters=list(self._own.values()), weight_decay=recipe.weight_decay
        )
        self._average = {name: tensor.clone().detach() for name, tensor in self._own.items()} if recipe.ema else {}
        self._moved: set[str] = set()  # names of parameters that had a gradient, which therefore have moments
        self.scale = _FIRST_SCALE if recipe.precision == "fp16" else 1.0
        self.steps_at_scale = 0

    @paddle.no_grad()
    def step(self, rate: float) -> float:
        """Sum everyone's gradients, clip them, move the weights; returns the gradients' norm before clipping.

        Where the norm is not finite nothing moves.
        """
        moved = {name: tensor for name, tensor in self.parameters.items() if tensor.grad is not None}
        gradients = {name: tensor.grad for name, tensor in moved.items()}
        self._processes.total(list(gradients.values()))
        squares = paddle.add_n([paddle.zeros([]), *(paddle.square(each).sum() for each in gradients.values())])
        norm = math.sqrt(float(squares)) / self.scale
        if math.isfinite(norm):
            self._move(gradients, min(1.0, self._recipe.clip / max(norm, 1e-12)) / self.scale, rate)
        for tensor in moved.values():
            tensor.clear_gradient(set_to_zero=False)
        return norm

    def _move(self, gradients: Mapping[str, Tensor], factor: float, rate: float) -> None:
        """Move the weights by `factor` times these gradients, which are scaled in place: a copy would take as much
        memory as all that learns."""
        if factor != 1.0:
            for gradient in gradients.values():
                gradient.scale_(factor)
        self._moved |= set(gradients)
        self._adamw.set_lr(rate)
        if own := [(tensor, gradients[name]) for name, tensor in self._own.items() if name in gradients]:
            self._adamw.apply_gradients(own)
        for owner, tensors in enumerate(self._owned):
            self._processes.spread(list(tensors.values()), owner)
        for name, average in self._average.items():
            average.lerp_(self._own[name], 1.0 - self._recipe.ema)

    @property
    def rate(self) -> float:
        return float(self._adamw.get_lr())

    def lower_scale(self) -> bool:
        """After gradients that are not finite: try smaller ones in fp16; whether that can help."""
        self.steps_at_scale = 0
        if self.scale <= 1.0:
            return False
        self.scale /= 2
        return True

    def raise_scale(self) -> None:
        """After a step that went well: now and then, use more of the range of fp16."""
        self.steps_at_scale += 1
        if self._recipe.precision == "fp16" and self.steps_at_scale >= _GROW_AFTER:
            self.scale, self.steps_at_scale = self.scale * 2, 0

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the weights are their moving averages, where the recipe asks for them."""
        if not self._recipe.ema:
            yield
            return
        kept = {name: tensor.clone().detach() for name, tensor in self.parameters.items()}
        self._show(self._average)
        try:
            yield
        finally:
            self._show(kept)

    def _show(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._own.items():
            tensor.copy_(values[name], True)
        for owner, tensors in enumerate(self._owned):
            self._processes.spread(list(tensors.values()), owner)

    def take_average(self) -> None:
        """Let the weights be their moving averages for good, where the recipe asks for them."""
        if self._recipe.ema:
            self._show(self._average)

    def state(self, at: TrainerState) -> dict[str, np.ndarray]:
        """Weights, moments and averages of all processes, and the scale in `at`; every process must ask."""
        at.scale, at.steps_at_scale = self.scale, self.steps_at_scale
        kept = {f"model.{name}": tensor.numpy() for name, tensor in self.parameters.items()}
        moments = self._moments()
        for owner, tensors in enumerate(self._owned):
            for name, tensor in tensors.items():
                for kind in _KINDS if name in self._moved else ():
                    shape = [1] if kind.endswith("pow_acc") else tensor.shape
                    kept[f"{kind}.{name}"] = self._from(owner, moments.get((kind, name)), shape)
                if self._recipe.ema:
                    kept[f"ema.{name}"] = self._from(owner, self._average.get(name), tensor.shape)
        return kept

    def load(self, kept: Mapping[str, np.ndarray], at: TrainerState) -> None:
        """Be as when `state` was asked, whatever the number of processes was then.

        Raises:
            MedvqaError: these are not the weights that learn.
        """
        if {f"model.{name}" for name in self.parameters} != {name for name in kept if name.startswith("model.")}:
            raise MedvqaError("the saved state is of another model", remedy="--fresh starts over")
        self.scale, self.steps_at_scale = at.scale, at.steps_at_scale
        for name, tensor in self.parameters.items():
            tensor.set_value(kept[f"model.{name}"])
        self._moved = {name for name in self.parameters if f"moment1.{name}" in kept}
        if own := [(tensor, paddle.zeros_like(tensor)) for name, tensor in self._own.items() if name in self._moved]:
            self._adamw.set_lr(0.0)
            self._adamw.apply_gradients(own)  # Paddle makes moments at the first step: one that moves nothing
            for (kind, name), moment in self._moments().items():
                moment.set_value(kept[f"{kind}.{name}"])
        for name, average in self._average.items():
            average.set_value(kept[f"ema.{name}"])

    def _moments(self) -> dict[tuple[str, str], Tensor]:
        """What AdamW keeps, by kind and the parameter's name; its own names are `<parameter>_<kind>_<number>`."""
        found = {}
        names = {tensor.name: name for name, tensor in self._own.items()}
        for key, value in self._adamw.state_dict().items():
            if match := re.fullmatch(rf"(.+)_({'|'.join(_KINDS)})_\d+", key):
                found[match[2], names[match[1]]] = value
        return found

    def _from(self, owner: int, tensor: Tensor | None, shape: list[int]) -> np.ndarray:
        held = paddle.zeros(shape) if tensor is None else tensor
        self._processes.spread([held], owner)
        return held.numpy()


def _by_owner(parameters: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Who moves which parameters: the largest first, each to whoever has least so far."""
    loads, owners = [0] * count, {}
    for name, tensor in sorted(parameters.items(), key=lambda item: -item[1].size):
        owners[name] = min(range(count), key=loads.__getitem__)
        loads[owners[name]] += tensor.size
    return [{name: each for name, each in parameters.items() if owners[name] == owner} for owner in range(count)]
