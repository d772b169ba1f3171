"""The synthetic set: its pictures show what its labels say, and its files look like the official ones."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imageclef_vqa.data import read_dataset
from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS, SEGMENTATION_TYPE, find_question
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.synthetic import Scene, render_scene, sample_scene, write_synthetic_dataset
from imageclef_vqa.synthetic.scene import BATCHES, COLITIS, INSTRUMENTS, OESOPHAGITIS, POLYPS
from imageclef_vqa.synthetic.sentences import _WORDINGS, sentence_rows

ROWS, COLUMNS = ("Upper", "Center", "Lower"), ("left", "center", "right")
SEEDS = st.integers(0, 2**32 - 1)


def scenes(number: int, batch: str | None = None) -> Iterator[Scene]:
    rng = np.random.default_rng(20230901)
    return (sample_scene(rng, batch) for _ in range(number))


def difference(one: Scene, other: Scene) -> np.ndarray:
    """Which pixels differ visibly between two pictures, [h, w]."""
    first, second = (np.asarray(render_scene(scene, 120), int) for scene in (one, other))
    return np.abs(first - second).max(axis=2) > 30


def share_by_cell(changed: np.ndarray) -> dict[str, float]:
    """The share of the changed pixels that lies in each third of the rows and columns, under the bank's names."""
    shares = {}
    for row, band in zip(ROWS, np.array_split(changed, 3, axis=0), strict=True):
        for column, cell in zip(COLUMNS, np.array_split(band, 3, axis=1), strict=True):
            shares["Center" if (row, column) == ("Center", "center") else f"{row}-{column}"] = cell.sum()
    return {name: float(share / changed.sum()) for name, share in shares.items()}


def spelt(place: str) -> str:
    return place.replace("rigth", "right")


@given(SEEDS)
@settings(max_examples=80, deadline=None)
def test_every_question_is_answered_from_the_bank_in_its_order(seed: int) -> None:
    answers = sample_scene(np.random.default_rng(seed)).answers()
    assert sorted(answers) == list(range(18))
    for question in QUESTIONS:
        given_answers = answers[question.id]
        assert given_answers, question.text
        assert list(given_answers) == sorted(set(given_answers), key=question.known.index)
        assert len(given_answers) == 1 or NOT_RELEVANT not in given_answers


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_answers_agree_with_each_other(seed: int) -> None:
    answers = sample_scene(np.random.default_rng(seed)).answers()
    none = (NOT_RELEVANT,)
    polyps = answers[8] != ("0",)
    assert (
        polyps == ("Polyp" in answers[12]) == (answers[16] != none) == (answers[17] != none) == (answers[1] == ("No",))
    )
    assert (answers[12] == ("No",)) == (answers[5] == none) == (answers[10] == none) == (answers[2] == none)
    assert (answers[9] == ("0",)) == (answers[11] == none) == (answers[14] in (("No",), none))
    assert (answers[13] in (("No",), none)) == (answers[15] == none) == (answers[6] == none)


@pytest.mark.parametrize("batch", [POLYPS, INSTRUMENTS])
def test_a_polyp_is_drawn_in_the_cells_that_the_answer_names(batch: str) -> None:
    checked = 0
    for scene in scenes(60, batch):
        if len(scene.polyps) != 1:
            continue
        bold = replace(scene, contrast=1.0, text=False)
        shares = share_by_cell(difference(bold, replace(bold, polyps=())))
        named = scene.answers()[10]
        assert all(share < 0.3 or cell in named for cell, share in shares.items()), (named, shares)
        assert all(shares[cell] > 0.05 for cell in named), (named, shares)
        checked += 1
    assert checked > 20


def test_a_larger_size_in_the_answer_means_a_larger_polyp_in_the_image() -> None:
    areas = defaultdict(list)
    for scene in scenes(90, POLYPS):
        if len(scene.polyps) == 1 and scene.polyps[0].kind == "is" and scene.polyps[0].colours == ("Pink",):
            scene = replace(scene, contrast=1.0, text=False)
            # Painted white and then purple, the polyp itself changes and its shadow does not.
            coats = (replace(scene.polyps[0], colours=(colour,)) for colour in ("White", "Purple"))
            changed = difference(*(replace(scene, polyps=(polyp,)) for polyp in coats))
            areas[scene.answers()[16][0]].append(changed.mean() * scene.view.aspect)
    assert set(areas) == {"< 5mm", "5-10mm", "11-20mm", ">20mm"}
    ordered = [areas[size] for size in ("< 5mm", "5-10mm", "11-20mm", ">20mm")]
    assert all(max(smaller) < min(bigger) for smaller, bigger in pairwise(ordered))


def test_an_instrument_is_drawn_in_the_cells_that_the_answer_names() -> None:
    kinds = Counter[str]()
    for scene in scenes(60, INSTRUMENTS):
        if len(scene.instruments) != 1:
            continue
        shares = share_by_cell(difference(scene, replace(scene, instruments=())))
        named = scene.answers()[11]
        assert all(share < 0.35 or cell in named for cell, share in shares.items()), (scene.instruments, named, shares)
        assert all(shares[cell] > 0.05 for cell in named), (scene.instruments, named, shares)
        kinds[scene.instruments[0].name] += 1
    assert set(kinds) == {"Tube", "Biopsy forceps", "Polyp snare", "Metal clip", "Injection needle"}


@pytest.mark.parametrize("batch", [COLITIS, OESOPHAGITIS])
def test_inflammation_is_drawn_in_the_cells_that_the_answer_names(batch: str) -> None:
    for scene in scenes(40, batch):
        if scene.polyps:
            continue
        scene = replace(scene, contrast=1.0, text=False, landmark=None)
        assert scene.diffuse is not None
        changed = difference(scene, replace(scene, diffuse=None))
        named = scene.answers()[10]
        shares = share_by_cell(changed)
        assert sum(shares[cell] for cell in named) > 0.85, (scene.diffuse, named, shares)
        assert sum(shares[cell] < 0.01 for cell in named) <= 1, (scene.diffuse, named, shares)


def test_a_landmark_is_drawn_in_the_cells_that_the_answer_names() -> None:
    for scene in scenes(40, OESOPHAGITIS):
        if scene.landmark is None:
            continue
        coats = (replace(scene.landmark, colours=(colour,)) for colour in ("White", "brown"))
        bare = replace(scene, diffuse=None, polyps=(), instruments=(), text=False)
        # Far from the lumen, which is too dark to show a colour.
        bare = replace(bare, lumen=(-1.0, -1.0))
        shares = share_by_cell(difference(*(replace(bare, landmark=coat) for coat in coats)))
        named = {spelt(cell) for cell in scene.answers()[15]}
        assert all(share < 0.25 or cell in named for cell, share in shares.items()), (named, shares)
        assert all(shares[cell] > 0.03 for cell in named), (named, shares)


def test_text_and_box_change_the_picture_where_they_are() -> None:
    scene = next(scene for scene in scenes(50, POLYPS) if scene.text and scene.view.box == "green")
    written = difference(scene, replace(scene, text=False))
    assert 0.002 < written.mean() < 0.1
    assert not written[:, written.shape[1] // 2 :].any()
    boxed = share_by_cell(difference(scene, replace(scene, view=replace(scene.view, box=""))))
    assert boxed["Lower-left"] > 0.95


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_frame_keeps_the_examination(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng)
    frame = scene.frame(rng)
    assert frame.taken.date() == scene.taken.date()
    assert frame.taken.replace(second=0) == scene.taken.replace(second=0)
    assert frame.taken != scene.taken
    assert frame.camera != scene.camera
    one, other = scene.answers(), frame.answers()
    places = {10, 11, 15}  # a camera that moved may show a thing in another cell, and nothing else
    assert {number: one[number] for number in one if number not in places} == {
        number: other[number] for number in other if number not in places
    }
    size = 64
    first, second = (np.asarray(render_scene(view, size).convert("L"), float) for view in (scene, frame))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.5


def test_a_scene_renders_to_the_same_pixels_at_the_requested_size() -> None:
    for scene in scenes(4):
        for size in (64, 256):
            picture = render_scene(scene, size)
            assert (picture.mode, picture.height) == ("RGB", size)
            assert 1 < picture.width / picture.height < 1.8
            assert picture.tobytes() == render_scene(scene, size).tobytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    write_synthetic_dataset(folder, images=60, test=16, seed=3)
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((folder / "gt.json").read_text(encoding="utf-8"))
    return loaded


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def answers_to(folder: Path, number: int) -> list[list[str]]:
    rows = (row for record in records(folder) for row in record["Labels"])
    return [row["Answer"] for row in rows if row["Question"] == QUESTIONS[number].text]


def test_the_layout_is_the_official_one(written: Path) -> None:
    assert {path.name for path in written.iterdir()} == {"development", "test"}
    for fold, number in (("development", 60), ("test", 16)):
        entries = records(written / fold)
        ids = [entry["ImageID"] for entry in entries]
        assert len(set(ids)) == number
        assert {path.name for path in (written / fold / "images").iterdir()} == {f"{name}.jpg" for name in ids}
        assert all(len(name) == 25 for name in ids)
        assert Counter(name[:5] for name in ids) == dict.fromkeys(BATCHES, number // 4)
    listed = (written / "test" / "test_image_ids.txt").read_text(encoding="utf-8").split()
    assert listed == [entry["ImageID"] for entry in records(written / "test")]
    assert {path.name for path in (written / "test").iterdir()} == {"gt.json", "images", "test_image_ids.txt"}


def test_every_image_opens_and_answers_every_question_once(written: Path) -> None:
    for fold in ("development", "test"):
        for entry in records(written / fold):
            rows = [row for row in entry["Labels"] if row["AnswerType"] != SEGMENTATION_TYPE]
            questions = [find_question(row["Question"]) for row in rows]
            assert sorted(question.id for question in questions if question) == list(range(18))
            for question, row in zip(questions, rows, strict=True):
                assert question is not None
                assert row["AnswerType"] == question.answer_type
            with Image.open(written / fold / "images" / f"{entry['ImageID']}.jpg") as image:
                image.load()
                assert image.mode == "RGB"


def test_most_pictures_are_small_and_some_fill_the_other_rows_of_table_1(written: Path) -> None:
    heights = Counter[int]()
    for path in (written / "development" / "images").iterdir():
        with Image.open(path) as image:
            heights[image.height] += 1
    assert heights[256] > 0.8 * 60
    assert any(500 < height < 1000 for height in heights)


def test_the_development_set_has_the_oddities_of_the_real_one(written: Path) -> None:
    folder = written / "development"
    entries = records(folder)
    by_bytes = defaultdict(list)
    for entry in entries:
        digest = hashlib.sha256((folder / "images" / f"{entry['ImageID']}.jpg").read_bytes()).hexdigest()
        by_bytes[digest].append({row["Question"]: row["Answer"] for row in entry["Labels"]})
    twins = [labels for labels in by_bytes.values() if len(labels) > 1]
    assert len(twins) == 2
    assert all(one != other and one.keys() == other.keys() for one, other in twins)

    segmentation = [row for entry in entries for row in entry["Labels"] if row["AnswerType"] == SEGMENTATION_TYPE]
    assert segmentation
    assert all(isinstance(row["Answer"], str) for row in segmentation)
    assert sum(answer == ["Pink"] for answer in answers_to(folder, 7)) == 1
    assert sum(answer == [""] for answer in answers_to(folder, 9)) == 1
    colours = [colour for answer in answers_to(folder, 5) for colour in answer]
    assert colours.count("purple") == 1
    assert "Purple" in colours
    assert "Lower-rigth" in {place for answer in answers_to(folder, 15) for place in answer}
    assert "< 5mm" in {size for answer in answers_to(folder, 16) for size in answer}


def test_the_test_set_has_clean_labels(written: Path) -> None:
    for entry in records(written / "test"):
        assert len(entry["Labels"]) == 18
        for row in entry["Labels"]:
            question = find_question(row["Question"])
            assert question is not None
            assert set(row["Answer"]) <= set(question.known)


def test_no_examination_has_frames_in_both_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Scene] = []

    def note(scene: Scene, size: int) -> Image.Image:
        drawn.append(scene)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr("imageclef_vqa.synthetic.dataset.render_scene", note)
    write_synthetic_dataset(tmp_path / "data", images=60, test=40, seed=1)
    development, test = (Counter(scene.texture for scene in part) for part in (drawn[:60], drawn[60:]))
    assert not set(development) & set(test)
    assert set(development.values()) == {1, 2, 3, 4}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        write_synthetic_dataset(tmp_path / name, images=6, test=3, seed=seed)
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_a_folder_that_is_not_empty_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(MedvqaError, match="is not empty"):
        write_synthetic_dataset(tmp_path, images=4, test=2, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imageclef_vqa.synthetic.dataset.add_quirks", full)
    with pytest.raises(MedvqaError, match=r"the disk at .* is full"):
        write_synthetic_dataset(tmp_path / "data", images=4, test=2, seed=0)
    assert list(tmp_path.iterdir()) == []


def sentences_about(scene: Scene, seed: int = 0) -> list[dict[str, Any]]:
    return sentence_rows("image", scene, np.random.default_rng(seed))


def test_sentences_say_what_the_closed_answers_say():
    number_of = {wording.question_class: number for number, wording in _WORDINGS.items()}
    asked = Counter()
    for seed, scene in enumerate(scenes(60)):
        answers, rows = scene.answers(), sentences_about(scene, seed)
        assert len({about for row in rows for about in row["question_class"]}) == sum(
            row["complexity"] for row in rows
        ), "no question twice about an image"
        for row in rows:
            if row["complexity"] > 1:
                continue
            (about,) = row["question_class"]
            said, known = row["answer"].lower(), answers[number_of[about]]
            denied = said.startswith("no ")
            asked[about, denied] += 1
            assert denied == (known == ("No",)), row
            for each in known:
                shown = each.lower().replace("rigth", "right").replace("< ", "<")
                assert shown in ("yes", "no") or shown in said, (row, known)
    assert {about for about, _ in asked} == set(number_of)
    assert {about for about, denied in asked if denied} >= {"text_presence", "box_artifact_presence"}


def test_an_open_set_is_read_and_the_same_arguments_give_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_synthetic_dataset(tmp_path / name, images=8, test=2, seed=3, sentences=True)
    files = [
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.*"))
        for name in ("one", "other")
    ]
    assert files[0] == files[1]
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "other" / path).read_bytes() for path in files[0])
    development, test = (read_dataset(tmp_path / "one" / name) for name in ("development", "test"))
    assert (len(development), len(test), development.warnings) == (8, 2, ())
    assert all(5 <= len(each.questions) <= 6 for each in development.examples)
    assert not {each.image_id for each in development.examples} & {each.image_id for each in test.examples}
