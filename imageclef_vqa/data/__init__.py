"""Data sets: reading and checking them, splitting them without leaks, decoding their pixels once."""

from typing import TYPE_CHECKING

from imageclef_vqa.on_demand import on_demand

if TYPE_CHECKING:
    from imageclef_vqa.data.dataset import Dataset, Example
    from imageclef_vqa.data.pixels import load_pixels, read_pixels
    from imageclef_vqa.data.reading import Pictures, passed_over, read_dataset, read_pictures
    from imageclef_vqa.data.split import Split, make_split, read_split
else:
    __getattr__ = on_demand(
        __name__,
        {
            "dataset": ("Dataset", "Example"),
            "pixels": ("load_pixels", "read_pixels"),
            "reading": ("Pictures", "passed_over", "read_dataset", "read_pictures"),
            "split": ("Split", "make_split", "read_split"),
        },
    )

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
