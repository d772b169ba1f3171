"""Images that the data sets of a workspace share: those of one edition are often those of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imageclef_vqa.data.overlap import shared_pictures
from imageclef_vqa.data.reading import image_files
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.workspace import Workspace

Shared = Mapping[str, Mapping[str, Any]]  # image id → {"image": the same one in the other set, "similarity": 0.6 to 1}


def other_sets(workspace: Workspace) -> Iterator[Path]:
    """Further data sets beside the development and test sets: folders of data/, or in one of these, with `images/`."""
    data, own = workspace.root / "data", {workspace.development.resolve(), workspace.test.resolve()}
    for pattern in ("*/images", "*/*/images"):
        for images in sorted(data.glob(pattern)):
            if images.is_dir() and images.parent.resolve() not in own:
                yield images.parent


def shared_with(workspace: Workspace, images: Mapping[str, Path], folder: Path) -> Shared:
    """The `images`, by id, that are also in the data set in `folder`."""
    ids, theirs = list(images), image_files(folder / "images")
    cache = workspace.cache if workspace.work.is_dir() else None
    shared = shared_pictures(list(images.values()), theirs, cache)
    return {ids[one]: {"image": theirs[other].stem, "similarity": value} for one, (other, value) in shared.items()}


def overlaps_across_sets(workspace: Workspace, development: Mapping[str, Path]) -> dict[str, dict[str, Shared]]:
    """Which images of the `development` set and of the test set are also elsewhere: name of a set → other set → images.

    The test set is compared with the development set where questions are open; `score` does so for closed ones.
    """
    test = {path.stem: path for path in image_files(workspace.test / "images")} if workspace.has_test else {}
    others = list(other_sets(workspace))
    found = {
        workspace.shown(own): {workspace.shown(each): shared_with(workspace, images, each) for each in others}
        for own, images in ((workspace.development, development), (workspace.test, test))
        if images
    }
    if test and edition_of(workspace).open:
        found[workspace.shown(workspace.test)][workspace.shown(workspace.development)] = shared_with(
            workspace, test, workspace.development
        )
    return {own: shared for own, shared in found.items() if shared}
