"""A .pth file as PyTorch writes it, without PyTorch: a hand-made pickle of protocol 2."""

import io
import struct
import zipfile

import numpy as np


def pickled(tensors):
    out = io.BytesIO()
    out.write(b"\x80\x02}(")
    for key, array in enumerate(tensors.items()):
        name, array = array
        sizes = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in array.shape) + b"t"
        steps = [int(np.prod(array.shape[index + 1 :])) for index in range(array.ndim)]
        strides = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in steps) + b"t"
        out.write(text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n")
        out.write(text(str(key)) + text("cpu") + b"J" + struct.pack("<i", array.size) + b"tQK\x00" + sizes + strides)
        out.write(b"\x89ccollections\nOrderedDict\n)RtR")
    out.write(b"u.")
    return out.getvalue()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def write_pth(path, tensors, content=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(tensors) if content is None else content)
        for key, array in enumerate(tensors.values()):
            archive.writestr(f"archive/data/{key}", np.asarray(array, "<f4").tobytes())
