"""Data sets: reading and checking them, splitting them without leaks, decoding their pixels once."""

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.make_split import make_split
from imageclef_vqa.data.pixels import load_pixels, read_pixels
from imageclef_vqa.data.reading import Pictures, read_dataset, read_pictures, skipped_files
from imageclef_vqa.data.split import Split, read_split

__all__ = [
    "Dataset",
    "Example",
    "Pictures",
    "Split",
    "load_pixels",
    "make_split",
    "read_dataset",
    "read_pictures",
    "read_pixels",
    "read_split",
    "skipped_files",
]
