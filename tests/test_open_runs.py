"""Another model's answers as a run: adopted, scored, compared, checked and packaged, for open and closed questions."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from small_dataset import write_dataset
from small_open import rows, write_open_dataset
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.evaluation.text.metrics import TextMeter
from imageclef_vqa.pipeline.answer_rows import AnswerRow, match_rows
from imageclef_vqa.pipeline.answers import commonest_answers, questions_of

TEAM = """
[team]
participant_names = ["A. Somebody", "B. Somebody"]
affiliations = "Somewhere"
contact_emails = ["a@somewhere.org"]
team_name = "some"
country = "Norway"
notes_to_organizers = ""
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with a split, four test images, and our answers to all rows in each form."""
    root = tmp_path_factory.mktemp("open")
    write_open_dataset(root / "data/development", 12)
    test = write_open_dataset(root / "data/test", 8, first=20)
    (root / "medvqa.toml").write_text(TEAM)
    run("split", "--val", "0.25", at=root)
    given = [row | {"answer": "Yes" if at == 2 else row["answer"]} for at, row in enumerate([*test, *rows(12)])]
    (root / "swift.jsonl").write_text("".join(json.dumps(as_swift(row)) + "\n" for row in given))
    with (root / "answers.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question", "answer", "prediction", "confidence"])
        writer.writerows([f"{row['img_id']}.jpg", row["question"], "gold", row["answer"], 0.25] for row in given)
    listed = [
        {"index": at, "img_id": row["img_id"], "question": row["question"], "answer": row["answer"]}
        for at, row in enumerate(given[:24])
    ]
    (root / "run.json").write_text(json.dumps({"predictions": listed}))
    return root


@pytest.fixture
def workspace(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")


def as_swift(row):
    said = [{"role": "user", "content": "<image>" + row["question"]}, {"role": "assistant", "content": row["answer"]}]
    return {"response": row["answer"], "labels": "gold", "messages": said, "images": [f"/x/{row['img_id']}.jpg"]}


def run(*options, at=None):
    result = CliRunner().invoke(app, [*options, *(["--workspace", str(at)] if at else [])])
    return result.exit_code, " ".join(result.output.split())


def test_an_answer_belongs_to_the_row_of_its_image_and_question_in_order():
    from imageclef_vqa.editions import OpenQuestion

    questions = {("a", 0): OpenQuestion("Why?"), ("a", 1): OpenQuestion("Why?"), ("a", 2): OpenQuestion("Who?")}
    asked = [("a", "why?", 1), ("a", "Why? ", None), ("a", "Why?", 0), ("b", "Why?", 0), ("a", "When?", 2)]
    found = match_rows([AnswerRow(str(at), n, i, q, str(at)) for at, (i, q, n) in enumerate(asked)], questions)
    assert found.answers == {("a", 1): ("0",), ("a", 0): ("1",)}
    assert [row.where for row in found.repeated] == ["2"]
    assert [row.where for row in found.strangers] == ["3", "4"]


@pytest.mark.parametrize(("file", "folds"), [("swift.jsonl", 2), ("answers.csv", 2), ("run.json", 1)])
def test_every_form_gives_the_same_predictions(workspace, file, folds):
    code, shown = run("adopt", file, "--run", "other")
    assert code == 0, shown
    assert "test: 24 of 24 questions answered" in shown
    predictions = read_predictions(Path("work/other/predictions/test.jsonl"))
    assert [each.answers for each in predictions[:3]] == [
        ("There are no polyps.",),
        (rows(1, 20)[1]["answer"],),
        ("Yes",),
    ]
    assert [each.question_id for each in predictions] == list(range(24))
    assert len(list(Path("work/other/predictions").glob("*.jsonl"))) == folds
    if file == "answers.csv":
        assert {each.probability for each in predictions} == {0.25}
    assert run("adopt", "work/other/predictions/test.jsonl", "--run", "again")[0] == 0
    again = read_predictions(Path("work/again/predictions/test.jsonl"))
    assert [each.answers for each in again] == [each.answers for each in predictions]


def test_an_adopted_run_is_scored_compared_and_shown(workspace):
    run("adopt", "swift.jsonl", "--run", "other")
    code, shown = run("score", "--run", "other")
    assert code == 0, shown
    assert "By question class" in shown
    assert "next: `medvqa package --out predictions_1.json --run other`" in shown
    page = Path("work/other/report.html").read_text()
    assert "gold: <b>Yes</b>" in page
    assert "record 1 of qa.jsonl" in page
    assert "image20" not in page  # a file name may name a patient
    scored = json.loads(CliRunner().invoke(app, ["score", "--run", "other", "--json"]).stdout)
    assert scored["global"]["n"] == 24
    assert scored["folds"]["val"]["clusters"] == 3
    assert scored["global"]["exact"] == 1
    alone = json.loads(CliRunner().invoke(app, ["score", "run.json", "--json"]).stdout)
    assert alone["global"] == scored["global"]
    gold = json.loads(CliRunner().invoke(app, ["score", "run.json", "--gold", "data/test/qa.jsonl", "--json"]).stdout)
    assert gold["global"]["meteor"] == scored["global"]["meteor"]
    assert "metric | A | B" in run("score", "--compare", "other", "run.json", "--markdown")[1]
    assert run("score", "--run", "other", "--csv")[1].startswith("fold,system,by,name,n,bleu")
    assert run("score", "--run", "other", "--plots", "plots")[0] == 0
    assert run("score", "--compare", "other", "run.json", "--plots", "plots")[0] == 0
    names = [f"{kind}-{fold}" for kind in ("calibration", "classes") for fold in ("test", "val")]
    assert sorted(path.name for path in Path("plots").glob("*.svg")) == [
        *(f"{name}.svg" for name in [*names, "comparison-test-1"])
    ]
    assert "polyp_count (8)" in Path("plots/classes-test.svg").read_text()


def test_scores_and_report_measure_each_row_once(workspace, monkeypatch):
    run("adopt", "run.json", "--run", "other")
    asked, meteor = Counter(), TextMeter.meteor

    def counted(meter, given, gold):
        asked[meter, given, gold] += 1
        return meteor(meter, given, gold)

    monkeypatch.setattr(TextMeter, "meteor", counted)
    assert run("score", "--run", "other")[0] == 0
    assert set(asked.values()) == {1}
    assert len({meter for meter, _, _ in asked}) == 1, "one for the fold, and none for its page"


def test_a_package_has_every_field_and_checks_find_nothing_in_it(workspace):
    run("adopt", "swift.jsonl", "--run", "other")
    code, shown = run("package", "--run", "other")
    assert code == 0, shown
    content = json.loads(Path("predictions_1.json").read_text())
    assert content["submission_info"]["Contact_emails"] == ["a@somewhere.org"]
    assert content["public_scores"]["rougeL"] == 1
    assert [row["index"] for row in content["predictions"]] == list(range(24))
    assert set(content) == {
        *("submission_info", "public_scores", "predictions", "total_time", "time_per_item", "memory_used_mb"),
        *("model_memory_mb", "gpu_name", "debug"),
    }
    assert run("check", "predictions_1.json")[0] == 0
    assert run("package", "--verify", "predictions_1.json", "--run", "other")[0] == 0
    content["predictions"][4]["answer"] = "The abnormality is blue."
    Path("predictions_1.json").write_text(json.dumps(content))
    code, shown = run("check", "predictions_1.json")
    assert (code, "it was changed since" in shown) == (1, True)
    Path("predictions_1.json.manifest.json").unlink()


def test_predictions_in_other_rows_case_or_words_are_found(workspace):
    run("adopt", "swift.jsonl", "--run", "other")
    run("package", "--run", "other", "--out", "predictions_1.json")
    content = json.loads(Path("predictions_1.json").read_text())
    texts = [row["answer"] for row in content["predictions"]]
    for changed, how in (
        (texts[3:] + texts[:3], "in other rows"),
        ([text.upper() for text in texts], "with other case, blanks or signs"),
        (
            [text.replace("There", "Here").replace("The ", "An ").replace("Yes", "No") for text in texts],
            "with other words: 'an' for 'the', 'here' for 'there', 'no' for 'yes'",
        ),
    ):
        for row, text in zip(content["predictions"], changed, strict=True):
            row["answer"] = text
        Path("moved.json").write_text(json.dumps(content))
        code, shown = run("check", "moved.json")
        assert code == 1
        assert f"the answers are those of work/other/predictions/test.jsonl, but {how}" in " ".join(shown.split())


def test_a_package_without_a_team_or_a_row_is_refused(workspace):
    Path("medvqa.toml").write_text(TEAM.replace('country = "Norway"', ""))
    lines = Path("swift.jsonl").read_text().splitlines(keepends=True)
    Path("swift.jsonl").write_text("".join(lines[1:]))
    run("adopt", "swift.jsonl", "--run", "other")
    code, shown = run("package", "--run", "other")
    assert code == 1
    assert "entries about the team are missing or empty (Country)" in shown
    assert "1 row is missing" in shown
    assert not Path("predictions_1.json").exists()
    Path("medvqa.toml").write_text(TEAM + 'land = "Norway"\n')
    assert run("package", "--run", "other")[0] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, lines[0]], "this question about image20 is already answered"),
        (
            lambda lines: [line.replace('"image2', '"cl8k2') for line in lines if '"image2' in line],
            "no row asks what the workspace asks",
        ),
        (lambda lines: ["{}\n", *lines], "no image id"),
    ],
)
def test_a_file_that_cannot_be_adopted_is_explained(workspace, change, message):
    lines = Path("answers.csv").read_text().splitlines(keepends=True)
    listed = [
        json.dumps({"image_id": i, "question": q, "response": a}) + "\n" for i, q, _, a, _ in csv.reader(lines[1:])
    ]
    Path("a.jsonl").write_text("".join(change(listed)))
    code, shown = run("adopt", "a.jsonl", "--run", "other")
    assert (code, message in shown) == (1, True), shown
    assert not list(Path("work").glob("other/predictions/*"))


def test_a_run_that_was_trained_is_not_replaced(workspace):
    Path("work/main/stage2").mkdir(parents=True)
    assert run("adopt", "swift.jsonl", "--run", "main")[0] == 2


def test_commonest_answers_are_those_to_the_same_text_then_class(workspace):
    from imageclef_vqa.data import read_dataset
    from imageclef_vqa.editions import OpenQuestion

    training = read_dataset(Path("data/development"))
    asked = questions_of(training) | {("x", 99): OpenQuestion("Any polyps?", 1, ("polyp_count",))}
    found = commonest_answers(training, asked)
    assert found["image0", 0] == ("There are no polyps.",)
    assert found["x", 99] == ("There are no polyps.",)


@pytest.mark.parametrize("command", [["route"], ["baseline"]])
def test_what_closed_questions_only_have_is_refused_with_the_reason(workspace, command):
    code, shown = run(*command)
    assert (code, "open questions:" in shown) == (2, True), shown


def test_a_closed_edition_adopts_runs_and_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = write_dataset(Path("data/development"), 12)
    run("split", "--val", "0.25")
    answers = [
        {"img_id": each["ImageID"], "question": label["Question"], "answer": "; ".join(label["Answer"])}
        for each in records
        for label in each["Labels"]
    ]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    code, shown = run("adopt", "a.jsonl", "--run", "other", "--model", "Qwen")
    assert code == 0, shown
    assert "val: 54 of 54 questions answered" in shown
    assert "162 answers" in shown  # those to training images
    scored = json.loads(CliRunner().invoke(app, ["score", "--run", "other", "--json"]).stdout)
    assert scored["global"]["exact_set"] == 1
    predictions = read_predictions(Path("work/other/predictions/val.jsonl"))
    assert {each.model for each in predictions} == {"Qwen"}
    assert predictions[0].probability == pytest.approx(4 / 5)  # three right of three, by Laplace's rule
    assert run("package", "--run", "other", "--out", "run.csv")[0] == 0
    assert run("adopt", "run.csv", "--run", "third")[0] == 0
    assert read_predictions(Path("work/third/predictions/val.jsonl"))[0].answers == predictions[0].answers
