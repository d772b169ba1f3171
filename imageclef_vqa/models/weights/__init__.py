"""Weights in files: safetensors and PyTorch's own, read tensor by tensor, and loaded whole or not at all."""

from imageclef_vqa.models.weights.layers import load_weights, own_tensors, read_metadata, read_weights, save_weights
from imageclef_vqa.models.weights.safetensors import open_safetensors, write_safetensors

__all__ = [
    "load_weights",
    "open_safetensors",
    "own_tensors",
    "read_metadata",
    "read_weights",
    "save_weights",
    "write_safetensors",
]
