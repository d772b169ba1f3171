"""Reading a data set in the organisers' layout: `gt.json` beside `images/<id>.jpg`."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.images import ImageError, index_images
from imageclef_vqa.data.labels import Labels, Oddities, read_labels
from imageclef_vqa.editions import as_set, same_answer
from imageclef_vqa.editions.records import ImageId
from imageclef_vqa.errors import DataError, shortened

IDS_FILE = "test_image_ids.txt"
# The organisers' first; another only where it stands alone. Cameras shout.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
_REMEDY = "fetch these files again from the organisers, or take their records out"


def read_dataset(folder: Path, *, cache: Path | None = None, labelled: bool = True) -> Dataset:
    """Read and check the data set in `folder`; decoded facts about its images are kept in `cache`.

    With `labelled=False` the ids are those of `test_image_ids.txt`, or else of the files in `images/`, and no
    `gt.json` is read.

    Raises:
        DataError: all problems of labels and images together, each with its record and what is wrong.
    """
    images = folder / "images"
    if not images.is_dir():
        raise DataError([f"{images}: there is no such folder"], remedy="unpack the organisers' files there")
    files = [path.name for path in image_files(images)]
    labels = read_labels(folder / "gt.json") if labelled else _unlabelled(images, folder / IDS_FILE, files)
    paths, faults = _image_paths(images, labels)
    rows, damaged = index_images(list(paths.values()), cache)
    ids = list(paths)
    faults.update({ids[at]: fault for at, fault in damaged.items()})
    order = {image_id: number for number, image_id in enumerate(labels.records)}
    source = folder / ("gt.json" if labelled else IDS_FILE)
    problems = labels.problems + [
        f"{source}, image {labels.records[image_id]} ({image_id}): {paths.get(image_id, images / f'{image_id}.jpg')}: "
        f"{faults[image_id]}"
        for image_id in sorted(faults, key=order.__getitem__)
    ]
    if problems:
        raise DataError(shortened(problems), remedy=_REMEDY)
    examples = tuple(
        _example(image_id, path, labels.answers[image_id], row)
        for (image_id, path), row in zip(paths.items(), rows, strict=True)
    )
    _note_strays(files, paths.values(), labels.oddities)
    _note_conflicts(examples, labels.oddities)
    return Dataset(folder, examples, tuple(labels.oddities.lines()), _fingerprint(examples))


def read_test_ids(folder: Path) -> list[str]:
    """The ids of the test images in `folder`, in the order of `test_image_ids.txt` if it is there; no image is read.

    Raises:
        DataError: every entry that is no id.
    """
    labels = _unlabelled(folder / "images", folder / IDS_FILE, [path.name for path in image_files(folder / "images")])
    if labels.problems:
        raise DataError(shortened(labels.problems))
    return list(labels.records)


def image_files(images: Path) -> list[Path]:
    """The pictures in a folder, by name."""
    return sorted(path for path in images.iterdir() if path.suffix in _SUFFIXES and path.name[0] != ".")


def passed_over(images: Path) -> list[str]:
    """What lies in a folder of pictures and is none by its name: other formats, and folders."""
    rest = {path for path in images.iterdir() if path.name[0] != "." and path.name != IDS_FILE}
    return sorted(path.name + "/" * path.is_dir() for path in rest - set(image_files(images)))


def image_file(images: Path, image_id: str) -> Path | None:
    """The picture of an id; None if there is none."""
    there = (images / f"{image_id}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in there if path.is_file()), None)


@dataclass(frozen=True)
class Pictures:
    """Images that want answers, in order: all ids, the images that can be read, and what is wrong with the others."""

    image_ids: tuple[str, ...]
    readable: Dataset
    faults: dict[str, str]


def read_pictures(images: Path, ids: Path, *, cache: Path | None = None) -> Pictures:
    """The pictures in the folder `images` that the file `ids` lists; all of them where there is no such file.

    Raises:
        DataError: there is no such folder, no image, or an id that is none, all of them together.
    """
    if not images.is_dir():
        raise DataError([f"{images}: there is no such folder"])
    files = [path.name for path in image_files(images)]
    labels = _unlabelled(images, ids, files)
    if labels.problems:
        raise DataError(shortened(labels.problems))
    paths, faults = _image_paths(images, labels)
    rows, damaged = index_images(list(paths.values()), cache)
    found = list(paths)
    faults.update({found[at]: fault for at, fault in damaged.items()})
    examples = tuple(
        _example(image_id, path, {}, row)
        for (image_id, path), row in zip(paths.items(), rows, strict=True)
        if image_id not in faults
    )
    told = {
        image_id: f"{paths.get(image_id, images / f'{image_id}.jpg')}: {faults[image_id]}"
        for image_id in labels.records
        if image_id in faults
    }
    return Pictures(tuple(labels.records), Dataset(images, examples, (), _fingerprint(examples)), told)


def _example(image_id: str, path: Path, answers: Mapping[int, tuple[str, ...]], row: Any) -> Example:
    return Example(
        image_id=image_id,
        image=path,
        answers=answers,
        sha256=row["sha256"].decode(),
        width=int(row["width"]),
        height=int(row["height"]),
    )


def _unlabelled(images: Path, source: Path, files: Sequence[str]) -> Labels:
    """The ids of images without answers."""
    try:
        ids = source.read_text(encoding="utf-8-sig").split()
    except FileNotFoundError:
        source, ids = images, [Path(name).stem for name in files]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([f"{source}: cannot be read ({error})"]) from error
    labels, check = Labels({}, [], Oddities(), {}), TypeAdapter(ImageId)
    for number, image_id in enumerate(ids, start=1):
        try:
            check.validate_python(image_id)
        except ValidationError:
            labels.problems.append(
                f"{source}, image {number}: {image_id[:80]!r} is no id: letters, digits, . _ and - alone"
            )
            continue
        if image_id in labels.records:
            labels.problems.append(
                f"{source}, image {number} ({image_id}): the same image is already number {labels.records[image_id]}"
            )
            continue
        labels.records[image_id] = number
        labels.answers[image_id] = {}
    if not ids:
        labels.problems.append(f"{source}: no image there")
    return labels


def _image_paths(images: Path, labels: Labels) -> tuple[dict[str, Path], dict[str, ImageError]]:
    """The file of every image, and why there is none."""
    home = images.resolve()
    paths: dict[str, Path] = {}
    faults: dict[str, ImageError] = {}
    for image_id in labels.records:
        path = image_file(images, image_id)
        if path is None:
            faults[image_id] = ImageError("there is no such file")
        elif path.is_symlink() and not path.resolve().is_relative_to(home):
            faults[image_id] = ImageError("a link that leads out of the folder")
        else:
            paths[image_id] = path
    return paths, faults


def _note_strays(files: Sequence[str], paths: Iterable[Path], oddities: Oddities) -> None:
    for name in sorted(set(files) - {path.name for path in paths}):
        oddities.add("image file that no record names", name)


def _note_conflicts(examples: Sequence[Example], oddities: Oddities) -> None:
    same: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        same[example.sha256].append(example)
    for twins in same.values():
        for one, other in combinations(twins, 2):
            if any(not same_answer(one.answers[q], other.answers[q]) for q in one.answers.keys() & other.answers):
                kind = "pair of byte-identical images with conflicting answers"
                oddities.add(kind, f"{one.image_id} and {other.image_id}")


def _fingerprint(examples: Sequence[Example]) -> str:
    def line(example: Example) -> str:
        answers: Mapping[int, list[str]] = {q: sorted(as_set(example.answers[q])) for q in sorted(example.answers)}
        return json.dumps([example.image_id, example.sha256, answers])

    return hashlib.sha256("\n".join(sorted(map(line, examples))).encode()).hexdigest()
