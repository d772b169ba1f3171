"""Reading a data set: `gt.json` (closed questions) or `qa.jsonl` (open ones) beside `images/<id>.jpg`."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePath

from pydantic import TypeAdapter, ValidationError

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.images import index_images
from imageclef_vqa.data.labels import Labels, Oddities, read_labels
from imageclef_vqa.data.qa import QA_FILE, has_answers, read_qa
from imageclef_vqa.editions import as_set, same_answer
from imageclef_vqa.editions.records import ImageId
from imageclef_vqa.errors import DataError, MissingFileError, shortened
from imageclef_vqa.inputs import read_text

GT_FILE = "gt.json"
IDS_FILE = "test_image_ids.txt"
_SUFFIXES = (".jpg", ".jpeg", ".png")  # in order of preference, in any case: cameras write upper-case extensions
_NAMES = "rename these files: the name without its extension is the id of the image"
_REMEDY = "download these files again from the organisers, or remove their records"


def read_dataset(folder: Path, *, cache: Path | None = None, labelled: bool = True) -> Dataset:
    """Read and check the data set in `folder`; the image index is kept in `cache`.

    With `labelled=False`, no answers are read: the ids are those of `test_image_ids.txt` or, without that file, of the
    files in `images/`; a `qa.jsonl` gives its questions.

    Raises:
        DataError: all problems of labels and images together, each with its record.
    """
    images = folder / "images"
    files = image_files(images)
    source = label_file(folder) if labelled else list_file(folder)
    labels = read_labels(source) if source.name == GT_FILE else _read_list(images, source, files, labelled=labelled)
    examples, faults = _read_images(images, labels, cache)
    problems = labels.problems + [
        f"{source}, image {labels.records[image_id]} ({image_id}): {fault}" for image_id, fault in faults.items()
    ]
    if problems:
        raise DataError(shortened(problems), remedy=_remedy(images, bool(examples), source.exists()))
    _note_files_without_record(files, examples, labels.oddities)
    _note_conflicts(examples, labels.oddities)
    return Dataset(folder, examples, tuple(labels.oddities.lines()), dataset_fingerprint(examples))


def label_file(folder: Path) -> Path:
    """`gt.json`, or `qa.jsonl` where the data bring open questions along.

    Raises:
        DataError: the folder has both.
    """
    closed, open_ = folder / GT_FILE, folder / QA_FILE
    if closed.exists() and open_.exists():
        problem = f"{folder}: {GT_FILE} asks the closed questions and {QA_FILE} open ones"
        raise DataError([problem], remedy="keep one of them: an edition has one kind of questions")
    return open_ if open_.exists() else closed


def list_file(folder: Path) -> Path:
    """The list of a test set's images: `qa.jsonl`, or `test_image_ids.txt`, which may not exist."""
    return folder / QA_FILE if (folder / QA_FILE).exists() else folder / IDS_FILE


def has_gold(folder: Path) -> bool:
    """Whether a data set has gold answers."""
    return (folder / GT_FILE).exists() or has_answers(folder / QA_FILE)


def read_test_ids(folder: Path) -> list[str]:
    """The ids of the test images in `folder`, in the order of `list_file` if it exists. Images are not read.

    Raises:
        DataError: every entry that is no id.
    """
    images = folder / "images"
    labels = _read_list(images, list_file(folder), image_files(images))
    if labels.problems:
        raise DataError(shortened(labels.problems))
    return list(labels.records)


def image_files(images: Path) -> list[Path]:
    """The image files in a folder, by extension, sorted by name.

    Raises:
        DataError: there is no such folder.
    """
    if not images.is_dir():
        raise DataError([f"{images}: there is no such folder"], remedy="unpack the organisers' files there")
    return sorted(path for path in images.iterdir() if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")


def skipped_files(images: Path) -> list[str]:
    """What else is in a folder of images: files with other extensions, and folders."""
    rest = {path for path in images.iterdir() if path.name[0] != "." and path.name not in (IDS_FILE, QA_FILE)}
    return sorted(path.name + "/" * path.is_dir() for path in rest - set(image_files(images)))


def images_by_id(images: Path) -> dict[str, Path]:
    """Image id → its file; of several, the organisers' .jpg.

    Raises:
        DataError: there is no such folder.
    """
    files = sorted(image_files(images), key=lambda path: -_SUFFIXES.index(path.suffix.lower()))
    return {path.stem: path for path in files}


def _remedy(images: Path, found: bool, listed: bool) -> str:
    """What to do about problems in a data set, of whose images some were `found` and which may be `listed`."""
    deeper = (path.parent for path in sorted(images.glob("*/*")) if path.suffix.lower() in _SUFFIXES)
    if not found and (folder := next(deeper, None)):
        return f"there are pictures in {folder}: move them to {images}"
    return _REMEDY if listed else _NAMES


@dataclass(frozen=True)
class Pictures:
    """Images without labels, in order.

    Attributes:
        image_ids: all ids.
        readable: the images that can be read.
        faults: image id → what is wrong, for the others.
    """

    image_ids: tuple[str, ...]
    readable: Dataset
    faults: dict[str, str]


def read_pictures(images: Path, ids: Path, *, cache: Path | None = None) -> Pictures:
    """The images in the folder `images` that `ids` lists, a text file or a `qa.jsonl`; all if there is no such file.

    Raises:
        DataError: there is no such folder or no image, or the file lists something that is no id.
    """
    files = image_files(images)
    labels = _read_list(images, ids, files)
    if labels.problems:
        raise DataError(shortened(labels.problems), remedy=_remedy(images, bool(files), ids.exists()))
    examples, faults = _read_images(images, labels, cache)
    return Pictures(tuple(labels.records), Dataset(images, examples, (), dataset_fingerprint(examples)), faults)


def _read_images(images: Path, labels: Labels, cache: Path | None) -> tuple[tuple[Example, ...], dict[str, str]]:
    """The images that can be read, with their answers, and image id → what is wrong, both in the order of `labels`."""
    paths, faults = _image_paths(images, labels)
    rows, damaged = index_images(list(paths.values()), cache)
    examples = []
    for index, (image_id, path) in enumerate(paths.items()):
        if index in damaged:
            faults[image_id] = f"{path}: {damaged[index]}"
            continue
        row = rows[index]
        sha256, size = row["sha256"].decode(), (int(row["width"]), int(row["height"]))
        questions = labels.questions.get(image_id, {})
        examples.append(Example(image_id, path, labels.answers[image_id], sha256, *size, questions))
    return tuple(examples), {image_id: faults[image_id] for image_id in labels.records if image_id in faults}


def _image_paths(images: Path, labels: Labels) -> tuple[dict[str, Path], dict[str, str]]:
    """The file of every image, and image id → why there is none."""
    folder, files = images.resolve(), images_by_id(images)
    others = {path.stem: path.name for path in images.iterdir()}
    paths: dict[str, Path] = {}
    faults: dict[str, str] = {}
    for image_id in labels.records:
        path, plain = files.get(image_id), PurePath(image_id).stem
        if path is None:
            file = f"{images / image_id}.jpg"
            why = f"; {others[image_id]} is no .jpg or .png" if image_id in others else ""
            why = f"; an id has no extension: {plain}" if plain != image_id and plain in files else why
            faults[image_id] = f"{file}: there is no such file{why}"
        elif path.is_symlink() and not path.resolve().is_relative_to(folder):
            faults[image_id] = f"{path}: a link that leads out of the folder"
        else:
            paths[image_id] = path
    return paths, faults


def _read_list(images: Path, source: Path, files: Sequence[Path], *, labelled: bool = False) -> Labels:
    """The images to answer: with the questions of a `qa.jsonl`, or those of a list of ids."""
    return read_qa(source, labelled=labelled) if source.suffix == ".jsonl" else _read_ids(images, source, files)


def _read_ids(images: Path, source: Path, files: Sequence[Path]) -> Labels:
    """The ids of images without answers: those in `source` or, without that file, those of `files`."""
    try:
        ids = read_text(source).split()
    except MissingFileError:
        source, ids = images, [path.stem for path in files]
    labels, check = Labels({}, [], Oddities(), {}), TypeAdapter(ImageId)
    for number, image_id in enumerate(ids, start=1):
        try:
            check.validate_python(image_id)
        except ValidationError:
            fault = f"{image_id[:80]!r} is no id; an id has only letters, digits, and . _ -"
            labels.problems.append(f"{source}, image {number}: {fault}")
            continue
        if image_id in labels.records:
            fault = f"the same image is already number {labels.records[image_id]}"
            labels.problems.append(f"{source}, image {number} ({image_id}): {fault}")
            continue
        labels.records[image_id] = number
        labels.answers[image_id] = {}
    if not ids:
        labels.problems.append(f"{source}: no image there")
    return labels


def _note_files_without_record(files: Iterable[Path], examples: Iterable[Example], oddities: Oddities) -> None:
    for name in sorted({path.name for path in files} - {example.image.name for example in examples}):
        oddities.add("image file without a record", name)


def _note_conflicts(examples: Sequence[Example], oddities: Oddities) -> None:
    same_bytes: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        same_bytes[example.sha256].append(example)
    for copies in same_bytes.values():
        for one, other in combinations(copies, 2):
            if any(not same_answer(one.answers[q], other.answers[q]) for q in one.answers.keys() & other.answers):
                kind = "pair of byte-identical images with conflicting answers"
                oddities.add(kind, f"{one.image_id} and {other.image_id}")


def dataset_fingerprint(examples: Sequence[Example]) -> str:
    """A hash of ids, answers, questions and image bytes, for `Dataset.fingerprint`."""

    def line(example: Example) -> str:
        answers: Mapping[int, list[str]] = {q: sorted(as_set(example.answers[q])) for q in sorted(example.answers)}
        asked = [{row: [each.text, each.complexity, each.classes] for row, each in sorted(example.questions.items())}]
        return json.dumps([example.image_id, example.sha256, answers, *(asked if example.questions else [])])

    return hashlib.sha256("\n".join(sorted(map(line, examples))).encode()).hexdigest()
