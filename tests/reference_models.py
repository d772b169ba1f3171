"""Models and expectations of the reference fixtures (`tests/fixtures/make_reference.py`)."""

import json
from pathlib import Path

import numpy as np
from reference_weights import weights

from imageclef_vqa.checkpoints.layers import load_weights, save_weights
from imageclef_vqa.checkpoints.parts import build_part
from imageclef_vqa.checkpoints.safetensors import open_safetensors
from imageclef_vqa.checkpoints.source import open_source

FIXTURES = Path(__file__).parent / "fixtures"
EXACT, OF_LOGITS = 1e-5, 1e-4


def reference(name):
    """The tensors of a fixture, and what stands beside them."""
    tensors, texts = open_safetensors(FIXTURES / f"{name}.safetensors")
    return {key: tensor.bits() for key, tensor in tensors.items()}, {k: json.loads(v) for k, v in texts.items()}


def source(folder, shapes, config=None, **more):
    """A published checkpoint with the reference weights of these shapes."""
    folder.mkdir(exist_ok=True)
    save_weights(folder / "model.safetensors", weights(shapes) | more)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return open_source(folder)


def part(conversion, name):
    layer = build_part(name, conversion.config)
    absent = [each.removeprefix(f"{name}.") for each in conversion.config.absent]
    load_weights(layer, conversion.parts[name], name, absent=absent)
    layer.eval()
    return layer


def near(mine, theirs, tolerance=EXACT):
    np.testing.assert_allclose(np.asarray(mine), theirs, atol=tolerance, rtol=0)
