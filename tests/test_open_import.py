"""`medvqa import kvasir-vqa-x1`: the forms in which its rows are published, and what is wrong with them."""

import csv
import json
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import picture, write_dataset
from small_open import rows
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data import read_dataset

FIELDS = ("img_id", "complexity", "question", "answer", "original", "question_class")


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for number in range(3):
        picture(number).save(f"pictures/image{number}.jpg", quality=95)


def import_x1(*options):
    result = CliRunner().invoke(app, ["import", "kvasir-vqa-x1", *options])
    return result.exit_code, " ".join(result.output.split())


def jsonl(path="x1.jsonl", content=None):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in (rows() if content is None else content)))
    return path


def as_csv(form=json.dumps):
    with open("x1.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows([form(v) if isinstance(v, list) else v for v in row.values()] for row in rows())
    return "x1.csv"


def parquet(path="x1.parquet", *, pictures=False):
    content = rows()
    for row in content if pictures else []:
        file = BytesIO()
        picture(int(row["img_id"][5:])).save(file, "PNG")
        row["image"] = {"bytes": file.getvalue(), "path": None}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(content), path)
    return path


def swift(path="swift.jsonl"):
    return jsonl(
        path,
        [
            {
                "messages": [
                    {"role": "system", "content": "You are a doctor."},
                    {"role": "user", "content": f"<image>{row['question']}"},
                    {"role": "assistant", "content": row["answer"]},
                ],
                "images": [f"pictures/{row['img_id']}.jpg"],
            }
            for row in rows()
        ],
    )


@pytest.mark.parametrize(
    ("files", "options"),
    [
        (jsonl, ["--images", "pictures"]),
        (as_csv, ["--images", "pictures"]),
        (lambda: as_csv(repr), ["--images", "pictures"]),
        (parquet, ["--images", "pictures"]),
        (lambda: parquet(pictures=True), []),
        (lambda: parquet("hub/data/train-00000-of-00001.parquet", pictures=True) and "hub", []),
        (swift, []),
        (swift, ["--images", "pictures"]),
    ],
    ids=["jsonl", "csv", "csv of Python", "parquet", "parquet with pictures", "folder of the hub", "swift", "swift 2"],
)
def test_every_form_gives_the_same_rows_in_order(files, options):
    code, shown = import_x1(files(), *options)
    assert code == 0, shown
    assert "data/development: 9 rows on 3 images." in shown
    dataset = read_dataset(Path("data/development"))
    found = [
        (each.image_id, question.text, *each.answers[row])
        for each in dataset.examples
        for row, question in each.questions.items()
    ]
    assert found == [(row["img_id"], row["question"], row["answer"]) for row in rows()]
    if files is not swift:
        written = [json.loads(line) for line in Path("data/development/qa.jsonl").read_text().splitlines()]
        assert written == rows()


def test_a_folder_of_the_hub_gives_its_test_rows_to_the_test_set():
    jsonl("hub/Kvasir-VQA-x1-train.jsonl", rows()[:3])
    jsonl("hub/Kvasir-VQA-x1-test.jsonl", [{k: v for k, v in row.items() if k != "answer"} for row in rows()[3:]])
    jsonl("hub/.cache/test.jsonl", rows())
    assert import_x1("hub", "--images", "pictures", "--to", "test")[0] == 0
    assert len(read_dataset(Path("data/test"), labelled=False).examples) == 2
    code, shown = import_x1("hub", "--images", "pictures", "--to", "development")
    assert (code, "3 rows on 1 image" in shown) == (0, True)


def test_all_problems_are_told_at_once_and_nothing_is_written():
    broken = rows()
    broken[0]["answer"] = ""
    broken[1]["img_id"] = "../image0"
    del broken[2]["question"]
    broken[4]["img_id"] = broken[5]["img_id"] = "gone"
    del broken[7]["answer"]
    path = jsonl(content=[*broken, [1]])
    code, shown = import_x1(path, "--images", "pictures")
    assert code == 1
    for problem in (
        "line 1: answer is ''",
        "line 2: img_id is '../image0'",
        "line 3: question is missing",
        "line 5 (gone): pictures/gone.jpg: there is no such file",
        "line 8: answer is missing",
        "line 10: not an object",
    ):
        assert problem in shown
    assert "line 6" not in shown  # a missing picture is told once
    assert not Path("data").exists() or not list(Path("data").iterdir())


def test_a_missing_folder_of_pictures_is_told_once():
    code, shown = import_x1(jsonl(content=rows()), "--images", "elsewhere")
    assert (code, shown.count("elsewhere")) == (1, 1), shown
    assert "elsewhere: there is no such folder" in shown


def test_a_full_folder_is_not_touched_and_shared_pictures_are_named():
    write_dataset(Path("data/development"))
    before = sorted(Path("data/development").rglob("*"))
    code, shown = import_x1(jsonl(), "--images", "pictures")
    assert (code, "already exists" in shown) == (1, True)
    assert sorted(Path("data/development").rglob("*")) == before
    code, shown = import_x1(jsonl(), "--images", "pictures", "--out", "data/x1")
    assert "3 images are also in data/development (e.g. image0 is image0)" in shown
    assert '[data] development = "data/x1"' in shown


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"messages": [], "images": ["a.jpg"]}, "messages hold not one question"),
        ({"messages": [{"role": "user", "content": "Why?"}], "images": ["a.jpg", "b.jpg"]}, "not one picture"),
        ({"messages": 3, "images": "pictures/image0.jpg"}, "messages is no list"),
        ({"img_id": "image0", "question": "Why?", "answer": "So."}, "name the folder of the pictures with --images"),
    ],
)
def test_a_row_of_another_shape_is_explained(content, problem):
    code, shown = import_x1(jsonl(content=[content]))
    assert (code, problem in shown) == (1, True), shown


def test_a_file_that_is_no_table_is_refused():
    Path("x1.parquet").write_bytes(b"PAR1 cut off")
    assert "not Parquet, cut off or damaged" in import_x1("x1.parquet")[1]
    assert import_x1("pictures/image0.jpg")[0] == 2
    assert "no .jsonl, .csv, .parquet there" in import_x1("pictures")[1]
