"""What a workspace was given rather than made: its data sets and weights, and the split; each read and hashed once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from imageclef_vqa.checkpoints.packaged import weights_file
from imageclef_vqa.data import Dataset, Pictures, read_dataset, read_pictures
from imageclef_vqa.data.reading import list_file
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import read_model, sha256
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.workspace import Workspace

TITLES = {
    "development": "the development set",
    "test": "the test set",
    "split": "the split",
    "weights": "a file of weights",
}


class Sources:
    """The sources of one run; `hashes` holds those of files that another run has read."""

    def __init__(self, workspace: Workspace, hashes: dict[Path, str | None] | None = None) -> None:
        self._workspace = workspace
        self.hashes: dict[Path, str | None] = {} if hashes is None else hashes

    def digest(self, name: str) -> str | None:
        """The content hash of `development`, `test`, `split` or `weights/FILE`; None if it is missing or unusable."""
        kind, _, file = name.partition("/")
        if kind in ("development", "test"):
            try:
                return (self.dataset if kind == "development" else self.pictures.readable).fingerprint
            except MedvqaError:
                return None
        path = self._workspace.split_file if kind == "split" else self._weights(file)
        if path not in self.hashes:  # both stages name the same files of several gigabytes
            self.hashes[path] = sha256(path) if path.is_file() else None
        return self.hashes[path]

    @cached_property
    def dataset(self) -> Dataset:
        """The development set.

        Raises:
            DataError: it cannot be used.
        """
        return read_dataset(self._workspace.development, cache=self._workspace.cache)

    @cached_property
    def pictures(self) -> Pictures:
        """The test images.

        Raises:
            DataError: there are none, or their list cannot be used.
        """
        test = self._workspace.test
        return read_pictures(test / "images", list_file(test), cache=self._workspace.cache)

    def _weights(self, name: str) -> Path:
        return Path("missing") if self._preset is None else weights_file(self._preset, name)

    @cached_property
    def _preset(self) -> Preset | None:
        """The preset of the run's newest stage."""
        from imageclef_vqa.training.config import CONFIG, StageConfig

        for number in (2, 1):
            try:
                path = self._workspace.stage(number) / CONFIG
                return read_model(path, StageConfig).starting_point()
            except MedvqaError:
                continue
        return None
