"""AdamW over several processes: gradients are summed and clipped, each process updates its part of the weights (ZeRO-1,
Rajbhandari et al. 2020).

Trainable weights are float32 whatever the precision of the matrix products. The saved state uses the model's names, so
it does not depend on the number of processes.
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
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.state import TrainerState

# The loss scale in fp16 (Micikevicius et al. 2018, section 3.2), and the steps after which it is doubled.
_FIRST_SCALE, _GROW_AFTER = 2.0**15, 2000
_KINDS = ("moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc")  # the state of Paddle's AdamW per parameter


class Optimiser:
    """The recipe's AdamW for `parameters` (by name); `rates` are factors on the learning rate of some of them."""

    def __init__(
        self, parameters: Mapping[str, Tensor], recipe: Recipe, processes: Processes, rates: Mapping[str, float]
    ) -> None:
        for name, rate in rates.items():
            parameters[name].optimize_attr["learning_rate"] = rate
        self.parameters, self._recipe, self._processes = parameters, recipe, processes
        self._owned = _by_owner(parameters, processes.count)
        self._own = self._owned[processes.rank]
        decayed = {tensor.name for name, tensor in self._own.items() if decays(name, tensor)}
        self._adamw = paddle.optimizer.AdamW(
            recipe.learning_rate,
            parameters=list(self._own.values()),
            weight_decay=recipe.weight_decay,
            apply_decay_param_fun=decayed.__contains__,
        )
        self._average = {name: tensor.clone().detach() for name, tensor in self._own.items()} if recipe.ema else {}
        self._moved: set[str] = set()  # parameters that have had a gradient: only these have moments
        self.scale = _FIRST_SCALE if recipe.precision == "fp16" else 1.0
        self.steps_at_scale = 0

    @paddle.no_grad()
    def step(self, rate: float) -> float:
        """Sum the gradients over all processes, clip them, update the weights; returns the norm before clipping.

        Nothing is updated if the norm is not finite.
        """
        moved = {name: tensor for name, tensor in self.parameters.items() if tensor.grad is not None}
        gradients = {name: tensor.grad for name, tensor in moved.items()}
        self._processes.all_reduce(list(gradients.values()))
        squares = paddle.add_n([paddle.zeros([]), *(paddle.square(each).sum() for each in gradients.values())])
        norm = math.sqrt(float(squares)) / self.scale
        if math.isfinite(norm):
            clip = self._recipe.clip
            self._update(gradients, (min(1.0, clip / max(norm, 1e-12)) if clip else 1.0) / self.scale, rate)
        for tensor in moved.values():
            tensor.clear_gradient(set_to_zero=False)
        return norm

    def _update(self, gradients: Mapping[str, Tensor], factor: float, rate: float) -> None:
        """Update the weights with `factor` times these gradients.

        They are scaled in place: a copy would take as much memory as all trainable weights.
        """
        if factor != 1.0:
            for gradient in gradients.values():
                gradient.scale_(factor)
        self._moved |= set(gradients)
        self._adamw.set_lr(rate)
        if own := [(tensor, gradients[name]) for name, tensor in self._own.items() if name in gradients]:
            self._adamw.apply_gradients(own)
        for owner, tensors in enumerate(self._owned):
            self._processes.broadcast(list(tensors.values()), owner)
        for name, average in self._average.items():
            average.lerp_(self._own[name], 1.0 - self._recipe.ema)

    @property
    def rate(self) -> float:
        return float(self._adamw.get_lr())

    def lower_scale(self) -> bool:
        """Halve the loss scale after gradients that are not finite; returns False where there is no scale to halve."""
        self.steps_at_scale = 0
        if self.scale <= 1.0:
            return False
        self.scale /= 2
        return True

    def raise_scale(self) -> None:
        """Count a finite step; after 2000 in a row, double the loss scale in fp16."""
        self.steps_at_scale += 1
        if self._recipe.precision == "fp16" and self.steps_at_scale >= _GROW_AFTER:
            self.scale, self.steps_at_scale = self.scale * 2, 0

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block, the weights are their moving averages if the recipe has `ema`."""
        if not self._recipe.ema:
            yield
            return
        kept = {name: tensor.clone().detach() for name, tensor in self.parameters.items()}
        self._set(self._average)
        try:
            yield
        finally:
            self._set(kept)

    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._own.items():
            tensor.copy_(values[name], True)
        for owner, tensors in enumerate(self._owned):
            self._processes.broadcast(list(tensors.values()), owner)

    def take_average(self) -> None:
        """Set the weights to their moving averages if the recipe has `ema`."""
        if self._recipe.ema:
            self._set(self._average)

    def state(self, state: TrainerState) -> dict[str, np.ndarray]:
        """Weights, moments and averages of all processes; the loss scale is stored in `state`.

        A collective call: every process must make it.
        """
        state.scale, state.steps_at_scale = self.scale, self.steps_at_scale
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

    def load(self, kept: Mapping[str, np.ndarray], state: TrainerState) -> None:
        """Restore what `state` returned, for any number of processes.

        Raises:
            MedvqaError: the tensors are not those of the trainable parameters.
        """
        if {f"model.{name}" for name in self.parameters} != {name for name in kept if name.startswith("model.")}:
            raise MedvqaError("the saved state belongs to another model", remedy="--fresh starts over")
        self.scale, self.steps_at_scale = state.scale, state.steps_at_scale
        for name, tensor in self.parameters.items():
            tensor.set_value(kept[f"model.{name}"])
        self._moved = {name for name in self.parameters if f"moment1.{name}" in kept}
        if own := [(tensor, paddle.zeros_like(tensor)) for name, tensor in self._own.items() if name in self._moved]:
            self._adamw.set_lr(0.0)
            self._adamw.apply_gradients(own)  # Paddle creates moments at the first step: this one has rate 0
            for (kind, name), moment in self._moments().items():
                moment.set_value(kept[f"{kind}.{name}"])
        for name, average in self._average.items():
            average.set_value(kept[f"ema.{name}"])

    def _moments(self) -> dict[tuple[str, str], Tensor]:
        """AdamW's state by kind and name; Paddle calls it `<parameter>_<kind>_<number>`."""
        found = {}
        names = {tensor.name: name for name, tensor in self._own.items()}
        for key, value in self._adamw.state_dict().items():
            if match := re.fullmatch(rf"(.+)_({'|'.join(_KINDS)})_\d+", key):
                found[match[2], names[match[1]]] = value
        return found

    def _from(self, owner: int, tensor: Tensor | None, shape: list[int]) -> np.ndarray:
        held = paddle.zeros(shape) if tensor is None else tensor
        self._processes.broadcast([held], owner)
        return held.numpy()


def decays(name: str, tensor: Tensor) -> bool:
    """Whether weight decay reaches a parameter: not biases and other vectors, such as the weights of norms (LAVIS,
    `Blip2Base.get_optimizer_params`).

    LAVIS's temperature is a number and decays there. Ours is not the temperature but a logarithm, in a vector.
    """
    return tensor.ndim != 1 and not name.endswith(".bias")


def _by_owner(parameters: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """The parameters of each process: the largest first, each to the process with the fewest numbers so far."""
    loads, owners = [0] * count, {}
    for name, tensor in sorted(parameters.items(), key=lambda item: -item[1].size):
        owners[name] = min(range(count), key=loads.__getitem__)
        loads[owners[name]] += tensor.size
    return [{name: each for name, each in parameters.items() if owners[name] == owner} for owner in range(count)]
