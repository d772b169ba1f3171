"""Weights of the reference fixtures: numbers that follow from a tensor's name and shape, so that no weights are stored.

Used by the tests and by `tests/fixtures/make_reference.py`, which runs without Paddle.
"""

import zlib

import numpy as np

SKETCHES = 4  # of a gradient with more numbers than this: its products with random vectors
MOST_NUMBERS = 600


def generator(name):
    """NumPy's old generator, whose numbers never change."""
    return np.random.RandomState(zlib.crc32(name.encode()))


def numbers(name, shape, scale=1.0):
    return (generator(name).standard_normal(shape) * scale).astype("float32")


def weight(name, shape):
    """Matrices keep the size of what goes through them, norms are near 1, and nothing is zero."""
    if len(shape) < 2:
        return numbers(name, shape, 0.2) + np.float32(name.endswith(".weight")) + np.float32(name == "temp")
    return numbers(name, shape, 0.7 / np.sqrt(np.prod(shape[1:])))


def weights(shapes):
    return {name: weight(name, tuple(shape)) for name, shape in shapes.items()}


def sketch(name, gradient):
    """What is stored of a gradient: all of it, or its products with a few random vectors of norm 1."""
    flat = np.asarray(gradient, "float64").reshape(-1)
    if flat.size <= MOST_NUMBERS:
        return flat.astype("float32")
    directions = generator(f"{name} direction").standard_normal((SKETCHES, flat.size))
    return (directions @ flat / np.linalg.norm(directions, axis=1)).astype("float32")
