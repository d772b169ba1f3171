"""`medvqa predict`: averaged, repaired, interrupted or on several devices, the answers are right."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_dataset import picture, record, write_labels
from trained import write_run
from typer.testing import CliRunner

from imageclef_vqa import environment
from imageclef_vqa.artefacts import read_record, write_artefact
from imageclef_vqa.cli import app
from imageclef_vqa.data import Dataset, read_dataset, read_pictures, read_split
from imageclef_vqa.data.augmentation import MIRRORED
from imageclef_vqa.editions import (
    QUESTIONS,
    as_set,
    contradictions,
    learn_implications,
    learn_vocabulary,
    read_predictions,
)
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inference import answerer, answering, sharding
from imageclef_vqa.inference.answerer import Answerer
from imageclef_vqa.inference.augmentation import VIEWS, mirrored_back
from imageclef_vqa.inference.calibration import Calibration
from imageclef_vqa.inference.decoding import NO_ANSWER
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inputs import sha256
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.workspace import Workspace

IMAGES, TEST = 60, 7
NO_PICTURES = Dataset(Path(), (), (), "")


def labels(number):
    """Labels with one rule that nobody would have thought of: no polyp has a size, one polyp has none."""
    none = number % 2 == 0
    return {
        "q5": [["Red", "Pink"], ["White"], ["Pink"], ["Red", "White"]][number // 2 % 4],
        "q8": ["0" if none else "1"],
        "q16": ["5-10mm" if none else "Not relevant"],
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A workspace whose runs `one`, `other` and `twin`, which equals `one`, answer anything."""
    folder = tmp_path_factory.mktemp("predict")
    for fold, numbers in (("development", range(IMAGES)), ("test", range(200, 200 + TEST))):
        (folder / "data" / fold / "images").mkdir(parents=True)
        for number in numbers:
            picture(number).save(folder / "data" / fold / "images" / f"image{number}.jpg", quality=95)
    write_labels(folder / "data/development", [record(f"image{n}", **labels(n)) for n in range(IMAGES)])
    write_run(Workspace.at(folder, "one"), seed=1)
    write_run(Workspace.at(folder, "other"), seed=2)
    shutil.copytree(folder / "work/one", folder / "work/twin")
    return folder


@pytest.fixture
def forgetful(root):
    """No run is calibrated, before and after."""
    yield
    for path in root.glob("work/*/calibration*"):
        path.unlink()


def predict(root, *arguments, runs=("one",)):
    named = [word for run in runs for word in ("--run", run)]
    return CliRunner().invoke(
        app, ["predict", "--workspace", str(root), "--device", "cpu", *named, *map(str, arguments)]
    )


def predicted(root, *arguments, fold="test", runs=("one",)):
    done = predict(root, "--fold", fold, *arguments, runs=runs)
    assert done.exit_code == 0, done.output
    name = runs[0] if len(runs) == 1 else "-".join(["ensemble", *runs])
    variant = next((arguments[i + 1] for i, word in enumerate(arguments) if word == "--name"), None)
    variant = variant or ("augmented" if "--augment" in arguments else None)
    following = f"score --answers {variant}" if variant else "route"
    assert f"next: `medvqa {following} --run {name} --workspace {root}`" in done.stdout
    return read_predictions(Workspace.at(root, name).predictions(fold, variant))


def shares(prediction):
    return {candidate.answers: candidate.probability for candidate in prediction.candidates}


def whole(prediction):
    """Whether all allowed answers are listed."""
    return sum(shares(prediction).values()) > 1 - 1e-9


def test_two_equal_runs_answer_as_one(root):
    alone, both = predicted(root), predicted(root, runs=("one", "twin"))
    for mine, theirs in zip(alone, both, strict=True):
        assert (mine.image_id, mine.question_id, mine.answers) == (theirs.image_id, theirs.question_id, theirs.answers)
        assert shares(theirs) == pytest.approx(shares(mine), abs=1e-12)


def test_an_ensemble_has_the_mean_of_its_runs_probabilities(root):
    one, other = predicted(root), predicted(root, runs=("other",))
    both = predicted(root, runs=("one", "other"))
    compared = 0
    for pair in zip(one, other, both, strict=True):
        if not all(map(whole, pair)):
            continue
        first, second, mean = map(shares, pair)
        assert mean == pytest.approx({answers: (first[answers] + second[answers]) / 2 for answers in mean}, abs=1e-9)
        assert pair[2].answers == max(mean, key=mean.__getitem__)
        compared += any(abs(first[answers] - second[answers]) > 0.01 for answers in mean)
    assert compared > TEST, "these runs differ, or nothing is shown"


def test_augmented_answers_are_the_mean_over_the_views(root):
    workspace = Workspace.at(root, "one")
    augmented, plain = predicted(root, "--augment"), predicted(root)
    pixels = read_pictures(root / "data/test/images", root / "none").readable
    from imageclef_vqa.data import load_pixels

    pixels = load_pixels(pixels, 128, None)
    answerer = Answerer.of_run(workspace)
    views = [answerer.rank(view(pixels)) for view in VIEWS]
    moved = 0
    for place_, (mine, before) in enumerate(zip(augmented, plain, strict=True)):
        lists = [dict(view[place_ // 18][place_ % 18]) for view in views]
        expected = {answers: sum(each.get(answers, 0) for each in lists) / len(VIEWS) for answers in shares(mine)}
        assert shares(mine) == pytest.approx(expected, abs=1e-5)
        moved += shares(mine) != pytest.approx(shares(before), abs=1e-4)
    assert moved > 0


def test_a_model_that_learnt_from_mirrored_images_answers_by_the_mean_over_views(root):
    pixels = np.stack([np.asarray(picture(number).resize((128, 128))) for number in (200, 201)])
    plain = Answerer.of_run(Workspace.at(root, "one"))
    vocabulary = Stage(Workspace.at(root, "one"), 2).vocabulary()
    averaged = Answerer(plain.model, plain.tokenizer, vocabulary, views=MIRRORED[:2])
    mirrored = plain.rank(np.ascontiguousarray(pixels[:, :, ::-1]))
    compared = 0
    for lists in zip(plain.rank(pixels), mirrored, averaged.rank(pixels), strict=True):
        for question, (first, second, both) in enumerate(zip(*lists, strict=True)):
            back = {as_set(_mirrored(each, question) for each in answers): p for answers, p in second}
            expected = {as_set(answers): p / 2 for answers, p in first}
            for answers, p in back.items():
                expected[answers] = expected.get(answers, 0) + p / 2
            assert {as_set(answers): p for answers, p in both} == pytest.approx(expected, abs=1e-5)
            compared += len(back)
    assert compared > 40


def test_a_run_that_was_trained_on_mirrored_images_mirrors_its_answers_back(root, monkeypatch):
    def config(stage, read=Stage.config):
        found = read(stage)
        return found.model_copy(update={"recipe": found.recipe.model_copy(update={"augment": True})})

    def upper_left(_language, _memory, _trie, questions):
        return [((("Upper-left",) if question == 10 else ("elsewhere",), 1.0),) for question in questions]

    monkeypatch.setattr(Stage, "config", config)
    monkeypatch.setattr(Stage, "vocabulary", lambda _stage: learn_vocabulary([]))  # all that the bank knows
    monkeypatch.setattr(answerer, "rank_answers", upper_left)
    (answers,) = Answerer.of_run(Workspace.at(root, "one")).rank(np.zeros((1, 128, 128, 3), "uint8"))
    assert dict(answers[10]) == {(f"{row}-{side}",): 0.25 for row in ("Upper", "Lower") for side in ("left", "right")}
    assert dict(answers[11]) == {("elsewhere",): 1.0}, "views in which a location has no name do not count"


def test_locations_are_mirrored_back():
    vocabulary = learn_vocabulary([(10, ("Upper-left",)), (10, ("Upper-right", "Center")), (5, ("Pink",))])
    ranked = ((("Upper-left",), 0.7), (("Center", "Upper-right"), 0.3))
    seen = mirrored_back(MIRRORED[1], ranked, vocabulary[10])
    assert [(as_set(answers), p) for answers, p in seen] == [({"Upper-right"}, 0.7), ({"Upper-left", "Center"}, 0.3)]
    assert mirrored_back(MIRRORED[2], ranked, vocabulary[10]) == (), "no name for a location at the bottom"
    assert mirrored_back(MIRRORED[2], ((("Pink",), 1.0),), vocabulary[5]) == ((("Pink",), 1.0),)


def _mirrored(location, question):
    lower = "Lower-rigth" if question == 15 else "Lower-right"
    pairs = {"Upper-left": "Upper-right", "Center-left": "Center-right", "Lower-left": lower}
    return (pairs | {right: left for left, right in pairs.items()}).get(location, location)


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_moves_a_pixel_or_changes_a_hue(view):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(view(pixels[:, ::-1, ::-1]), view(pixels)[:, ::-1, ::-1])
    assert np.array_equal(view(pixels[..., ::-1]), view(pixels)[..., ::-1])
    seen = view(np.arange(256, dtype=np.uint8)).astype(int)
    assert (np.diff(seen) >= 0).all()
    assert np.abs(seen - np.arange(256)).max() <= 25


def test_ids_choose_images_and_their_order(root, tmp_path):
    folder, ids = root / "data/test/images", tmp_path / "ids.txt"
    ids.write_text("image203\nimage201\n")
    done = predict(root, "--images", folder, "--ids", ids, "--out", tmp_path / "some.jsonl")
    assert done.exit_code == 0, done.output
    some = read_predictions(tmp_path / "some.jsonl")
    assert [each.image_id for each in some] == ["image203"] * 18 + ["image201"] * 18
    of_all = {(each.image_id, each.question_id): each for each in predicted(root)}
    for each in some:
        theirs = of_all[each.image_id, each.question_id]
        assert each.answers == theirs.answers
        assert each.probability == pytest.approx(theirs.probability, abs=1e-5)


def test_a_batch_has_no_more_images_than_the_model_reads_at_once():
    """Which is what a kill may cost."""
    assert answering.images_in_batch(find_preset("tiny")) == 32
    assert answering.images_in_batch(find_preset("vit-g-glm-6b")) == 2


def test_extensions_in_any_case_are_answered_and_skipped_files_are_named(root, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "answers.jsonl"
    (folder / "more").mkdir(parents=True)
    for name in ("a.JPG", "b.png", "c.Jpeg.PNG"):
        picture(1).save(folder / name)
    picture(2).save(folder / "d.bmp")
    done = predict(root, "--images", folder, "--out", out)
    assert done.exit_code == 0, done.output
    assert [each.image_id for each in read_predictions(out)[::18]] == ["a", "b", "c.Jpeg"]
    assert "not answered, because pictures are .jpg or .png: d.bmp, more/" in done.stdout


@pytest.mark.parametrize(
    ("names", "message"),
    [(("a.jpg", "a.png"), "image 2 (a)"), (("a b.jpg",), "'a b' is no id; an id has only letters, digits")],
)
def test_ambiguous_or_invalid_image_names_are_reported_and_nothing_is_written(root, tmp_path, names, message):
    folder, out = tmp_path / "images", tmp_path / "answers.jsonl"
    folder.mkdir()
    for name in names:
        picture(1).save(folder / name)
    done = predict(root, "--images", folder, "--out", out)
    assert done.exit_code == 1
    assert message in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("ids", ["image200\nimage999\n", "image200\n../image201\n", "image200\nimage200\n", ""])
def test_ids_without_an_image_are_reported_and_nothing_is_written(root, tmp_path, ids):
    (tmp_path / "ids.txt").write_text(ids)
    out = tmp_path / "some.jsonl"
    done = predict(root, "--images", root / "data/test/images", "--ids", tmp_path / "ids.txt", "--out", out)
    assert done.exit_code == 1
    assert not out.exists()
    assert (ids.split() or ["ids.txt"])[-1] in done.stderr


def test_an_unreadable_image_is_named_or_gets_the_priors_answers_flagged_as_such(root, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "answers.jsonl"
    shutil.copytree(root / "data/test/images", folder)
    content = (folder / "image202.jpg").read_bytes()
    (folder / "image202.jpg").write_bytes(content[: len(content) // 2])
    (folder / "image204.jpg").write_text("no picture")
    done = predict(root, "--images", folder, "--out", out)
    assert done.exit_code == 1
    assert "image202.jpg: truncated" in done.stderr
    assert "image204.jpg: not an image" in done.stderr
    assert not out.exists()

    done = predict(root, "--images", folder, "--out", out, "--on-bad-image", "prior")
    assert done.exit_code == 0, done.output
    answered = read_predictions(out)
    assert [each.image_id for each in answered] == [f"image{n}" for n in range(200, 207) for _ in QUESTIONS]
    assert {each.image_id for each in answered if each.prior} == {"image202", "image204"}
    assert done.stdout.count("answered by the training prior") == 2
    training = read_split(root / "work/split.json", dataset := read_dataset(root / "data/development")).train(0)
    vocabulary = learn_vocabulary(dataset.subset(training).labels())
    readable = {(each.image_id, each.question_id): each.answers for each in predicted(root)}
    for each in answered:
        key = each.image_id, each.question_id
        assert each.answers == (vocabulary[each.question_id].majority if each.prior else readable[key])
        assert (each.model == "training prior") == each.prior


def test_consistent_answers_keep_the_rules_of_these_labels_which_are_printed(root):
    dataset = read_dataset(root / "data/development")
    training = dataset.subset(read_split(root / "work/split.json", dataset).train(0))
    rules = learn_implications([example.answers for example in training.examples])
    assert {(rule.question, rule.then_question) for rule in rules} == {(8, 16), (16, 8)}

    def broken(predictions):
        images = {}
        for each in predictions:
            images.setdefault(each.image_id, {})[each.question_id] = each.answers
        return sum(bool(contradictions(image, rules)) for image in images.values())

    assert broken(predicted(root)) > 0, "these answers break no rule: nothing is shown"
    done = predict(root, "--fold", "test", "--consistent")
    assert done.exit_code == 0, done.output
    for rule in rules:
        assert f"rule: {rule}" in done.stdout
    repaired = read_predictions(Workspace.at(root, "one").predictions("test", "consistent"))
    assert broken(repaired) == 0
    changed = [each for each in repaired if each.replaced]
    assert f"{len(changed)} answers changed" in done.stdout
    assert all("rule" in each.reason and each.question_id in (8, 16) for each in changed)


@pytest.mark.usefixtures("forgetful")
def test_the_temperature_is_fitted_to_the_validation_fold_and_used_for_the_test_images(root):
    before = predicted(root)
    path = Workspace.at(root, "one").calibration
    assert not path.exists(), "test images calibrate nothing"
    write_labels(root / "data/test", [record(f"image{n}", q3=["Yes"]) for n in range(200, 200 + TEST)])
    done = predict(root, "--json")
    fitted = json.loads(done.stdout)["calibration"]
    assert fitted["pairs"] == IMAGES // 4 * 18
    (root / "data/test/gt.json").unlink()
    predicted(root, "--fold", "val")
    assert json.loads(path.read_text()) == fitted, "gold answers to test images change nothing"
    write_calibration(root, fitted | {"temperature": 3.0})
    cooled = predicted(root)
    assert [each.answers for each in cooled] == [each.answers for each in before]
    for each, plain in zip(cooled, before, strict=True):
        if len(shares(plain)) < 5:
            bent = {answers: p ** (1 / 3.0) for answers, p in shares(plain).items()}
            total = sum(bent.values())
            assert shares(each) == pytest.approx({answers: p / total for answers, p in bent.items()}, abs=1e-5)
    write_calibration(root, fitted | {"temperature": 3.0, "model": "another"})
    assert predicted(root) == before, "what was fitted to another model counts for nothing"


def write_calibration(root, content):
    path = Workspace.at(root, "one").calibration
    write_artefact(path, json.dumps(content).encode(), command="predict --fold val", inputs={})


@pytest.mark.usefixtures("forgetful")
def test_a_changed_calibration_is_refused_and_the_command_that_makes_it_again_is_named(root):
    predicted(root, fold="val")
    plain = Workspace.at(root, "one").predictions("test")
    plain.unlink(missing_ok=True)
    path = Workspace.at(root, "one").calibration
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    done = predict(root, "--fold", "test")
    assert done.exit_code == 1
    assert "work/one/calibration.json is not the file that was finished: its content has changed" in done.stderr
    assert f"`medvqa predict --fold val --run one --workspace {root}` makes it again" in done.stderr
    assert not plain.exists()
    predicted(root, fold="val")
    predicted(root)


@pytest.mark.usefixtures("forgetful")
def test_augmented_answers_have_a_calibration_of_their_own(root):
    predicted(root, fold="val")
    path = Workspace.at(root, "one").calibration
    plain = path.read_bytes()
    predicted(root, "--augment", fold="val")
    assert path.read_bytes() == plain
    assert path.with_name("calibration-augmented.json").exists()


def test_a_model_that_was_changed_is_refused_before_anything_is_answered(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("predictions"))
    model = copy / "work/one/stage2/model.safetensors"
    intact = model.read_bytes()
    for place in (len(intact) // 2, len(intact) - 2):
        flipped = bytearray(intact)
        flipped[place] ^= 64
        model.write_bytes(flipped)
        done = predict(copy)
        assert done.exit_code == 1
        changed = "work/one/stage2/model.safetensors is not the file that was finished: its content has changed"
        assert changed in done.stderr
        assert f"`medvqa finetune --stage 2 --run one --workspace {copy} --fresh`" in done.stderr
        assert not (copy / "work/one/predictions").exists()


def test_a_model_without_a_record_is_refused_with_the_command_that_makes_one(root, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "work/one/stage2/record.json").unlink()
    done = predict(copy)
    assert done.exit_code == 1
    assert "work/one/stage2 was made by a version that kept no records" in done.stderr
    assert f"`medvqa finetune --stage 2 --run one --workspace {copy} --fresh`" in done.stderr


def test_answers_have_a_record_of_their_models_their_pictures_and_their_options(root):
    predicted(root, fold="val")
    predicted(root)
    predicted(root, runs=("one", "other"))
    dataset = read_dataset(root / "data/development")
    pictures = read_pictures(root / "data/test/images", root / "none").readable
    one, other = (read_record(Workspace.at(root, run).stage(2)).digest for run in ("one", "other"))
    split = sha256(root / "work/split.json")
    val, test = (read_record(Workspace.at(root, "one").predictions(fold)) for fold in ("val", "test"))
    calibration = Calibration.model_validate_json(Workspace.at(root, "one").calibration.read_bytes()).digest
    assert val.inputs == {"stage2": one, "calibration": calibration, "development": dataset.fingerprint, "split": split}
    assert test.inputs == {"stage2": one, "calibration": calibration, "test": pictures.fingerprint}
    assert (val.command, set(val.files)) == ("predict", {"val.jsonl"})
    temperature = json.loads(Workspace.at(root, "one").calibration.read_text())["temperature"]
    options = {"decode": "closed", "optimise": "exact", "augment": False, "consistent": False, "on_bad_image": "stop"}
    assert val.options == test.options == options | {"temperature": temperature}
    joint = read_record(Workspace.at(root, "ensemble-one-other").predictions("test"))
    models = {"work/one/stage2": one, "work/other/stage2": other}
    assert joint.inputs == models | {"calibration": "", "test": pictures.fingerprint}
    for run in ("one", "ensemble-one-other"):
        assert Lineage(Workspace.at(root, run)).artefact("predictions/test").reasons == ()


def test_an_ensemble_is_asked_again_by_its_name(root):
    both = predicted(root, runs=("one", "other"))
    path = Workspace.at(root, "ensemble-one-other").predictions("test")
    path.unlink()
    done = predict(root, "--fold", "test", runs=("ensemble-one-other",))
    assert done.exit_code == 0, done.output
    assert read_predictions(path) == both


def test_variants_are_kept_beside_the_plain_answers(root):
    plain = predicted(root)
    path = Workspace.at(root, "one").predictions("test")
    for words, name in (
        (("--optimise", "f1"), "f1"),
        (("--optimise", "f1", "--consistent"), "f1-consistent"),
        (("--name", "second"), "second"),
        (("--consistent", "--name", "mine"), "mine"),
    ):
        done = predict(root, "--fold", "test", *words)
        assert done.exit_code == 0, done.output
        assert f"next: `medvqa score --answers {name} --run one --workspace {root}`" in done.stdout
        assert (path.parent / name / "test.jsonl").exists()
        assert Lineage(Workspace.at(root, "one")).artefact(f"predictions/{name}/test").status == "fresh"
    assert read_predictions(path) == plain
    assert read_predictions(path.parent / "second" / "test.jsonl") == plain
    record = read_record(path.parent / "mine" / "test.jsonl")
    made_from = {"stage2", "calibration", "test", "development", "split"}
    assert set(record.inputs) == made_from, "its rules come from the development set"


@pytest.mark.parametrize("name", ["plain", "routed", "val", "test", "train", "a/b", "..", "", "-x"])
def test_a_name_that_means_something_else_is_refused(root, name):
    done = predict(root, f"--name={name}")
    assert done.exit_code == 2
    assert "--name" in done.stderr
    assert ("a variant may not be called plain, routed, val, test or train" in done.stderr) == name.isalpha()


def test_answers_to_a_folder_of_images_have_no_name(root, tmp_path):
    done = predict(root, "--images", root / "data/test/images", "--out", tmp_path / "a.jsonl", "--name", "mine")
    assert done.exit_code == 2
    assert "--name is for answers to --fold; answers to --images are kept in the file --out" in done.stderr


def test_a_damaged_batch_of_a_stopped_call_is_answered_again(tmp_path):
    journal = Journal(tmp_path / "journal", "key", 2, [1] * 4)
    for number in range(2):
        journal.add(number, [[(((f"answer {number}",), 0.5),)]] * 2)
    path = journal.folder / "000001.json"
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.7", 1))
    assert Journal(tmp_path / "journal", "key", 2, [1] * 4).missing == [1]
    with pytest.raises(MedvqaError, match=r"000001\.json is damaged"):
        list(journal.read())


def test_a_stopped_call_begins_again_if_the_model_was_trained_again(root, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("predictions"))
    monkeypatch.setattr(answering, "IMAGES_AT_ONCE", 2)
    answered = []

    def rank(self, pixels, augmented):
        answered.append(len(pixels))
        if len(answered) == 3:
            raise MedvqaError("stopped")
        return [[(((question.known[0],), 1.0),) for question in QUESTIONS] for _ in pixels]

    monkeypatch.setattr(Answerer, "rank", rank)
    assert predict(copy, "--fold", "test").exit_code == 1
    shutil.rmtree(copy / "work/one/stage2")
    shutil.copytree(copy / "work/other/stage2", copy / "work/one/stage2")
    assert predict(copy, "--fold", "test").exit_code == 0
    assert answered == [2, 2, 2, 2, 2, 2, 1], "none of the first three batches is kept"


def test_empty_free_answers_are_counted_wrong_and_cannot_be_packaged(root, monkeypatch):
    def generate(self, pixels):
        return [[(((NO_ANSWER if q.id == 5 else q.known[0],), 0.5),) for q in QUESTIONS] for _ in pixels]

    monkeypatch.setattr(Answerer, "generate", generate)
    done = predict(root, "--decode", "free")
    assert done.exit_code == 0, done.output
    assert f"{IMAGES // 4 + TEST} answers said nothing and are written as '(no answer)'" in done.stdout
    predictions = Workspace.at(root, "one").run_folder / "predictions"
    shutil.copytree(predictions / "free", predictions, dirs_exist_ok=True)
    place = ["--workspace", str(root), "--run", "one"]
    scores = json.loads(CliRunner().invoke(app, ["score", "--json", *place]).stdout)["folds"]["val"]["questions"]
    exact = {each["id"]: each["exact_set"] for each in scores}
    assert (exact[5], exact[3]) == (0, 1)
    packaged = CliRunner().invoke(app, ["package", "--out", str(root / "run.csv"), *place])
    assert packaged.exit_code == 1
    assert f"question 5: {TEST} answers are none that the training labels hold" in packaged.output
    assert "'(no answer)'" in packaged.output
    assert not (root / "run.csv").exists()


@pytest.mark.parametrize("shard", [0, 1])
def test_a_device_answers_its_own_shard_of_the_batches_and_no_other(root, tmp_path, monkeypatch, shard):
    dataset = read_pictures(root / "data/test/images", tmp_path / "none").readable
    journal = Journal(tmp_path / "journal", "key", 2, [0] * len(dataset))
    monkeypatch.setattr(Answerer, "rank", lambda self, pixels, augmented: [[] for _ in pixels])
    task = sharding.Task("predict", dataset, journal, 128, free=False, augment=False)
    sharding._answer_shard(Workspace.at(root, "one"), [task], shard, 2)
    assert journal.missing == [number for number in range(4) if number % 2 != shard]


@pytest.mark.parametrize(
    "words",
    [
        ("--devices", "foo"),
        ("--devices", ""),
        ("--devices", "0,,1"),
        ("--devices", "0,0", "--device", "auto"),
        ("--devices", "npu:1,npu:1"),
        ("--devices", "auto"),
        ("--devices", "0,00"),
        ("--devices", "0 1"),
        ("--devices", "-1"),
        ("--devices", "0,1", "--device", "gpu:0"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "finetune --stage 1"])
def test_invalid_devices_are_a_usage_error(command, words):
    result = CliRunner().invoke(app, [*command.split(), "--device", "cpu", *words])
    assert result.exit_code == 2
    assert "--devices" in result.output


@pytest.mark.parametrize(
    ("images", "cores", "planned", "processes"),
    [
        ([1938], 2, 1e9, 2),
        ([1938], 1, 1e9, 1),
        ([1938], 64, 1e9, 7),  # 61 batches
        ([256, 256], 2, 1e9, 2),
        ([255, 256], 2, 1e9, 2),  # a batch begun is a batch
        ([480], 2, 1e9, 1),  # each would start for less than eight batches
        ([7], 2, 1e9, 1),
        ([1938], 2, 8e9, 1),  # together they would fill more than half of the memory
        ([1938], 4, 4e9, 2),
        ([1938], 4, 40e9, 1),
        ([], 2, 1e9, 1),
    ],
)
def test_the_cpu_has_as_many_processes_as_save_time(tmp_path, monkeypatch, images, cores, planned, processes):
    monkeypatch.setattr(environment, "cores", lambda: cores)
    monkeypatch.setattr(environment, "machine_memory", lambda: 16e9)
    tasks = [
        sharding.Task("", NO_PICTURES, Journal(tmp_path / str(index), "", 32, [1] * count), 128, False, False)
        for index, count in enumerate(images)
    ]
    assert sharding.processes_that_pay(tasks, planned) == processes
    for task in tasks:  # what is answered already changes nothing: sums depend on the threads of a process
        task.journal.add(0, [])
    assert sharding.processes_that_pay(tasks, planned) == processes


def test_numbers_are_devices_of_a_kind_and_processes_on_the_cpu():
    assert sharding.device_names("npu:0", ["0", "2"]) == ("npu:0", "npu:2")
    assert sharding.device_names("npu:3", []) == ("npu:3",)
    assert sharding.device_names("cpu", ["0", "1"]) == sharding.device_names("cpu", ["cpu", "cpu"]) == ("cpu", "cpu")
    assert sharding.device_names("npu:0", ["1", "cpu"]) == ("npu:1", "cpu")


def test_finetune_takes_no_names_in_devices():
    result = CliRunner().invoke(app, ["finetune", "--stage", "1", "--devices", "cpu,cpu"])
    assert result.exit_code == 2
    assert "give numbers, as in 0,1" in result.output


def test_the_cpu_has_several_processes_unless_devices_name_one(root, monkeypatch):
    asked = []
    monkeypatch.setattr(answering, "processes_that_pay", lambda tasks, planned: 2)
    monkeypatch.setattr(answering, "answer_tasks", lambda place, tasks, devices: asked.append(devices))
    for words in ((), ("--devices", "cpu")):
        predict(root, "--fold", "test", *words)
    assert asked == [("cpu", "cpu"), ("cpu",)]


def test_a_killed_process_is_reported_and_the_same_command_resumes_and_answers_as_one_process(root, monkeypatch):
    monkeypatch.setattr(answering, "IMAGES_AT_ONCE", 2)
    alone = predicted(root)
    path = Workspace.at(root, "one").predictions("test")
    path.unlink()
    with monkeypatch.context() as while_killed:
        while_killed.setattr(sharding, "_work", killed)
        result = predict(root, "--fold", "test", "--devices", "cpu,cpu")
    assert result.exit_code == 1
    assert "cpu failed: it ended with code -9" in result.output
    assert "the same command resumes from there; if memory ran out, use one process: --devices 0" in result.output
    assert not path.exists()
    shared = predicted(root, "--devices", "cpu,cpu")
    assert len(shared) == TEST * len(QUESTIONS)
    for mine, theirs in zip(alone, shared, strict=True):
        assert (mine.image_id, mine.question_id, mine.answers) == (theirs.image_id, theirs.question_id, theirs.answers)
        assert shares(theirs) == pytest.approx(shares(mine), abs=1e-6)


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_cores_are_limited_by_mkl_num_threads(monkeypatch):
    there = len(os.sched_getaffinity(0))
    for told, cores in (("1", 1), ("1000", there), ("0", there), ("many", there), ("", there)):
        monkeypatch.setenv("MKL_NUM_THREADS", told)
        assert environment.cores() == cores
    monkeypatch.delenv("MKL_NUM_THREADS")
    assert environment.cores() == there


@pytest.mark.parametrize(
    ("limit", "least"), [("1000000\n", True), ("max\n", False), (f"{2**62}\n", False), (None, False)]
)
def test_memory_is_limited_by_the_container(tmp_path, monkeypatch, limit, least):
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr(environment, "_MEMORY_LIMIT", file)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert environment.machine_memory() == (1_000_000 if least else machine)


# Forks before anything is computed: threads that compute do not survive a fork.
KILLER = """
import json, os, signal, sys
from pathlib import Path
from imageclef_vqa import devices
devices.prepare("cpu", seed=0)
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.inference import answering
from imageclef_vqa.pipeline.predict import predict_folds
from imageclef_vqa.workspace import Workspace

answering.IMAGES_AT_ONCE = 2
place = Workspace.at(Path(sys.argv[1]), "one")
path = place.predictions("test")
touched = 0


def killed_at(point):
    # Predict in a process that is killed as it touches one of its files for the time number `point`.
    child = os.fork()
    if child == 0:
        touched = 0

        def count(event, arguments):
            global touched
            if event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(str(path.parent)):
                touched += 1
                if touched == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            predict_folds([place], folds=["test"], notify=lambda message: None)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


assert not killed_at(0)
expected = path.read_bytes()
kept, wrong = [], 0
for point in (5, 7, 9, 11, 14, 20, 32):
    path.unlink(missing_ok=True)
    if killed_at(point):
        kept.append(len(list(path.parent.glob(".test.jsonl.unfinished/one/*.json"))))
    wrong += path.exists() and path.read_bytes() != expected
assert not killed_at(0)
print(json.dumps({"kept": kept, "wrong": wrong, "same": path.read_bytes() == expected}))
"""


def test_a_prediction_killed_anywhere_resumes_to_the_same_file_with_no_pair_twice(root):
    done = subprocess.run([sys.executable, "-c", KILLER, str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["kept"]) > 3
    assert len(set(found["kept"])) > 2, "kills at one place show little"
    assert (found["wrong"], found["same"]) == (0, True)
    path = Workspace.at(root, "one").predictions("test")
    assert len(read_predictions(path)) == TEST * 18, "no pair is missing, none stands there twice"
    assert list(path.parent.glob(".*")) == [], "nothing is left beside it"
