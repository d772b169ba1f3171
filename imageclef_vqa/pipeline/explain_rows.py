"""`medvqa explain --task 2`: the explanations of the answers to the challenge's rows, as the lines that it takes.

The organisers take the rows of complexity 1 of the test set, shuffle them as `datasets` does, and keep the first ones;
`val_id` counts these. What is finished is kept image by image, so that a stopped call goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imageclef_vqa.data import Example
from imageclef_vqa.data.pixels import read_picture
from imageclef_vqa.data.reading import read_pictures
from imageclef_vqa.editions import Edition, find_edition
from imageclef_vqa.errors import (
    DamagedFileError,
    DataError,
    FileError,
    MedvqaError,
    MissingFileError,
    UsageError,
    shortened,
)
from imageclef_vqa.explanations import METHODS
from imageclef_vqa.explanations.explanation import check_method
from imageclef_vqa.explanations.picture import draw_over, place_of_peak, png, region_box
from imageclef_vqa.explanations.statements import Statement
from imageclef_vqa.files import atomic_write, check_output, json_text, write_text
from imageclef_vqa.inputs import parse_json, read_bytes, read_text, sha256
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.pipeline.open_reference import sample_of
from imageclef_vqa.progress import track
from imageclef_vqa.submission import Finding, error, errors_in, warning
from imageclef_vqa.submission.explanations import LARGEST, Asked, check_explanations, explanation_lines
from imageclef_vqa.workspace import OPEN_EDITION, Workspace

if TYPE_CHECKING:
    from PIL import Image

    from imageclef_vqa.explanations.explanation import Explanation

_VISUALS = "visuals"  # the folder beside the lines, as the organisers name it
_SIDE, _COLOURS = 384, 64  # of a picture: 1,500 of them have to be uploaded


@dataclass(frozen=True)
class Row:
    """A row that is asked: its `val_id`, its image and its question."""

    val_id: int
    example: Example
    question: str


@dataclass(frozen=True)
class ExplainedRows:
    """The file of lines, how many it has, how many images they are about, and what was found in it."""

    file: Path
    rows: int
    images: int
    findings: tuple[Finding, ...]


def explain_rows(
    rows: str | Path,
    out: str | Path,
    *,
    method: str = METHODS[0],
    workspace: str | Path = ".",
    run: str | Sequence[str] = "main",
    answers: str | None = None,
    device: str = "auto",
    notify: Callable[[str], None] = lambda message: None,
) -> ExplainedRows:
    """Write the lines of task 2 for the file `rows`, and the pictures that they name into `visuals/` beside them.

    Args:
        rows: the test rows in their original order, a qa.jsonl with `images/` beside it.
        out: a .jsonl; it is written when all is done and the checks found no error.

    Raises:
        UsageError: the run answers closed questions; `out` is no .jsonl.
        DataError: `rows` or a picture cannot be used.
        MissingStepError: the run has no finished stage 2.
        MedvqaError: the lines have an error.
    """
    from imageclef_vqa.pipeline.ask import load_model

    check_method(method)
    source, target, at = Path(rows), Path(out), Workspace.at(workspace)
    if target.suffix != ".jsonl":
        raise UsageError(f"--out {out}: the lines of task 2 are written as .jsonl")
    check_output(target)
    if not edition_of(at).open:
        raise UsageError("task 2 explains the answers to open questions, and this workspace has closed ones")
    asked = read_asked(source, open_edition(at), at.cache)
    model = load_model(workspace, run, answers=answers, device=device, notify=notify)
    unfinished = target.with_name(f".{target.name}.unfinished")
    _start(unfinished, f"{model.digest}\n{sha256(source)}\n{method}\n{answers}")
    of_image: dict[str, list[Row]] = {}
    for row in asked:
        of_image.setdefault(row.example.image_id, []).append(row)
    lines: list[dict[str, Any]] = []
    for image_id, own in track(of_image.items(), "explain", len(of_image)):
        done = unfinished / f"{image_id}.json"
        kept = _kept(done, own, target.parent)
        if kept is None:
            found = model.explain_all(own[0].example.image, [row.question for row in own], method)
            kept = [_line(row, each, target.parent) for row, each in zip(own, found, strict=True)]
            write_text(done, json_text(kept, indent=None))
        lines += kept
    content = explanation_lines(sorted(lines, key=lambda line: line["val_id"]))
    findings = check_rows(content, target.parent, asked, open_edition(at))
    if errors_in(findings):
        raise MedvqaError("\n".join(str(each) for each in findings), remedy=f"{target} was not written")
    with atomic_write(target, "wb") as file:
        file.write(content)
    shutil.rmtree(unfinished, ignore_errors=True)
    return ExplainedRows(target, len(asked), len(of_image), tuple(findings))


def open_edition(workspace: Workspace) -> Edition:
    """The edition of the workspace, if it has a second task; otherwise the one of open questions."""
    edition = find_edition(workspace.edition)
    return edition if edition.sample is not None else find_edition(OPEN_EDITION)


def read_asked(source: Path, edition: Edition, cache: Path | None) -> list[Row]:
    """The rows of task 2, in the order of `val_id`.

    Raises:
        DataError: the file or a picture cannot be used, or no row has complexity 1.
    """
    pictures = read_pictures(source.parent / "images", source, cache=cache)
    if pictures.faults:
        raise DataError(
            shortened(list(pictures.faults.values())), remedy="put the pictures into images/ beside the rows"
        )
    examples = pictures.readable.examples
    listed = {row: (example, asked) for example in examples for row, asked in example.questions.items()}
    simple = [(example, asked.text) for _, (example, asked) in sorted(listed.items()) if asked.complexity in (1, None)]
    if not simple:
        raise DataError([f"{source}: no row has complexity 1"], remedy="name the test rows of Kvasir-VQA-x1")
    return [Row(val_id, *simple[at]) for val_id, at in enumerate(sample_of(edition, len(simple)))]


def check_rows(content: bytes, folder: Path, asked: Sequence[Row] | None, edition: Edition) -> list[Finding]:
    """What is wrong with lines in `folder`, compared with the rows where these are known."""
    sizes = {row.example.image_id: (row.example.width, row.example.height) for row in asked or ()}
    rows = None if asked is None else [Asked(row.example.image_id, row.question) for row in asked]
    findings = check_explanations(content, folder, rows, sizes.get)
    count = len(rows) if rows is not None else sum(1 for line in content.split(b"\n") if line.strip())
    if edition.sample is not None and count != edition.sample.rows:
        message = f"the organisers take exactly {edition.sample.rows:,} lines, and there are {count:,} rows"
        tell = warning if rows is not None else error
        findings.append(tell("count", ["the file"], message, "name all test rows of Kvasir-VQA-x1"))
    return findings


def _start(folder: Path, key: str) -> None:
    """Keep what an earlier call left in `folder`, if it did the same."""
    try:
        same = read_text(folder / "key") == key
    except (MissingFileError, DamagedFileError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        write_text(folder / "key", key)


def _kept(file: Path, rows: Sequence[Row], folder: Path) -> list[dict[str, Any]] | None:
    """The lines of an image that an earlier call finished, if they are whole and their pictures are there."""
    try:
        content = read_bytes(file, LARGEST)
        lines = parse_json(content)
    except (FileError, ValueError):
        return None
    whole = isinstance(lines, list) and all(isinstance(line, dict) for line in lines)
    if not whole or [line.get("val_id") for line in lines] != [row.val_id for row in rows]:
        return None
    renumbered = [{**line, "val_id": number} for number, line in enumerate(lines)]
    asked = [Asked(row.example.image_id, row.question) for row in rows]
    size = (rows[0].example.width, rows[0].example.height)
    return None if check_explanations(explanation_lines(renumbered), folder, asked, lambda _: size) else lines


def _line(row: Row, found: Explanation, folder: Path) -> dict[str, Any]:
    """The line of one row; its picture is written."""
    name = f"{_VISUALS}/{row.val_id:04}_heatmap.png"
    picture = read_picture(row.example.image)
    picture.thumbnail((_SIDE, _SIDE))
    drawn: Image.Image = draw_over(picture, found.heatmap).quantize(_COLOURS)
    with atomic_write(folder / name, "wb") as file:
        file.write(png(drawn))
    place = place_of_peak(found.heatmap)
    what = f"Heat map of what carried the answer ({found.method}); it is highest at {place}."
    visuals: list[Mapping[str, Any]] = [{"type": "heatmap", "data": name, "description": what}]
    if _points_at_something(found.facts[0]):
        box = [list(region_box(found.heatmap, row.example.width, row.example.height))]
        about = "Box around the region of the heat map's peak."
        visuals.append({"type": "bounding_box", "data": box, "description": about})
    return {
        "val_id": row.val_id,
        "img_id": row.example.image_id,
        "question": row.question,
        "answer": "; ".join(found.facts[0].answers),
        "textual_explanation": found.text,
        "visual_explanation": visuals,
        "confidence_score": round(found.confidence, 4),
    }


def _points_at_something(answer: Statement) -> bool:
    """Whether the answer names something that is there: a finding, a place, a colour, or how many there are."""
    return any(not fact.value.startswith("no") and fact.value != "0" for fact in answer.facts)
