"""A table of names for each family of Vision Transformers, whatever its publisher.

Their last layer is left out: BLIP-2 reads its input (section 3.4). What follows that layer is dropped, and the norm
that BLIP-2 puts there (LAVIS: `ln_vision`) starts as the identity. LayerScale (Touvron et al. 2021) is multiplied into
the layer before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from imageclef_vqa.checkpoints.formats.rules import How, Rule, dropped, keep, linear, norm
from imageclef_vqa.checkpoints.stored import narrowed, widened

NEW_NORM = dict.fromkeys(
    ("vision.norm.weight", "vision.norm.bias"), "BLIP-2's own norm of the features, which starts as the identity"
)
_LAST = "BLIP-2 reads what enters the last layer"
AFTER = "follows the last layer, whose output BLIP-2 does not read"


@dataclass(frozen=True)
class Names:
    """The names of a family's tensors, without the number of a layer; a source may lack some."""

    stem: str
    class_tokens: tuple[str, ...]  # the class token, and a second one that distillation trains
    positions: str
    layer: str
    qkv: tuple[str, ...]  # one fused layer, or queries, keys and values
    out: str
    mlp: tuple[str, str]
    norms: tuple[str, str]
    scales: tuple[str, str] | None = None  # LayerScale's factors
    first_norm: str | None = None
    registers: str | None = None  # tokens after the class token
    hows: Mapping[str, How] = field(default_factory=dict)  # of class token and positions, where they have no batch axis
    dropped: Mapping[str, str] = field(default_factory=dict)  # patterns → reasons

    def rules(self, layers: int) -> tuple[Rule, ...]:
        """The table of a source with this many layers."""
        layer, ours = f"{self.layer}.#", "vision.layers.#"
        first, second = self.scales or (None, None)
        tokens = self.class_tokens + ((self.registers,) if self.registers else ())
        return (
            dropped(f"{self.layer}.{layers - 1}.*", _LAST),
            *([Rule(tokens, "vision.class_token", self.hows.get("class_token", _side_by_side))] if tokens else []),
            Rule(self.positions, "vision.positions", self.hows.get("positions", keep)),
            *norm(self.stem, "vision.stem"),
            *(norm(self.first_norm, "vision.patch_norm") if self.first_norm else ()),
            *norm(f"{layer}.{self.norms[0]}", f"{ours}.attention_norm"),
            Rule(tuple(f"{layer}.{name}.weight" for name in self.qkv), f"{ours}.qkv.weight", _joined_weights),
            Rule(tuple(f"{layer}.{name}.bias" for name in self.qkv), f"{ours}.qkv.bias", _joined),
            *_scaled(f"{layer}.{self.out}", first and f"{layer}.{first}", f"{ours}.attention_out"),
            *norm(f"{layer}.{self.norms[1]}", f"{ours}.mlp_norm"),
            *_scaled(f"{layer}.{self.mlp[0]}", None, f"{ours}.mlp_in"),
            *_scaled(f"{layer}.{self.mlp[1]}", second and f"{layer}.{second}", f"{ours}.mlp_out"),
            *(dropped(name, reason) for name, reason in self.dropped.items()),
        )


def _joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def _side_by_side(*tokens: np.ndarray) -> np.ndarray:
    """[1, k, d] each → [1, all k, d]."""
    return np.concatenate(tokens, axis=1)


def without_positions(first: int, number: int) -> How:
    """Zeros for `number` tokens after the `first`, for positions [1, t, d] that leave these tokens out."""

    def widen(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x[:, :first], np.zeros((1, number, x.shape[2]), x.dtype), x[:, first:]], axis=1)

    return widen


def _joined_weights(*parts: np.ndarray) -> np.ndarray:
    """[out, in] each → [in, all outs]."""
    return np.concatenate(parts).T


def _scaled(old: str, scale: str | None, new: str) -> tuple[Rule, ...]:
    """A linear layer; `scale` names a factor on each of its outputs."""
    if scale is None:
        return linear(old, new)
    return (
        Rule((f"{old}.weight", scale), f"{new}.weight", lambda weight, factor: _product(weight.T, factor)),
        Rule((f"{old}.bias", scale), f"{new}.bias", _product),
    )


def _product(x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """x·factor in the type of x."""
    if x.dtype != np.uint16:
        return x * factor.astype(x.dtype)
    return narrowed(widened(x, "BF16") * widened(factor, "BF16"), "BF16")


MASK = "only pretraining masks patches"
