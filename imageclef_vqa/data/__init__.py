"""Data sets: reading and checking them, splitting them without leaks, decoding their pixels once.

A name is imported when it is first asked for (PEP 562): who reads labels alone need not wait for what reads pictures.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imageclef_vqa.data.dataset import Dataset, Example
    from imageclef_vqa.data.pixels import load_pixels, read_pixels
    from imageclef_vqa.data.reading import Pictures, passed_over, read_dataset, read_pictures
    from imageclef_vqa.data.split import Split, make_split, read_split
else:
    _HOMES = {
        "dataset": ("Dataset", "Example"),
        "pixels": ("load_pixels", "read_pixels"),
        "reading": ("Pictures", "passed_over", "read_dataset", "read_pictures"),
        "split": ("Split", "make_split", "read_split"),
    }

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Dataset",
    "Example",
    "Pictures",
    "Split",
    "load_pixels",
    "make_split",
    "passed_over",
    "read_dataset",
    "read_pictures",
    "read_pixels",
    "read_split",
]
