"""`medvqa explain`: the answer of `medvqa ask` with a map, facts and a text, and the lines of the second task."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from small_dataset import picture, write_dataset
from small_open import rows, write_open_dataset
from trained import write_run
from typer.testing import CliRunner

import imageclef_vqa as vqa
from imageclef_vqa.cli import app
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.editions.facts import facts_in
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.explanations import METHODS
from imageclef_vqa.pipeline import explain_rows as task2
from imageclef_vqa.workspace import Workspace


def medvqa(workspace, *arguments):
    return CliRunner().invoke(app, [*map(str, arguments), "--workspace", str(workspace.root)])


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    workspace = Workspace.at(tmp_path_factory.mktemp("closed"))
    write_dataset(workspace.development, count=12)
    write_run(workspace, seed=1)
    return workspace


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    workspace = Workspace.at(tmp_path_factory.mktemp("open"))
    write_open_dataset(workspace.development, 8)
    write_open_dataset(workspace.test, 2, first=20)
    workspace = Workspace.at(workspace.root)
    write_run(workspace, seed=1)
    return workspace


@pytest.fixture(scope="module")
def image(closed):
    return closed.development / "images/image0.jpg"


@pytest.fixture(scope="module")
def models(closed, opened):
    return {"closed": vqa.load_model(closed.root), "open": vqa.load_model(opened.root)}


def test_the_answer_is_that_of_ask_with_its_alternatives(closed, image):
    done = medvqa(closed, "explain", image, "5", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (asked,) = json.loads(medvqa(closed, "ask", image, "5", "--json").stdout)["questions"]
    assert found["answers"] == asked["candidates"]
    assert found["confidence"] == asked["probability"]
    assert [fact["question_id"] for fact in found["facts"]] == [5, *(q.id for q in QUESTIONS if q.id != 5)]
    assert 0 <= found["around"] <= 1
    heat = np.array(found["heatmap"])
    assert heat.shape == (8, 8)
    assert (heat.min() >= 0, heat.max()) == (True, 1)
    assert 2 <= len(found["text"].split(". ")) <= 3
    assert not found["calibrated"]


def test_an_explanation_has_its_keys_and_a_text_of_its_facts(models, opened, image):
    for model, file in (("closed", image), ("open", opened.test / "images/image20.jpg")):
        found = models[model].explain(file, "How many polyps are in the image?")
        assert {"answers", "confidence", "heatmap", "text", "facts"} <= set(found)
        assert found["text"] is found.text
        assert found.facts[0].answers == found.answers[0][0]
        assert len(found.facts) == len(QUESTIONS)
        assert facts_in(found.text) <= set().union(*(fact.facts for fact in found.facts))
        with pytest.raises(KeyError):
            found["nothing"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains(models, image, method):
    assert models["closed"].explain(image, 12, method).method == method


def test_several_runs_explain_with_the_mean_of_their_maps(closed, image):
    write_run(Workspace.at(closed.root, "other"), seed=2)
    each = [vqa.load_model(closed.root, run).explain_all(image, [4], "rollout")[0] for run in ("main", "other")]
    both = vqa.load_model(closed.root, ["main", "other"])
    reply = both.explain(image, 4, "rollout")
    assert 0 <= reply.confidence <= 1
    assert reply.heatmap.shape == each[0].heatmap.shape
    if each[0].answers[0][0] == each[1].answers[0][0] == reply.answers[0][0]:
        mean = each[0].heatmap + each[1].heatmap
        assert reply.heatmap == pytest.approx(mean / mean.max(), abs=1e-3)


def test_the_picture_with_the_map_has_the_shape_of_the_picture(closed, tmp_path):
    Image.new("RGBA", (300, 120), (0, 200, 0, 255)).save(tmp_path / "wide.png")
    out = tmp_path / "new/where.png"
    done = medvqa(closed, "explain", tmp_path / "wide.png", "12", "--out", out)
    assert done.exit_code == 0, done.output
    assert "highest at" in done.stdout
    with Image.open(out) as drawn:
        assert drawn.size == (300, 120)
        assert drawn.format == "PNG"


def test_mistakes_are_reported_early_and_nothing_is_written(closed, image, tmp_path):
    before = sorted(closed.root.rglob("*"))
    (tmp_path / "text.jpg").write_text("no picture")
    os.symlink(tmp_path / "text.jpg", tmp_path / "link.png")
    for arguments, code, why in (
        ([image], 2, "name an image and a question"),
        ([image, "polyp"], 2, "questions match"),
        ([image, "12", "--out", tmp_path / "where.jpg"], 2, "written as .png"),
        ([image, "12", "--out", tmp_path / "link.png"], 1, "a link"),
        ([image, "12", "--method", "magic"], 2, "'magic' is not one of"),
        ([tmp_path / "text.jpg", "12"], 1, "not an image"),
        ([tmp_path / "none.jpg", "12"], 1, "no such file"),
        ([image, "12", "--rows", "x.jsonl"], 2, "--task 2 --rows FILE --out"),
        (["--task", "2", "--rows", "x.jsonl"], 2, "--task 2 --rows FILE --out"),
        (["--task", "2", "--rows", "x.jsonl", "--out", tmp_path / "x.jsonl"], 2, "answers to open questions"),
    ):
        done = medvqa(closed, "explain", *arguments)
        assert (done.exit_code, done.stdout) == (code, ""), arguments
        assert why in " ".join(done.stderr.split()), done.stderr
    assert sorted(closed.root.rglob("*")) == before
    with pytest.raises(UsageError):
        vqa.explain(image, 12, method="magic", workspace=closed.root)


def test_answers_are_not_checked_where_the_training_labels_are_missing(closed, models, image, monkeypatch):
    assert models["closed"].explain(image, 12).checked
    labels = closed.development / "gt.json"
    kept = labels.read_bytes()
    labels.unlink()
    found = vqa.explain(image, 12, workspace=closed.root)
    labels.write_bytes(kept)
    assert not found.checked
    assert "agree" not in found.text


# The second task


@pytest.fixture(scope="module")
def lines(opened, tmp_path_factory):
    """The rows of the second task, and their lines as they were written."""
    folder = tmp_path_factory.mktemp("task2")
    done = medvqa(opened, "explain", "--task", "2", "--rows", opened.test / "qa.jsonl", "--out", folder / "s.jsonl")
    assert done.exit_code == 0, done.output
    assert "exactly 1,500 lines, and there are 4 rows" in " ".join(done.output.split())
    return folder / "s.jsonl", [json.loads(line) for line in (folder / "s.jsonl").read_text().splitlines()]


def test_simple_rows_are_explained_in_the_order_of_the_organisers(opened, lines):
    simple = [row for row in rows(2, first=20) if row["complexity"] == 1]
    order = np.random.default_rng(42).permutation(len(simple))
    file, found = lines
    assert [line["val_id"] for line in found] == list(range(len(simple)))
    assert [(line["img_id"], line["question"]) for line in found] == [
        (simple[at]["img_id"], simple[at]["question"]) for at in order
    ]
    model = vqa.load_model(opened.root)
    for line in found:
        (given,) = model.ask_open(opened.test / f"images/{line['img_id']}.jpg", [line["question"]])
        assert line["answer"] == given
        assert line["textual_explanation"]
        assert 0 <= line["confidence_score"] <= 1
        heat = line["visual_explanation"][0]
        with Image.open(file.parent / heat["data"]) as drawn:
            assert drawn.size == (96, 80)
    assert list(found[0]) == [
        *("val_id", "img_id", "question", "answer", "textual_explanation", "visual_explanation", "confidence_score")
    ]


def test_a_stopped_call_goes_on_and_gives_the_same_lines(opened, lines, tmp_path, monkeypatch):
    source, out = opened.test / "qa.jsonl", tmp_path / "s.jsonl"
    real, calls = task2._line, []

    def stop_at_the_second_image(row, found, folder):
        calls.append(row.example.image_id)
        if len(set(calls)) == 2:
            raise KeyboardInterrupt
        return real(row, found, folder)

    monkeypatch.setattr(task2, "_line", stop_at_the_second_image)
    with pytest.raises(KeyboardInterrupt):
        task2.explain_rows(source, out, workspace=opened.root)
    assert not out.exists()
    first, calls[:] = calls[0], []
    monkeypatch.setattr(
        task2, "_line", lambda row, found, folder: calls.append(row.example.image_id) or real(row, found, folder)
    )
    task2.explain_rows(source, out, workspace=opened.root)
    assert first not in calls
    assert out.read_bytes() == lines[0].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.jsonl", "visuals"]


def change(**fields):
    return lambda found: found[0].update(fields)


def box(*corners):
    return change(visual_explanation=[{"type": "bounding_box", "data": [list(corners)]}])


def file(data):
    return change(visual_explanation=[{"type": "heatmap", "data": data, "description": ""}])


CORRUPTIONS = {
    "a line is missing": (lambda found: found.pop(), "missing"),
    "a row is explained twice": (lambda found: found.append(found[0]), "duplicate"),
    "a val_id is used twice": (change(val_id=1), "duplicate"),
    "a val_id is too large": (change(val_id=4), "unknown"),
    "a val_id is negative": (change(val_id=-1), "unknown"),
    "a val_id is text": (change(val_id="0"), "field"),
    "a val_id is true": (change(val_id=True), "field"),
    "another question": (change(question="Why?"), "row"),
    "another image": (change(img_id="image99"), "row"),
    "no answer": (change(answer=""), "field"),
    "an answer that is a list": (change(answer=["Yes"]), "field"),
    "no explanation": (change(textual_explanation="  "), "field"),
    "a missing explanation": (lambda found: found[0].pop("textual_explanation"), "field"),
    "a score above 1": (change(confidence_score=1.01), "score"),
    "a negative score": (change(confidence_score=-0.1), "score"),
    "a score that is text": (change(confidence_score="0.9"), "score"),
    "a score that is none": (change(confidence_score=None), "score"),
    "a score that is no number": (change(confidence_score=float("nan")), "score"),
    "an unknown key": (change(confidence=0.9), "key"),
    "a visual that is no list": (change(visual_explanation={"type": "heatmap"}), "visual"),
    "a visual of an unknown kind": (change(visual_explanation=[{"type": "poem", "data": "x.png"}]), "visual"),
    "a box beyond the right side": (box(0, 0, 97, 10), "box"),
    "a box beyond the lower side": (box(0, 0, 10, 81), "box"),
    "a box that begins outside": (box(-1, 0, 10, 10), "box"),
    "a box without area": (box(5, 5, 5, 10), "box"),
    "a box with its corners swapped": (box(10, 10, 5, 5), "box"),
    "a box of three numbers": (box(1, 2, 3), "box"),
    "a box of text": (box("1", "2", "3", "4"), "box"),
    "a box of infinity": (box(0, 0, float("inf"), 10), "box"),
    "no box": (change(visual_explanation=[{"type": "bounding_box", "data": []}]), "box"),
    "a picture that is missing": (file("visuals/none.png"), "file"),
    "a picture elsewhere": (file("../s.jsonl"), "file"),
    "an absolute path": (file("/etc/hostname"), "file"),
    "a folder": (file("visuals"), "file"),
    "a file that is no picture": (file("s.jsonl"), "file"),
    "a name that no file can have": (file("a\0b.png"), "file"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupt_line_is_found_by_check(opened, lines, name):
    source, found = lines[0], json.loads(json.dumps(lines[1]))
    corrupt, kind = CORRUPTIONS[name]
    corrupt(found)
    damaged = source.with_name("damaged.jsonl")
    damaged.write_text("".join(json.dumps(line) + "\n" for line in found))
    done = vqa.check(damaged, workspace=opened.root)
    assert kind in {each.check for each in done.findings}
    assert done.errors


def test_whole_lines_pass_check_and_other_text_does_not(opened, lines, tmp_path):
    assert [each.check for each in vqa.check(lines[0], workspace=opened.root).findings] == ["count"]
    for content, kind in (
        (b"", "missing"),
        (b"[1]\n", "syntax"),
        (b"{\xff}\n", "syntax"),
        (b"[" * 100_000, "syntax"),
        (lines[0].read_bytes()[:-20], "syntax"),
        (lines[0].read_bytes().replace(b'"val_id": 0', b'"val_id": 0, "val_id": 1', 1), "duplicate-key"),
    ):
        (tmp_path / "x.jsonl").write_bytes(content)
        assert kind in {each.check for each in vqa.check(tmp_path / "x.jsonl", workspace=opened.root).findings}


def test_rows_that_cannot_be_explained_are_refused(opened, tmp_path):
    hard = [row | {"complexity": 2} for row in rows(1)]
    (tmp_path / "images").mkdir()
    picture(0).save(tmp_path / "images/image0.jpg")
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in hard))
    with pytest.raises(MedvqaError, match="no row has complexity 1"):
        task2.explain_rows(tmp_path / "qa.jsonl", tmp_path / "s.jsonl", workspace=opened.root)
    (tmp_path / "images/image0.jpg").write_text("no picture")
    with pytest.raises(MedvqaError, match="not an image"):
        task2.explain_rows(tmp_path / "qa.jsonl", tmp_path / "s.jsonl", workspace=opened.root)
    with pytest.raises(UsageError, match="jsonl"):
        task2.explain_rows(tmp_path / "qa.jsonl", tmp_path / "s.json", workspace=opened.root)
