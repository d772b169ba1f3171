"""Activations by the names that `config.json` gives them (Hugging Face's `ACT2FN`)."""

from __future__ import annotations

from collections.abc import Callable

from paddle import Tensor
from paddle.nn import functional as F


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of the GELU (Hendrycks and Gimpel 2016, section 2)."""
    return x * F.sigmoid(1.702 * x)


def tanh_gelu(x: Tensor) -> Tensor:
    """The tanh approximation of the GELU, as in the original code of BERT and T5."""
    return F.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_python": F.gelu,
    "gelu_new": tanh_gelu,
    "gelu_fast": tanh_gelu,
    "gelu_accurate": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "gelu_python_tanh": tanh_gelu,
    "gelu_tanh": tanh_gelu,  # timm's name
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "linear": lambda x: x,
}
