"""`medvqa import kvasir-vqa`, on a small table of its own layout."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from small_dataset import picture, write_dataset
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data import read_dataset

COLUMNS = ("source", "question", "answer", "img_id")
LANDMARK = "Are there any anatomical landmarks in the image? Check all that are present."
COLOUR = "What color is the abnormality? If more than one separate with ;"
ROWS = [
    ("HyperKvasir", COLOUR, "pink; red", "k0"),
    ("HyperKvasir", "Where in the image is the anatomical landmark?", "lower-right; center", "k0"),
    ("HyperKvasir", "Does this image contain any finding?", "yes", "k0"),
    ("HyperKvasir", LANDMARK, "z-line", "k0"),
    ("HyperKvasir", "What is the size of the polyp?", "<5mm", "k1"),
    ("HyperKvasir", "What is the size of the polyp?", "11-20mm", "k1"),
    ("HyperKvasir", COLOUR, "none", "k1"),
    ("Kvasir-Instrument", LANDMARK, "a landmark of its own", "k2"),
]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(3):
        picture(number).save(Path("images") / f"k{number}.jpg", quality=95)
    return tmp_path


def write_table(rows=ROWS, columns=COLUMNS):
    with open("k.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def kvasir(*options):
    return CliRunner().invoke(app, ["import", "kvasir-vqa", "k.csv", "images", *options])


def test_questions_and_answers_come_out_in_the_spelling_of_2023(workspace):
    write_table()
    result = kvasir()
    assert result.exit_code == 0, result.output
    found = {example.image_id: example.answers for example in read_dataset(Path("data/development")).examples}
    assert found == {
        "k0": {5: ("Pink", "Red"), 15: ("Lower-rigth", "Center"), 13: ("Z-line",)},
        "k1": {16: ("< 5mm",), 5: ("Not relevant",)},
        "k2": {13: ("a landmark of its own",)},
    }
    assert (
        "1 × question that is not in the edition of 2023, ignored: 'Does this image contain any finding?'"
        in result.output
    )
    assert "1 × second, different answer to question 16, ignored (e.g. k1)" in result.output
    assert "Next: `medvqa split`" in result.output


def test_images_of_the_2023_sets_are_found_by_their_content(workspace):
    write_dataset(Path("data/development"), count=2)
    shown = picture(1).resize((72, 60), Image.Resampling.BICUBIC)
    (workspace / "data/test/images").mkdir(parents=True)
    picture(99).save("data/test/images/t0.jpg")
    shown.save("images/k2.jpg", quality=80)
    write_table()
    result = kvasir("--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["overlap"] == {"data/development": 3, "data/test": 0}
    overlap = json.loads(Path("data/kvasir-vqa/overlap.json").read_text())["data/development"]
    assert {one: other["image"] for one, other in overlap.items()} == {"k0": "image0", "k1": "image1", "k2": "image1"}
    assert overlap["k0"]["similarity"] > 0.9


def test_the_overlap_with_both_sets_is_reported(workspace):
    write_dataset(Path("data/development"), count=1)
    (workspace / "data/test/images").mkdir(parents=True)
    picture(99).save("data/test/images/t0.jpg")
    write_table()
    output = kvasir().output
    assert "1 image is also in data/development (e.g. k0 is image0)" in output
    assert "No image is also in data/test." in output
    assert '[data] development = "data/kvasir-vqa"' in output


BAD = {
    "column answer is missing": (ROWS, ("source", "question", "text", "img_id")),
    "row 2: not 4 columns": ([("HyperKvasir", COLOUR)], COLUMNS),
    "row 2: img_id is '../k0'": ([("HyperKvasir", COLOUR, "pink", "../k0")], COLUMNS),
    "images/k9.jpg: there is no such file": ([("HyperKvasir", COLOUR, "pink", "k9")], COLUMNS),
    "no row answers any of the 18 questions": ([("HyperKvasir", "What?", "pink", "k0")], COLUMNS),
}


@pytest.mark.parametrize("message", BAD)
def test_an_invalid_table_is_refused_and_nothing_is_written(workspace, message):
    write_table(*BAD[message])
    result = kvasir()
    assert result.exit_code == 1
    assert message in result.output
    assert not Path("data").exists()


def test_an_existing_folder_is_not_overwritten(workspace):
    write_table()
    assert kvasir("--out", "set").exit_code == 0
    before = Path("set/gt.json").read_bytes()
    result = kvasir("--out", "set")
    assert (result.exit_code, "set already exists" in result.output) == (1, True)
    assert Path("set/gt.json").read_bytes() == before
    Path("k.csv").unlink()
    assert "cannot read k.csv: there is no such file" in kvasir("--out", "other").output
