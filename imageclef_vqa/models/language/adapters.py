"""Low-rank adapters (LoRA; Hu et al. 2021) on the linear layers of a frozen language model.

The layers stay as they are stored: half precision or 8 bits, mapped. Only A and B are trained, in float32.

n pairs, t tokens, k channels in, l channels out, r the rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.configs import AdapterConfig, LanguageConfig
from imageclef_vqa.models.dropout import drop
from imageclef_vqa.models.language.frozen import FrozenLinear
from imageclef_vqa.models.language.interface import Language

_TENSOR = re.compile(r"(.+)\.lora_[AB]")


class LoRALinear(nn.Layer):
    """x [n, t, k] → base(x) + scale·x·A·B [n, t, l], with A [k, r] and B [r, l]; PaddleNLP's GLM has [t, n, k].

    In training, a pair drops the same channels of x for all its tokens: random numbers then do not depend on padding.
    """

    def __init__(self, base: nn.Linear | FrozenLinear, config: AdapterConfig, pairs_axis: int) -> None:
        super().__init__()
        self.base, self._scale, self._dropout, self._pairs_axis = base, config.scale, config.dropout, pairs_axis
        k, l = base.stored.shape if isinstance(base, FrozenLinear) else base.weight.shape  # noqa: E741
        # Kaiming's uniform distribution with a = √5, and zeros, as in peft: at first, nothing is changed.
        initial = nn.initializer.Uniform(-(k**-0.5), k**-0.5)
        self.lora_A = self.create_parameter([k, config.rank], default_initializer=initial)
        self.lora_B = self.create_parameter([config.rank, l], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x: Tensor) -> Tensor:
        low = paddle.matmul(self._dropped(x), self.lora_A) * self._scale
        return self.base(x) + paddle.matmul(low, self.lora_B)

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training or not self._dropout:
            return x
        mask = drop(paddle.ones([x.shape[self._pairs_axis], 1, x.shape[-1]]), self._dropout)
        return x * (mask if self._pairs_axis == 0 else mask.transpose([1, 0, 2]))


def add_adapters(language: Language, sizes: LanguageConfig, config: AdapterConfig) -> None:
    """Put adapters that change nothing yet on the layers of `language` that `config` targets."""
    patterns = (sizes.attention_layers, sizes.mlp_layers) if config.on_mlp else (sizes.attention_layers,)
    wanted = re.compile(rf"(.+\.)?({'|'.join(patterns)})")
    for path, owner in list(language.model.named_sublayers(include_self=True)):
        for name, child in list(owner.named_children()):
            if isinstance(child, nn.Linear | FrozenLinear) and wanted.fullmatch(f"{path}.{name}"):
                setattr(owner, name, LoRALinear(child, config, language.pairs_axis))


def adapters(language: nn.Layer) -> Iterator[LoRALinear]:
    """The layers with adapters; none where there are no adapters."""
    return (layer for layer in language.sublayers() if isinstance(layer, LoRALinear))


def adapted_layer(name: str) -> str | None:
    """The layer to which the tensor `name` of an adapter belongs; None for other tensors."""
    found = _TENSOR.fullmatch(name)
    return None if found is None else found[1]
