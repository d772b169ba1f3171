"""Open questions as data: `qa.jsonl`, the editions that ask them, the split, and batches bounded by pairs."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import picture, write_dataset
from small_open import rows, write_open_dataset, write_rows
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data import read_dataset, read_pictures, read_split
from imageclef_vqa.data.batches import bounded_batches
from imageclef_vqa.data.reading import has_gold, list_file
from imageclef_vqa.editions import EDITIONS, OpenQuestion, Prediction, read_predictions
from imageclef_vqa.editions.facts import Fact, facts_in
from imageclef_vqa.errors import DataError
from imageclef_vqa.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_row_is_read_with_its_question_and_its_answer(tmp_path):
    write_open_dataset(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.open
    example = dataset.examples[1]
    assert example.questions[4] == OpenQuestion("Which color does the abnormality have?", 2, ("abnormality_color",))
    assert dataset.gold()["image1", 4] == ("The abnormality is pink and located in the upper-left.",)
    assert [row for each in dataset.examples for row in each.questions] == list(range(9))


def test_without_labels_no_answer_is_read_and_the_fingerprint_ignores_gold(tmp_path):
    made = write_open_dataset(tmp_path)
    asked = read_dataset(tmp_path, labelled=False)
    assert has_gold(tmp_path)
    assert not asked.gold()
    assert len(asked.examples[0].questions) == 3
    write_rows(tmp_path, [{key: value for key, value in row.items() if key != "answer"} for row in made])
    assert not has_gold(tmp_path)
    assert read_dataset(tmp_path, labelled=False) == asked
    pictures = read_pictures(tmp_path / "images", list_file(tmp_path))
    assert pictures.readable.examples == asked.examples
    with pytest.raises(DataError, match=r"line 1 \(image0\): answer is missing"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("change", [{"question": "Another?"}, {"answer": "Another."}, {"complexity": 3}])
def test_the_fingerprint_of_a_labelled_data_set_depends_on_every_field(tmp_path, change):
    made = write_open_dataset(tmp_path)
    before = read_dataset(tmp_path).fingerprint
    made[3] |= change
    write_rows(tmp_path, made)
    assert read_dataset(tmp_path).fingerprint != before


FAULTS = {
    "img_id is '../x'": {"img_id": "../x"},
    "question is missing": {"question": ...},
    "question is ' ': Value error, blank": {"question": " "},
    "answer is 3: Input should be a valid string": {"answer": 3},
    "answer is '': Value error, blank": {"answer": ""},
    "complexity is 0: Input should be greater": {"complexity": 0},
    "question_class is 4": {"question_class": 4},
}


def test_all_faults_are_reported_together_each_with_its_line(tmp_path):
    made = write_open_dataset(tmp_path)
    for row, change in zip(made, FAULTS.values(), strict=False):
        row.update(change)
        for key in [key for key, value in row.items() if value is ...]:
            del row[key]
    made[8]["img_id"] = "nowhere"
    write_rows(tmp_path, made)
    (tmp_path / "qa.jsonl").write_text((tmp_path / "qa.jsonl").read_text() + '{"img_id": "image0"\n')
    with pytest.raises(DataError) as error:
        read_dataset(tmp_path)
    for number, fault in enumerate(FAULTS, start=1):
        assert f"qa.jsonl, line {number}: {fault}" in str(error.value)
    assert "line 10: not a row of JSON" in str(error.value)
    assert "qa.jsonl, image 9 (nowhere)" in str(error.value)


def test_a_folder_with_closed_and_open_questions_is_refused(workspace):
    write_dataset(Path("data/development"))
    write_rows(Path("data/development"), rows())
    result = CliRunner().invoke(app, ["split"])
    assert result.exit_code == 1
    assert "gt.json asks the closed questions and qa.jsonl open ones" in " ".join(result.output.split())


def test_the_edition_follows_from_the_data_and_a_contradiction_is_refused(workspace):
    write_open_dataset(Path("data/development"), 8)
    assert Workspace.at(".").edition == "medico-2026"
    Path("medvqa.toml").write_text('[data]\nedition = "medico-2025"\n')
    assert Workspace.at(".").edition == "medico-2025"
    Path("medvqa.toml").write_text('[data]\nedition = "gi-2023"\n')
    result = CliRunner().invoke(app, ["split"])
    assert "edition gi-2023 asks closed questions, and data/development holds qa.jsonl" in " ".join(
        result.output.split()
    )
    shutil.rmtree("data")
    write_dataset(Path("data/development"))
    Path("medvqa.toml").unlink()
    assert Workspace.at(".").edition == "gi-2023"


def test_the_editions_of_later_years_have_their_kinds_of_questions():
    assert {name: edition.open for name, edition in EDITIONS.items()} == {
        "gi-2023": False,
        "gi-2025": False,
        "gi-2026": True,
        "medico-2025": True,
        "medico-2026": True,
    }


def test_split_divides_images_of_open_questions_and_shows_their_classes(workspace):
    write_open_dataset(Path("data/development"), 12)
    shown = CliRunner().invoke(app, ["split", "--val", "0.25"])
    assert shown.exit_code == 0, shown.output
    assert "polyp_count" in shown.output
    dataset = read_dataset(Path("data/development"))
    split = read_split(Path("work/split.json"), dataset)
    assert len(split.val(0)) == 3
    answers = {dataset.subset([image]).examples[0].answers[int(image[5:]) * 3 + 1] for image in split.val(0)}
    assert len(answers) == 3  # stratified by the colours that the answers name
    result = CliRunner().invoke(app, ["split", "--val", "0.25", "--json"])
    assert json.loads(result.output)["statistics"]["classes"]["text_presence"] == {"rows": 12, "answers": 1}


def test_split_names_pictures_of_other_data_sets_in_training_and_test(workspace):
    """The closed set of 2023 holds a training and a test picture, one under another name and one in other bytes."""
    write_open_dataset(workspace / "data/development", 8)
    write_open_dataset(workspace / "data/test", 2, first=20)
    old = workspace / "data/gi-2023/development/images"
    old.mkdir(parents=True)
    picture(7).save(old / "image7.jpg", quality=90)
    picture(1).save(old / "renamed.png")
    picture(21).save(old / "image21.jpg", quality=60)
    shutil.copy(workspace / "data/development/images/image2.jpg", workspace / "data/test/images/image20.jpg")
    done = CliRunner().invoke(app, ["split", "--val", "0.25"])
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    assert "data/development shares 2 of its images with data/gi-2023/development: image1 (renamed), image7" in shown
    assert "data/test shares 1 of its images with data/gi-2023/development: image21" in shown
    assert "data/test shares 1 of its images with data/development: image20 (image2)" in shown
    shared = json.loads(CliRunner().invoke(app, ["split", "--val", "0.25", "--json"]).stdout)["shared"]
    assert shared["data/test"]["data/development"] == {"image20": {"image": "image2", "similarity": 1.0}}
    assert 0.6 < shared["data/test"]["data/gi-2023/development"]["image21"]["similarity"] < 1


@given(
    pairs=st.lists(st.integers(0, 70), max_size=20),
    images=st.integers(1, 5),
    most=st.integers(1, 64),
)
def test_batches_hold_every_pair_once_within_their_bounds(pairs, images, most):
    batches = list(bounded_batches(range(len(pairs)), pairs, images=images, most=most))
    seen = [(image, row) for batch in batches for image, part in batch for row in range(part.start, part.stop)]
    assert seen == [(image, row) for image, count in enumerate(pairs) for row in range(count)]
    for batch in batches:
        assert 1 <= len(batch) <= images
        assert 1 <= sum(part.stop - part.start for _, part in batch) <= most
    whole = [image for batch in batches for image, _ in batch]
    assert all(whole.count(image) == 1 for image in whole if pairs[image] <= most)  # encoded once


def test_a_prediction_outside_the_bank_needs_the_text_of_its_question(tmp_path):
    line = Prediction(image_id="a", question="Why?", question_id=159_548, answers=("So.",), probability=0.5, model="m")
    path = tmp_path / "p.jsonl"
    path.write_text(line.model_dump_json(exclude_defaults=True) + "\n")
    assert read_predictions(path) == [line]
    path.write_text(path.read_text().replace('"question":"Why?",', ""))
    with pytest.raises(DataError, match="the bank has questions 0 to 17"):
        read_predictions(path)


FACTS = {
    "The polyp is less than 5mm in size.": {"finding:polyp", "number:<5"},
    "> 20 mm": {"number:>20"},
    "between 5 and 10 mm": {"number:5-10"},
    "A polyp snare and two polyps": {"finding:polyp", "finding:polyp snare", "number:2"},
    "The lesion is reddish-pink at the top left and in the centre.": {
        *("colour:pink", "colour:red", "place:center", "place:upper-left"),
    },
    "There are no polyps and one tube": {"finding:no polyp", "finding:tube", "number:1"},
    "No, the image does not contain a green/black box artefact.": {"finding:no box artefact"},
    "No polyps, but a Z-line is seen.": {"finding:no polyp", "finding:z-line"},
    "The colon is polyp-free.": {"finding:no polyp"},
    "Paris IIa polyp": {"finding:paris iia", "finding:polyp"},
    "Yes": {"finding:yes"},
    "The instrument is in the Lower-rigth": {"place:lower-right"},
    "There are no instruments visible.": {"finding:no instrument"},
}


@pytest.mark.parametrize(("sentence", "facts"), FACTS.items())
def test_facts_are_read_from_a_sentence(sentence, facts):
    assert {":".join(fact) for fact in facts_in(sentence)} == facts
    assert all(isinstance(fact, Fact) for fact in facts_in(sentence))
