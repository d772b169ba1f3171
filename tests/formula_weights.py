"""Weights of a convolutional network by a formula in whole numbers, so that PyTorch and Paddle get the same ones."""

import math
import zlib

import numpy as np

# Sides of small images for EfficientNet-Lite 0, 1 and 2: the padding of even and of odd grids differs.
EFFICIENTNET_SIZES = {0: 64, 1: 75, 2: 97}


def spread(name, shape):
    """Pseudo-random float32 numbers from -1 to 1 that depend only on name and shape."""
    indices = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))
    mixed = (indices * np.uint64(2654435761)) % np.uint64(2**32)
    mixed = ((mixed ^ (mixed >> np.uint64(15))) * np.uint64(2246822519)) % np.uint64(2**32)
    return ((mixed >> np.uint64(8)) / 2**23 - 1).astype("float32").reshape(shape)


def weights(shapes):
    """A state dict in PyTorch's names; every tensor differs, and signals keep their size from layer to layer."""
    made = {}
    for name, shape in shapes.items():
        numbers = spread(name, shape)
        if name.endswith("num_batches_tracked"):
            made[name] = np.array(100)
        elif len(shape) > 1:  # variance 2 / fan in (He et al. 2015)
            made[name] = numbers * np.float32(math.sqrt(6 / math.prod(shape[1:])))
        elif name.endswith("running_var"):
            made[name] = 1 + numbers / 2
        elif name.endswith("weight"):
            made[name] = np.float32(0.6) + numbers / 4
        else:
            made[name] = numbers / 5
    return made
