"""`medvqa score` and `medvqa package` as they are typed, on a workspace of small grey images."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from imageclef_vqa.artefacts import read_record, record_folder, write_artefact
from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.cli import app
from imageclef_vqa.data.reading import read_dataset, read_pictures
from imageclef_vqa.data.split import Certificate, Split
from imageclef_vqa.editions import QUESTIONS, Prediction, read_predictions
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.submission import Source, check_source, read_run
from imageclef_vqa.training.config import StageConfig
from imageclef_vqa.training.recipe import Recipe

DEVELOPMENT = [f"dev{number:02}" for number in range(12)]
TEST = [f"test{number:02}" for number in range(11, -1, -1)]  # the list's own order, not the alphabet's
UNLABELLED = 6
MANIFEST = Path("run.csv.manifest.json")


def gold(image_id, question):
    first = int(image_id[-2:]) % 2
    return list(question.known[: 2 + first] if question.id in (5, 10) else question.known[first : first + 1])


def write_images(folder, image_ids):
    (folder / "images").mkdir(parents=True)
    labels = []
    for index, image_id in enumerate(image_ids):
        Image.new("RGB", (40, 32), (20 * index, 99, 10)).save(folder / "images" / f"{image_id}.jpg")
        rows = [
            {"Question": question.text, "AnswerType": question.answer_type, "Answer": gold(image_id, question)}
            for question in QUESTIONS
            if question.id != UNLABELLED
        ]
        labels.append({"ImageID": image_id, "Labels": rows})
    (folder / "gt.json").write_text(json.dumps(labels))


def predict(path, image_ids, answer=gold):
    """Predictions, or routed answers, with a record of what the run holds now."""
    records = (
        Prediction(
            image_id=image_id,
            question_id=question.id,
            answers=tuple(answer(image_id, question)),
            probability=0.5,
            model="tiny",
        )
        for image_id in image_ids
        for question in QUESTIONS
    )
    content = "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records)
    run = path.parent.parent
    source, name = run / "stage2", "stage2"
    if path.parent.name == "routed":
        source, name = run / "predictions" / path.name, f"predictions/{path.stem}"
    made_from = read_record(source)
    inputs = {name: made_from.digest} if made_from else {}
    write_artefact(path, content.encode(), command=path.parent.name, inputs=inputs)


def train(run="main", content="weights"):
    """A finished stage 2 of `run`."""
    folder = Path(f"work/{run}/stage2")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(content)
    record_folder(folder, ["model.safetensors"], command="finetune --stage 2", inputs={})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(Path("data/development"), DEVELOPMENT)
    write_images(Path("data/test"), TEST)
    Path("data/test/test_image_ids.txt").write_text("\n".join(TEST))
    dataset = read_dataset(Path("data/development"))
    Split(
        by="group",
        seed=7,
        validation=(tuple(DEVELOPMENT[:4]),),
        groups={image_id: index for index, image_id in enumerate(DEVELOPMENT)},
        fingerprint=dataset.fingerprint,
        certificate=Certificate(
            groups=12, largest_group=1, linked_pairs=0, leaked_pairs=0, leaked_by_plain_split=0, closest=None
        ),
    ).write(Path("work/split.json"))
    predict(Path("work/main/predictions/val.jsonl"), DEVELOPMENT[:4], lambda image_id, q: gold("dev01", q))
    predict(Path("work/main/predictions/test.jsonl"), TEST, lambda image_id, q: gold("dev01", q))
    predict(Path("work/main/routed/val.jsonl"), DEVELOPMENT[:4])
    predict(Path("work/main/routed/test.jsonl"), TEST)
    return tmp_path


def medvqa(*words):
    return CliRunner().invoke(app, list(words))


def test_score_compares_majority_blip2_and_routed_on_every_fold_with_gold_answers(workspace):
    result = medvqa("score", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert list(content["folds"]) == ["val", "test"]
    for fold in content["folds"].values():
        assert fold["answered_by"] == "routed"
        assert (fold["global"]["exact_set"], fold["blip2"]["global"]["exact_set"]) == (1.0, 0.5)
        assert fold["global"]["majority"] == 0.5
        assert UNLABELLED not in [question["id"] for question in fold["questions"]]
    assert json.loads(Path("work/main/scores.json").read_text()) == {"folds": content["folds"]}
    assert (content["fold"], content["global"]) == ("test", content["folds"]["test"]["global"])
    assert [each["exact_set"] for each in content["questions"]] == [1.0] * 17
    assert "Table 5 of the paper" in Path("work/main/report.html").read_text()


def test_heat_maps_are_computed_on_the_device_that_is_named(workspace):
    result = medvqa("score", "--heat-maps", "--device", "gpu:7")
    assert result.exit_code == 1
    assert "gpu:7" in result.output


def test_score_prints_the_formatting_loss_first(workspace):
    predict(Path("work/main/routed/test.jsonl"), TEST, lambda image_id, q: gold(image_id, q)[:1])
    lines = medvqa("score", "work/main/routed/test.jsonl").stdout.splitlines()
    assert lines[0].startswith("Up to 11.8 points are lost to formatting: question 5 (one answer where a set")


@pytest.mark.parametrize("command", ["score", "package"])
def test_routed_answers_of_other_predictions_are_not_chosen_silently(workspace, command):
    predict(Path("work/main/predictions/val.jsonl"), DEVELOPMENT[:4])
    predict(Path("work/main/predictions/test.jsonl"), TEST)
    refused = medvqa(command)
    assert refused.exit_code == 1
    fold = "val" if command == "score" else "test"
    routed, plain = (f"work/main/{kind}/{fold}.jsonl" for kind in ("routed", "predictions"))
    assert f"{routed} was routed from other predictions than {plain} holds now\n`medvqa route` routes" in refused.output
    assert "--answers plain uses them unrouted, --answers routed the older routed ones" in refused.output
    assert medvqa(command, "--answers", "plain").exit_code == 0
    routed = medvqa(command, "--answers", "routed")
    assert "work/main/routed/test.jsonl is stale: predictions/test was made again" in " ".join(routed.output.split())
    assert routed.exit_code == (0 if command == "score" else 1)


def test_a_vocabulary_that_is_not_the_one_that_was_finished_is_refused_by_name(workspace):
    train()
    folder = Path("work/main/stage2")
    (folder / "vocabulary.json").write_text("as it was finished")
    record_folder(folder, ["model.safetensors", "vocabulary.json"], command="finetune --stage 2", inputs={})
    (folder / "vocabulary.json").write_text("as it is now")
    for command in ("score", "package"):
        refused = medvqa(command)
        assert refused.exit_code == 1
        assert "work/main/stage2/vocabulary.json is not the file that was finished" in refused.output


def test_the_first_line_says_which_answers_are_used(workspace):
    line = medvqa("package").stdout.splitlines()[0]
    assert re.fullmatch(
        r"test: routed answers \(tiny: 216\), work/main/routed/test.jsonl, written .*; 108 differ from BLIP-2's", line
    ), line
    plain = medvqa("score", "--answers", "plain").stdout.splitlines()[0]
    assert plain.startswith("val: BLIP-2's plain answers (tiny: 72), work/main/predictions/val.jsonl, written")
    absent = medvqa("package", "--answers", "f1")
    assert absent.exit_code == 1
    assert "no f1 answers to test in work/main: `medvqa predict --name f1` makes one" in absent.output


def test_copies_and_clocks_change_nothing_of_what_is_packaged(workspace):
    medvqa("package")
    before = Path("run.csv").read_bytes()
    for number, path in enumerate(sorted(Path("work").rglob("*"), reverse=True)):
        os.utime(path, (number, number))
    shutil.copytree("work", "copy/work")
    shutil.copytree("data", "copy/data")
    assert medvqa("package").exit_code == 0
    assert medvqa("package", "--workspace", "copy", "--out", "copy.csv").exit_code == 0
    assert Path("run.csv").read_bytes() == Path("copy.csv").read_bytes() == before


def test_a_test_image_that_was_replaced_stops_package_and_is_named_by_score(workspace):
    train()
    test = read_pictures(Path("data/test/images"), Path("data/test/test_image_ids.txt")).readable.fingerprint
    path = Path("work/main/predictions/test.jsonl")
    write_artefact(path, path.read_bytes(), command="predict", inputs={"test": test})
    predict(Path("work/main/routed/test.jsonl"), TEST)
    assert medvqa("package").exit_code == 0
    Image.new("RGB", (40, 32), (1, 2, 3)).save(f"data/test/images/{TEST[0]}.jpg")
    refused = medvqa("package", "--answers", "plain")
    assert refused.exit_code == 1
    assert "work/main/predictions/test.jsonl is stale: the test set has changed" in refused.output
    assert "work/main/routed/test.jsonl is stale: the test set has changed" in medvqa("package").output
    assert medvqa("package", "--force").exit_code == 0
    assert "warning: work/main/routed/test.jsonl is stale" in medvqa("score").output


def test_a_run_file_scores_as_the_predictions_it_was_made_of(workspace):
    for name in ("run.csv", "run.json", "run.zip"):
        assert medvqa("package", "--out", name).exit_code == 0
        alone = json.loads(medvqa("score", name, "--json").stdout)
        assert alone["global"]["exact_set"] == 1.0
        against = json.loads(medvqa("score", name, "--gold", "data/test/gt.json", "--json").stdout)
        assert against["questions"][0]["exact_set"] == 1.0
    assert medvqa("score", "run.csv", "--gold", "absent.json").exit_code == 1
    assert medvqa("score", "--gold", "data/test/gt.json").exit_code == 2


def test_compare_takes_files_names_of_runs_or_a_run_before_and_after_routing(workspace):
    before, after = "work/main/predictions/test.jsonl", "work/main/routed/test.jsonl"
    content = json.loads(medvqa("score", "--compare", before, after, "--json").stdout)
    assert content["baseline"] == before
    (gain,) = content["comparisons"]
    assert (gain["global"]["difference"], gain["missing"]) == (0.5, 0)
    assert {question["gained"] for question in gain["questions"]} == {6}
    routing = json.loads(medvqa("score", "--compare", "--json").stdout)["folds"]
    assert {fold: each["comparisons"][0]["global"]["difference"] for fold, each in routing.items()} == {
        "val": 0.5,
        "test": 0.5,
    }
    predict(Path("work/other/predictions/test.jsonl"), TEST)
    runs = json.loads(
        medvqa("score", "--compare", "main", "other", before, "--gold", "data/test/gt.json", "--json").stdout
    )
    assert [each["global"]["difference"] for each in runs["comparisons"]] == [0.0, -0.5]
    assert list(json.loads(medvqa("score", "--compare", "main", "other", "--json").stdout)["folds"]) == ["test"]
    shown = medvqa("score", "--compare", before, after)
    assert "B − A is +50.0 points" in shown.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare", "main"], "--compare needs two or more"),
        (["--compare", "main", "absent"], "absent: neither a file nor a run"),
        (["run.csv", "other.csv"], "--compare sets them side by side"),
        (["--json", "--csv"], "one format at a time"),
        (["--compare", "main", "table.csv"], "published figures have no answers"),
    ],
)
def test_what_cannot_be_compared_is_told_in_words(workspace, words, message):
    Path("table.csv").write_text("id,accuracy\n4,0.5\n")
    result = medvqa("score", *words)
    assert (result.exit_code, message in result.output) == (2, True), result.output


def test_published_figures_are_scored_without_gold_or_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("question,accuracy\nIs there text?,0.5\nHave all polyps been removed?,0.7\n")
    assert json.loads(medvqa("score", "table.csv", "--json").stdout)["global"]["exact_set"] == 0.6


def test_every_format_prints_nothing_but_itself(workspace):
    assert medvqa("score", "--csv").stdout.startswith("fold,system,question_id")
    assert medvqa("score", "--markdown").stdout.startswith("### val")


def test_plots_are_written_as_png_and_svg(workspace):
    before, after = "work/main/predictions/test.jsonl", "work/main/routed/test.jsonl"
    assert medvqa("score", "--compare", before, after, "--plots", "plots").exit_code == 0
    assert sorted(path.name for path in Path("plots").iterdir()) == ["comparison-test-1.png", "comparison-test-1.svg"]


def test_a_report_of_a_file_shows_thumbnails_of_the_images_beside_its_gold(workspace):
    words = ("work/main/routed/test.jsonl", "--gold", "data/test/gt.json", "--report", "r.html")
    assert medvqa("score", *words).exit_code == 0
    text = Path("r.html").read_text(encoding="utf-8")
    assert "images have no thumbnail" not in text
    assert "test00" not in text  # no official id: it might name a patient
    assert "record 1 of gt.json" in text
    assert "<title>MEDVQA-GI: run test.jsonl</title>" in text  # and no folder, which might name somebody, too


@pytest.mark.parametrize("preset", ["vit-g-t5-base", "folder"])
def test_figure_2_of_the_report_has_every_run_also_one_whose_sizes_are_those_of_a_folder(workspace, preset):
    sizes = PRESETS["vit-g-t5-base"]
    parts = {"vision": sizes.vision, "qformer": sizes.qformer, "language": sizes.language}
    Path("weights").mkdir()
    FolderConfig(**parts, sources=dict.fromkeys(parts, "blip2")).write(Path("weights"))
    config = StageConfig(
        preset=preset,
        stage=2,
        recipe=Recipe(epochs=1, freeze_vision=True),
        seed=0,
        fold=0,
        data="",
        training_images="",
        weights_folder="weights" if preset == "folder" else "weights that were moved since",
        weights={},
    )
    Path("work/main/stage2").mkdir()
    Path("work/main/stage2/config.json").write_text(config.model_dump_json())
    assert medvqa("score").exit_code == 0
    text = Path("work/main/report.html").read_text(encoding="utf-8")
    assert re.search(r"run main</th><td[^>]*>frozen</td><td[^>]*>1\.4B<", text)


@pytest.mark.parametrize("option", ["--report", "--plots"])
def test_published_figures_have_no_report_and_no_plots(tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("id,accuracy\n0,0.5\n")
    result = medvqa("score", "table.csv", option, "there")
    assert result.exit_code == 2
    assert "table.csv holds published figures, without the answers" in result.output
    assert not Path("there").exists()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("{}.jpg", "its ids have an extension: write them without"), ("x{}", "name the gold answers to these images")],
)
def test_answers_to_none_of_the_gold_images_are_an_error_and_no_score_of_zero(workspace, name, remedy):
    answer = [{"QuestionID": 4, "Question": QUESTIONS[4].text, "Answer": ["Yes"]}]
    Path("run.json").write_text(json.dumps({name.format(image_id): answer for image_id in TEST}))
    result = medvqa("score", "run.json", "--gold", "data/test/gt.json")
    assert result.exit_code == 1
    assert "run.json: none of its images is in data/test/gt.json" in result.output
    assert remedy in result.output


def test_gold_images_that_were_trained_on_are_told(workspace):
    predict(Path("all.jsonl"), DEVELOPMENT)
    told = medvqa("score", "all.jsonl", "--gold", "data/development/gt.json").stdout
    assert "8 of the 12 images are, or resemble, training images; without them" in told


def test_the_classical_floor_stands_beside_the_majority_where_it_covers_the_images(workspace):
    predict(Path("work/baseline/predictions/test.jsonl"), TEST)
    predict(Path("work/main/experts/classical/val.jsonl"), DEVELOPMENT[:3])
    folds = json.loads(medvqa("score", "--json").stdout)["folds"]
    assert (folds["val"]["global"]["classical"], folds["test"]["global"]["classical"]) == (None, 1.0)
    assert "classical" in medvqa("score").stdout


def read_manifest():
    return json.loads(MANIFEST.read_text())


def test_package_writes_the_test_images_in_the_lists_order_with_a_manifest(workspace):
    result = medvqa("package", "--out", "run.csv")
    assert result.exit_code == 0, result.output
    assert "run.csv: 216 answers to 12 test images" in result.stdout
    assert "training never answers 1 of the 18 questions (6: " in result.stdout
    assert list(dict.fromkeys(image_id for image_id, _ in read_run(Path("run.csv")))) == TEST
    manifest = read_manifest()
    assert (manifest["seed"], manifest["command"]) == (7, "medvqa package --out run.csv --run main")
    assert "work/main/routed/test.jsonl" in manifest["inputs"]
    assert str(workspace) not in json.dumps(manifest)


def test_the_manifest_holds_the_scores_of_these_predictions_or_none(workspace):
    medvqa("package")
    assert read_manifest()["scores"] is None
    medvqa("score")
    medvqa("package")
    assert read_manifest()["scores"]["folds"]["test"]["global"]["exact_set"] == 1.0
    predict(Path("work/main/routed/test.jsonl"), TEST, lambda image_id, q: gold("dev00", q))
    medvqa("package")
    assert read_manifest()["scores"] is None


def test_a_damaged_file_of_ours_is_named_with_the_command_that_makes_it_anew(workspace):
    medvqa("score")
    Path("work/main/stage2").mkdir()
    Path("work/main/stage2/vocabulary.json").write_text("{}")
    output = medvqa("score").output
    assert "vocabulary.json is damaged: questions: Field required" in output
    assert "`medvqa finetune --stage 2 --fresh` trains it again" in output


def test_a_run_that_cannot_be_written_is_said_so(workspace):
    Path("folder.csv").mkdir()
    result = medvqa("package", "--out", "folder.csv")
    assert (result.exit_code, result.output.count("cannot write folder.csv")) == (1, 1)


def test_package_without_test_images_says_that_it_is_no_submission(workspace):
    Path("data/test").rename("data/later")
    result = medvqa("package")
    assert result.exit_code == 0
    assert "THIS IS NO SUBMISSION" in result.stdout
    assert list(dict.fromkeys(image_id for image_id, _ in read_run(Path("run.csv")))) == DEVELOPMENT[:4]


def test_an_error_leaves_the_old_run_as_it_was_unless_forced(workspace):
    Path("run.csv").write_text("the old run")
    predict(Path("work/main/routed/test.jsonl"), TEST[:-1])
    result = medvqa("package", "--out", "run.csv")
    assert result.exit_code == 1
    assert "1 of 12 test images are not answered (test00)" in result.output
    assert "run.csv was not written: 1 error" in result.output
    assert Path("run.csv").read_text() == "the old run"
    refused = medvqa("package", "--out", "run.csv", "--json")
    assert json.loads(refused.stdout)["run"] is None
    assert medvqa("package", "--out", "run.csv", "--force").exit_code == 0
    assert len(read_run(Path("run.csv"))) == 11 * 18
    findings = read_manifest()["findings"]
    assert findings[0]["check"] == "missing-image"


def test_a_team_names_its_zip(workspace):
    assert medvqa("package", "--team", "wsq4747").exit_code == 0
    assert Path("wsq4747_clef2023_medvqa.zip").exists()
    assert medvqa("package", "--team", "wsq4747", "--out", "run.zip").exit_code == 2
    assert "the organisers ask for <team>_clef2023_medvqa.zip" in medvqa("package", "--out", "run.zip").stdout


def test_without_predictions_both_name_the_command_that_makes_them(workspace):
    for command in ("score", "package"):
        result = medvqa(command, "--run", "other")
        assert result.exit_code == 1
        assert "`medvqa predict --run other` makes one" in result.output


def test_an_image_list_that_answers_nothing_here_asks_for_its_gold(workspace):
    predict(Path("others.jsonl"), ["elsewhere01"])
    assert "medvqa score FILE --gold gt.json" in medvqa("score", "others.jsonl").output


def check(*words):
    result = medvqa("check", *words, "--json")
    return result.exit_code, {each["check"]: each for each in json.loads(result.stdout)["findings"]}


@pytest.mark.parametrize("name", ["run.csv", "run.json", "wsq4747_clef2023_medvqa.zip"])
def test_check_has_no_error_to_tell_of_a_run_that_package_wrote(workspace, name):
    assert medvqa("package", "--out", name).exit_code == 0
    code, findings = check(name)
    assert (code, list(findings)) == (0, ["untrained"])


def test_a_run_that_was_changed_after_it_was_written_is_known_by_its_manifest(workspace):
    medvqa("package", "--out", "run.csv")
    text = Path("run.csv").read_text()
    Path("run.csv").write_text(text.replace(",Yes\n", ",No\n", 1))
    code, findings = check("run.csv")
    assert (code, findings["altered"]["severity"]) == (1, "error")
    assert "run.csv.manifest.json describes" in findings["altered"]["message"]


def test_a_changed_copy_is_known_by_the_predictions_that_the_rest_comes_from(workspace):
    medvqa("package", "--out", "run.csv")
    text = Path("run.csv").read_text()
    Path("copy.csv").write_text(text)
    assert check("copy.csv")[0] == 0
    Path("copy.csv").write_text(text.replace(f"{TEST[3]},4,Is there text?,Yes", f"{TEST[3]},4,Is there text?,No"))
    code, findings = check("copy.csv")
    assert code == 1
    assert "1 answer differs from work/main/routed/test.jsonl" in findings["altered"]["message"]
    assert f"{TEST[3]}, question 4: 'No', predicted 'Yes'" in findings["altered"]["examples"][0]


def test_answers_that_slipped_to_other_images_are_known(workspace):
    ids = dict(zip(TEST, TEST[1:] + TEST[:1], strict=True))
    medvqa("package", "--out", "run.json")
    run = json.loads(Path("run.json").read_text())
    Path("moved.json").write_text(json.dumps({image_id: run[ids[image_id]] for image_id in run}))
    code, findings = check("moved.json")
    assert (code, findings["altered"]["message"]) == (
        1,
        "the answers are those of work/main/routed/test.jsonl, but to other images",
    )


def test_another_models_run_is_not_taken_for_an_altered_one(workspace):
    """It agrees on most answers, too, but is of another mind here and there, where the first one is in doubt."""
    ids = [f"test{number:03}" for number in range(60)]

    def other(image_id, question):
        number = int(image_id[-3:])
        return gold(image_id, question) if (7 * number + 5 * question.id) % 16 else gold("test01", QUESTIONS[5])

    predict(Path("work/main/routed/test.jsonl"), ids)
    predict(Path("work/other.jsonl"), ids, other)
    answers = {(p.image_id, p.question_id): p.answers for p in read_predictions(Path("work/other.jsonl"))}
    mine = {(p.image_id, p.question_id): p.answers for p in read_predictions(Path("work/main/routed/test.jsonl"))}
    source = Source("mine", mine, dict.fromkeys(mine, 0.5))
    assert sum(mine[pair] != answers[pair] for pair in mine) in range(60, 75)
    assert list(check_source(answers, [source])) == []
    (found,) = check_source(answers, [source._replace(probabilities=dict.fromkeys(mine, 0.9))])  # against its certainty
    assert (found.check, found.severity) == ("altered", "error")
    few = {pair: given if pair[0] < "test015" else mine[pair] for pair, given in answers.items()}  # images
    one = {pair: ("Grey",) if pair[1] == 5 else given for pair, given in mine.items()}  # question
    for altered in (few, one):
        assert [each.check for each in check_source(altered, [source])] == ["altered"]
    assert list(check_source({pair: given for pair, given in one.items() if pair[0] < "test009"}, [source])) == []
    assert list(check_source({pair: given[::-1] for pair, given in mine.items()}, [source])) == []  # sets


def sources(count=60):
    """Answers to many images, and two models' predictions of them that agree on nine of ten."""
    answers = {
        (f"test{n:03}", q.id): (q.known[(n * (q.id + 3) // 7 + n % 3) % 2],) for n in range(count) for q in QUESTIONS
    }
    other = {
        (image, q): (QUESTIONS[q].known[2],) if q in (5, 10) and int(image[4:]) % 3 == 0 else given
        for (image, q), given in answers.items()
    }
    return answers, [Source("mine", answers, {}), Source("other", other, {})]


def told(answers, known):
    return [(each.check, each.severity, each.message) for each in check_source(answers, known)]


def test_a_file_with_images_of_two_runs_is_an_error_that_names_both():
    answers, (mine, other) = sources()
    half = {pair: given if pair[0] < "test030" else other.answers[pair] for pair, given in answers.items()}
    message = "every image is answered as in mine or as in other: two runs in one file"
    assert told(half, [mine, other]) == [("mixed", "error", message)]
    assert told(other.answers, [mine, other]) == []


def test_an_ensemble_of_several_predictions_is_a_warning_that_counts_them():
    answers, (mine, other) = sources()
    third = Source("third", {pair: ("third",) if pair[1] == 7 else given for pair, given in answers.items()}, {})
    joined = {
        (image, q): other.answers[image, q] if q == 5 else third.answers[image, q] if image < "test010" else given
        for (image, q), given in answers.items()
    }
    (found,) = check_source(joined, [mine, other, third])
    assert (found.check, found.severity, found.examples) == ("mixed", "warning", ("20 as in other", "10 as in third"))
    assert [each.check for each in check_source(joined, [mine, other])] == ["altered"]  # 10 answers come from nowhere


def test_images_that_repeat_the_one_before_and_sets_without_their_last_member_are_known():
    answers, (mine, _) = sources()
    repeated = {(i, q): answers[f"test{int(i[4:]) // 2 * 2:03}", q] for i, q in answers}
    sets = {pair: (*given, "Red") if pair[1] in (3, 5, 10) else given for pair, given in answers.items()}
    assert told(repeated, [mine])[0][:2] == ("altered", "error")
    assert told(answers, [mine._replace(answers=sets)])[0][:2] == ("altered", "error")
    both = {pair: ("Red", "Pale") if pair[1] in (3, 5, 10) else given for pair, given in answers.items()}
    assert told(both, [mine._replace(answers=sets)]) == []  # they lack members and have others: another model


def test_questions_whose_answers_slipped_or_changed_places_are_known_however_many_they_are():
    answers, (mine, _) = sources()
    images = list(dict.fromkeys(image for image, _ in answers))
    after = dict(zip(images, images[1:] + images[:1], strict=True))
    slipped = {(image, q): answers[after[image], q] if q < 12 else given for (image, q), given in answers.items()}
    exchanged = {(image, q): answers[image, {5: 7, 7: 5}.get(q, q)] for image, q in answers}
    for altered, count, place in ((slipped, 12, "with those of other images"), (exchanged, 2, "to question 7")):
        (found,) = check_source(altered, [mine])
        assert (found.check, found.severity, found.count) == ("altered", "error", count)
        assert found.message == f"{count} questions are answered as in mine, but with the answers in other places"
        assert place in found.examples[0]


def test_check_warns_of_a_run_whose_predictions_or_model_were_made_again(workspace):
    train()
    for kind in ("predictions", "routed"):
        predict(Path(f"work/main/{kind}/test.jsonl"), TEST, lambda image_id, q: gold("dev01", q))
    assert medvqa("package").exit_code == 0
    assert "stale" not in check("run.csv")[1]
    train(content="other weights")
    Path("copy.csv").write_bytes(Path("run.csv").read_bytes())
    for name in ("run.csv", "copy.csv"):  # by its manifest, and by the predictions that it equals
        code, findings = check(name)
        assert (code, findings["stale"]["severity"]) == (0, "warning")
        assert "work/main/routed/test.jsonl is stale" in findings["stale"]["message"]
    predict(Path("work/main/routed/test.jsonl"), TEST, lambda image_id, q: gold("dev00", q))
    assert "was written again after the run" in check("run.csv")[1]["stale"]["message"]


def test_the_manifest_names_the_models_of_the_run_that_the_predictions_lie_in(workspace):
    for run in ("main", "a", "b-c"):
        train(run, run)
    predict(Path("work/a/predictions/test.jsonl"), TEST)
    predict(Path("work/ensemble-a-b-c/predictions/test.jsonl"), TEST)

    def models(*words):
        assert medvqa("package", *words).exit_code == 0
        manifest = read_manifest()
        return manifest["command"], [name.split("/")[1] for name in manifest["inputs"] if "model" in name]

    file = "work/a/predictions/test.jsonl"
    assert models("--predictions", file) == (
        f"medvqa package --out run.csv --run a --predictions {Path(file).name}",
        ["a"],
    )
    assert models("--run", "ensemble-a-b-c")[1] == ["a", "b-c"]
    assert medvqa("package", "--verify", "run.csv").exit_code == 0


def test_verify_names_whatever_is_not_as_it_was(workspace):
    Path("work/main/stage2").mkdir()
    for name in ("model.safetensors", "config.json"):
        Path("work/main/stage2", name).write_text("as it was")
    Path("work/main/experts/classical").mkdir(parents=True, exist_ok=True)
    Path("work/main/experts/classical/model.safetensors").write_text("as it was")
    Path("work/main/calibration.json").write_text("{}")
    medvqa("package", "--out", "run.csv")
    same = medvqa("package", "--verify", "run.csv")
    assert (same.exit_code, same.stdout.count(": the same")) == (0, 10)
    for path, what in (
        ("run.csv", "run run.csv"),
        ("work/main/stage2/model.safetensors", "input work/main/stage2/model.safetensors"),
        ("work/main/stage2/config.json", "input work/main/stage2/config.json"),
        ("work/main/experts/classical/model.safetensors", "input work/main/experts/classical/model.safetensors"),
        ("work/main/calibration.json", "input work/main/calibration.json"),
        ("work/split.json", "input work/split.json"),
        ("work/main/routed/test.jsonl", "input work/main/routed/test.jsonl"),
        (f"data/development/images/{DEVELOPMENT[0]}.jpg", "data development"),
        (f"data/test/images/{TEST[0]}.jpg", "data test"),
        ("data/development/gt.json", "data development"),
        ("data/test/test_image_ids.txt", "data test list"),
    ):
        kept, status = Path(path).read_bytes(), os.stat(path)
        if path.endswith(".jpg"):  # of the same size and date, as a cache knows it
            Path(path).write_bytes(kept.replace(kept[-30:-28], bytes([kept[-30] ^ 1, kept[-29]])))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif path.endswith(".txt"):
            Path(path).write_text("\n".join(kept.decode().split()[::-1]))
        elif path.endswith("gt.json"):
            Path(path).write_bytes(kept.replace(b'"Yes"', b'"No"', 1))
        else:
            Path(path).write_bytes(kept + b" ")
        result = medvqa("package", "--verify", "run.csv")
        assert result.exit_code == 1
        assert next(line for line in result.stdout.splitlines() if "the same" not in line).startswith(f"{what}: ")
        assert "1 of 10 things differs from its manifest" in result.output
        Path(path).write_bytes(kept)
    Path("work/main/stage2/model.safetensors").unlink()
    compared = json.loads(medvqa("package", "--verify", "run.csv", "--json").stdout)["compared"]
    changed = [(each["name"], each["now"]) for each in compared if not each["same"]]
    assert changed == [("work/main/stage2/model.safetensors", None)]


def test_verify_names_scores_that_are_not_those_of_the_manifest_and_other_versions(workspace):
    medvqa("score")
    medvqa("package", "--out", "run.csv")
    assert "scores scores.json: the same" in medvqa("package", "--verify", "run.csv").stdout
    manifest = read_manifest()
    manifest["versions"]["numpy"] = "0.1"
    MANIFEST.write_text(json.dumps(manifest))
    verified = medvqa("package", "--verify", "run.csv")
    assert (verified.exit_code, "numpy was 0.1, here it is" in verified.stdout) == (0, True)
    manifest["scores"]["folds"]["test"]["global"]["exact_set"] = 0.99
    MANIFEST.write_text(json.dumps(manifest))
    verified = medvqa("package", "--verify", "run.csv")
    assert (verified.exit_code, "scores scores.json: " in verified.stdout) == (1, True)
    Path("work/main/scores.json").unlink()
    assert "it does not exist now" in medvqa("package", "--verify", "run.csv").stdout


def test_verify_knows_predictions_from_elsewhere_and_a_manifest_of_another_run(workspace, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "mine.jsonl"
    predict(elsewhere, TEST)
    medvqa("score")
    assert medvqa("package", "--predictions", str(elsewhere)).exit_code == 0
    assert read_manifest()["scores"] is None  # they are of the run's own answers
    assert "input mine.jsonl" in medvqa("package", "--verify", "run.csv").output
    assert medvqa("package", "--verify", "run.csv", "--predictions", str(elsewhere)).exit_code == 0
    medvqa("package", "--out", "run.json")
    assert medvqa("package", "--verify", "run.csv", "--predictions", str(elsewhere)).exit_code == 0  # has its own still
    MANIFEST.write_bytes(Path("run.json.manifest.json").read_bytes())
    refused = medvqa("package", "--verify", "run.csv")
    assert (refused.exit_code, "run.csv.manifest.json describes run.json, not run.csv" in refused.output) == (1, True)


def test_package_says_what_the_organisers_checker_would(workspace):
    said = medvqa("package").stdout  # a CSV, which their checker does not read
    assert "checker" not in said
    assert "(the organisers take it as `medvqa package --team NAME` writes it)" in said
    assert json.loads(medvqa("package", "--out", "run.json", "--json").stdout)["organisers"]["accepts"] is True
    predict(Path("work/main/routed/test.jsonl"), TEST[:-1])
    assert "would accept it: it looks at 1 image of 12 and at no answer, and misses missing-image" in (
        medvqa("package", "--out", "run.json").output
    )


def test_a_manifest_from_outside_reads_nothing_outside_the_workspace(workspace):
    medvqa("package", "--out", "run.csv")
    manifest = read_manifest()
    manifest["inputs"] = {"/etc/hostname": "0", "../run.csv": "0", "work/split.json\x1b[2J": "0"}
    MANIFEST.write_text(json.dumps(manifest))
    result = medvqa("package", "--verify", "run.csv")
    assert result.stdout.count("it does not exist now") == 3
    assert "\x1b" not in result.stdout
    MANIFEST.write_text("{")
    assert "run.csv.manifest.json is damaged" in medvqa("package", "--verify", "run.csv").output
    MANIFEST.unlink()
    assert "`medvqa package --out run.csv` makes one" in medvqa("package", "--verify", "run.csv").output


def test_package_refuses_answers_of_another_model_than_there_is_now(workspace):
    train()
    for kind in ("predictions", "routed"):
        predict(Path(f"work/main/{kind}/test.jsonl"), TEST)
    train(content="other weights")
    refused = medvqa("package")
    assert refused.exit_code == 1
    assert "work/main/routed/test.jsonl is stale: stage2 was made again" in refused.output
    assert "→ `medvqa predict`, or --force" in refused.output, "what has to be made first"
    assert not Path("run.csv").exists()
    assert medvqa("package", "--force").exit_code == 0


def test_package_shows_what_validation_lets_one_expect(workspace):
    assert "What validation lets you expect" not in medvqa("package").stdout
    medvqa("score")
    assert "What validation lets you expect" in medvqa("package").stdout
    expected = json.loads(medvqa("package", "--json").stdout)["expected"]
    assert expected[0] == {
        "id": 0,
        "question": "What type of procedure is the image taken from?",
        "exact_set": 1.0,
        "interval": [0.510109, 1.0],  # Wilson: 4 of 4
        "majority": 0.5,
    }


def test_answers_as_strings_are_written_and_known_again(workspace):
    assert medvqa("package", "--out", "run.json", "--answer-form", "string").exit_code == 0
    entry = json.loads(Path("run.json").read_text())[TEST[0]][5]
    assert entry["Answer"] == "; ".join(gold(TEST[0], QUESTIONS[5]))
    code, findings = check("run.json")
    assert (code, sorted(findings)) == (0, ["answer-form", "untrained"])


def test_a_later_edition_gets_its_own_file_in_its_own_words(workspace):
    assert medvqa("package", "--edition", "gi-2025").exit_code == 0
    rows = json.loads(Path("predictions_1.json").read_text())["predictions"]
    assert [row["index"] for row in rows] == list(range(12 * 18))
    assert rows[12] == {
        "index": 12,
        "img_id": TEST[0],
        "question": "Are there any abnormalities in the image? Check all that are present.",
        "answer": "ulcerative colitis",
    }
    assert check("predictions_1.json", "--edition", "gi-2025")[0] == 0
    Path("predictions_1.json").write_text(json.dumps({"predictions": [*rows[:12], {**rows[12], "answer": "Polyp"}]}))
    code, findings = check("predictions_1.json", "--edition", "gi-2025")
    assert code == 1
    assert "'Polyp', spelt 'polyp' in training" in findings["vocabulary"]["examples"][0]
    for place, changed, said in (
        (10, {"answer": "not relevant"}, "'not relevant'"),  # "none" in this edition
        (15, {"answer": "lower-rigth"}, "'lower-rigth'"),
        (3, {"question": "What?"}, "question is 'What?', none of the 18"),
    ):
        spoilt = [{**row, **changed} if row["index"] == place else row for row in rows]
        Path("predictions_1.json").write_text(json.dumps({"predictions": spoilt}))
        code, findings = check("predictions_1.json", "--edition", "gi-2025")
        named = [each for each in findings.values() if said in str(each["examples"])]
        assert (code, {"error"} <= {each["severity"] for each in named}) == (1, True), findings
    assert medvqa("package", "--edition", "gi-1999").exit_code == 2
    assert medvqa("package", "--edition", "gi-2025", "--team", "us").exit_code == 2
    assert medvqa("package", "--edition", "gi-2025", "--out", "run.csv").exit_code == 2
