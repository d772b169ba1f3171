"""`medvqa ask`: one image, any question, and the answers of `medvqa predict`."""

import json

import pytest
from small_dataset import picture, write_dataset
from small_predictions import write_recorded
from trained import write_run
from typer.testing import CliRunner

from imageclef_vqa.artefacts import write_artefact
from imageclef_vqa.cli import app
from imageclef_vqa.editions import QUESTIONS, choose_question, read_predictions
from imageclef_vqa.errors import UsageError
from imageclef_vqa.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ask")
    write_dataset(folder / "data/development", count=12)
    workspace = Workspace.at(folder)
    write_run(workspace, seed=1)
    write_run(Workspace.at(folder, "other"), seed=2)
    return workspace


def ask(workspace, *arguments):
    return CliRunner().invoke(app, ["ask", *map(str, arguments), "--workspace", str(workspace.root)])


def image_of(workspace, number=0):
    return workspace.development / "images" / f"image{number}.jpg"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: str(question.id))
def test_a_question_is_known_by_number_text_and_alias_in_any_case(question):
    for said in (str(question.id), question.text, question.text.upper(), f"  {question.text} ", *question.aliases):
        assert choose_question(said) is question


@pytest.mark.parametrize(
    ("part", "number"),
    [
        ("color of the landmark", 6),
        ("abnorm color", 5),
        ("color", None),
        ("TYPE of polyp", 17),
        ("in the image", None),
        ("text", 4),
    ],
)
def test_a_part_of_only_one_question_is_enough(part, number):
    if number is None:
        with pytest.raises(UsageError):
            choose_question(part)
    else:
        assert choose_question(part).id == number


def test_an_ambiguous_part_lists_the_matching_questions():
    with pytest.raises(UsageError) as told:
        choose_question("Polyp")
    listed = [question.id for question in QUESTIONS if f"{question.id:>3}  {question.text}" in str(told.value)]
    assert listed == [question.id for question in QUESTIONS if "polyp" in question.text.casefold()]


@pytest.mark.parametrize("wanted", ["18", "99999999999999999999", "-1", "gall bladder", ""])
def test_an_unknown_question_is_a_usage_error(wanted):
    with pytest.raises(UsageError):
        choose_question(wanted)


def test_the_answers_are_those_of_predict_calibrated_alike(workspace):
    done = CliRunner().invoke(app, ["predict", "--fold", "val", "--workspace", str(workspace.root)])
    assert done.exit_code == 0, done.output
    predicted = read_predictions(workspace.predictions("val"))[: len(QUESTIONS)]
    path = workspace.calibration
    kept = path.read_text()
    fitted = json.loads(kept)["temperature"]
    for temperature in (1.0, 2.5):
        content = json.dumps(json.loads(kept) | {"temperature": temperature}).encode()
        write_artefact(path, content, command="predict --fold val", inputs={})
        image = workspace.development / "images" / f"{predicted[0].image_id}.jpg"
        asked = json.loads(ask(workspace, image, "--json").stdout)
        assert asked["temperature"] == temperature
        assert [each["question_id"] for each in asked["questions"]] == list(range(len(QUESTIONS)))
        for mine, theirs in zip(asked["questions"], predicted, strict=True):
            assert tuple(mine["answer"]) == theirs.answers
            assert (mine["members"] == {}) == (theirs.members == {})
            shares = [candidate.probability for candidate in theirs.candidates]
            bent = [share ** (fitted / temperature) for share in shares]
            expected = [each / sum(bent) for each in bent]
            assert [candidate["probability"] for candidate in mine["candidates"]] == pytest.approx(expected, abs=1e-4)
    path.unlink()
    assert json.loads(ask(workspace, image, "--json").stdout)["temperature"] is None
    write_artefact(path, kept.encode(), command="predict --fold val", inputs={})


def test_a_changed_calibration_is_refused(workspace):
    CliRunner().invoke(app, ["predict", "--fold", "val", "--workspace", str(workspace.root)])
    path = workspace.calibration
    path.write_text(path.read_text().replace("0", "1", 1))
    done = ask(workspace, image_of(workspace))
    assert done.exit_code == 1
    assert "work/main/calibration.json is not the file that was finished: its content has changed" in done.stderr
    assert f"`medvqa predict --fold val --workspace {workspace.root}` makes it again" in done.stderr
    path.unlink()


def test_a_changed_model_is_refused(workspace, tmp_path):
    model = workspace.stage(2) / "model.safetensors"
    intact = model.read_bytes()
    flipped = bytearray(intact)
    flipped[-2] ^= 64
    model.write_bytes(flipped)
    done = ask(workspace, image_of(workspace))
    model.write_bytes(intact)
    assert done.exit_code == 1
    assert "stage2/model.safetensors is not the file that was finished: its content has changed" in done.stderr
    assert done.stdout == ""


def test_a_routed_run_answers_test_images_as_its_routed_file(tmp_path):
    workspace = Workspace.at(tmp_path)
    write_dataset(workspace.development, count=12)
    write_dataset(workspace.test, count=2)
    (workspace.test / "gt.json").unlink()
    write_run(workspace, seed=1)
    options = ["--workspace", str(tmp_path)]
    assert CliRunner().invoke(app, ["predict", *options]).exit_code == 0
    for fold in ("val", "test"):  # with a record of nothing, since this run was not trained
        write_recorded(workspace.predictions(fold), read_predictions(workspace.predictions(fold)))
    routed = ["route", "--policy", "paper", "--expert", "classical", "--questions", "3,5,16"]
    assert CliRunner().invoke(app, [*routed, *options]).exit_code == 0
    expected = read_predictions(workspace.routed("test"))
    assert {each.model for each in expected} == {"blip2 tiny", "classical"}
    image = workspace.test / "images" / f"{expected[0].image_id}.jpg"
    asked = json.loads(ask(workspace, image, "--json").stdout)
    assert asked["answers"] == "routed"
    for mine, theirs in zip(asked["questions"], expected[: len(QUESTIONS)], strict=True):
        assert tuple(mine["answer"]) == theirs.answers
        assert mine["model"] == theirs.model
        assert mine["probability"] == pytest.approx(theirs.probability, abs=1e-6)
    assert "routed answers of classical" in ask(workspace, image, "16").stdout
    plain = json.loads(ask(workspace, image, "--json", "--answers", "plain").stdout)
    assert plain["answers"] == "plain"
    assert {each["model"] for each in plain["questions"]} == {"blip2 tiny"}
    folder, out = str(workspace.test / "images"), tmp_path / "answers.jsonl"
    assert CliRunner().invoke(app, ["predict", "--images", folder, "--out", str(out), *options]).exit_code == 0
    assert [(each.answers, each.model) for each in read_predictions(out)] == [
        (each.answers, each.model) for each in expected
    ]


def test_one_question_shows_its_alternatives_and_what_they_add_up_to(workspace):
    (asked,) = json.loads(ask(workspace, image_of(workspace), "5", "--json").stdout)["questions"]
    shown = ask(workspace, image_of(workspace), "what COLOR is the abnorm")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    assert "5 What color is the abnormality?" in shown.stdout
    for candidate in asked["candidates"]:
        assert "; ".join(candidate["answers"]) in shown.stdout
        assert f"{candidate['probability']:.3f}" in shown.stdout
    assert sum(candidate["probability"] for candidate in asked["candidates"]) == pytest.approx(1, abs=1e-6)


def test_without_a_question_all_are_answered_in_one_table(workspace):
    done = ask(workspace, image_of(workspace))
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    for question in QUESTIONS:
        assert f"{question.id:>2} {question.text[:40]}" in done.stdout


def test_several_runs_are_averaged(workspace):
    workspace.calibration.unlink(missing_ok=True)
    each = [ask(workspace, image_of(workspace), "5", "--json", "--run", run) for run in ("main", "other")]
    both = ask(workspace, image_of(workspace), "5", "--json", "--run", "main", "--run", "other")
    shares = [
        {tuple(c["answers"]): c["probability"] for c in json.loads(done.stdout)["questions"][0]["candidates"]}
        for done in (*each, both)
    ]
    assert shares[0] != pytest.approx(shares[1], abs=1e-3)
    assert shares[2] == pytest.approx({answer: (shares[0][answer] + shares[1][answer]) / 2 for answer in shares[0]})


def test_a_picture_of_any_name_is_answered_and_nothing_is_written(workspace, tmp_path):
    odd = tmp_path / "a b'ü.PNG"
    picture(3).save(odd)
    before = sorted(path for path in workspace.root.rglob("*"))
    assert ask(workspace, odd, "0").exit_code == 0
    assert sorted(path for path in workspace.root.rglob("*")) == before


def test_a_file_that_is_not_an_image_is_reported_early(workspace, tmp_path):
    whole = image_of(workspace).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    for name, why in (
        ("cut.jpg", "truncated"),
        ("text.jpg", "not an image"),
        ("none.jpg", "there is no such file"),
        (".", ""),
    ):
        done = ask(workspace, tmp_path / name)
        assert done.exit_code == 1
        assert done.stderr.startswith("error: ")
        assert str(tmp_path / name) in done.stderr
        assert why in done.stderr
        assert done.stdout == ""


def test_without_a_run_the_command_that_makes_one_is_named(workspace, tmp_path):
    picture(0).save(tmp_path / "a.jpg")
    done = ask(Workspace.at(tmp_path), tmp_path / "a.jpg")
    assert done.exit_code == 1
    assert "medvqa finetune --stage 2" in done.stderr
