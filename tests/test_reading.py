from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_dataset import picture, record, write_dataset, write_labels

from imageclef_vqa.data import read_dataset
from imageclef_vqa.errors import DataError

SAMPLE = Path(os.environ.get("MEDVQA_SAMPLE", Path(__file__).parents[2] / "shared" / "data" / "medvqa-gi-2023-sample"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(tmp_path)
    return tmp_path


def problems(folder: Path, **options: object) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read_dataset(folder, **options)  # type: ignore[arg-type]
    assert caught.value.remedy
    return tuple(line.replace(f"{folder}/", "") for line in caught.value.problems)


def spoil(folder: Path, number: int, row: int, **fields: object) -> None:
    records = json.loads((folder / "gt.json").read_text())
    records[number]["Labels"][row].update(fields)
    write_labels(folder, records)


def test_a_correct_data_set_is_read_in_its_order_without_warnings(folder: Path) -> None:
    dataset = read_dataset(folder)
    assert [example.image_id for example in dataset.examples] == ["image0", "image1", "image2"]
    assert dataset.warnings == ()
    first = dataset.examples[0]
    assert (first.width, first.height, len(first.answers)) == (96, 80, 18)
    assert first.answers[5] == ("Red",)


def test_an_answer_that_is_a_number_is_reported_with_record_id_and_question(folder: Path) -> None:
    spoil(folder, 1, 9, Answer=[3])
    (line,) = problems(folder)
    assert line == "gt.json, image 2 (image1), question 9: answer is 3, a number; answers are lists of strings"


def test_all_problems_of_labels_and_images_are_reported_together(folder: Path) -> None:
    spoil(folder, 0, 4, Answer="Yes")
    (folder / "images" / "image0.jpg").write_bytes(b"")
    (folder / "images" / "image1.jpg").unlink()
    (folder / "images" / "image2.jpg").write_bytes(b"no picture")
    assert problems(folder) == (
        'gt.json, image 1 (image0), question 4: answer is "Yes", a string; answers are lists of strings',
        "gt.json, image 1 (image0): images/image0.jpg: not an image (JPEG or PNG)",
        "gt.json, image 2 (image1): images/image1.jpg: there is no such file",
        "gt.json, image 3 (image2): images/image2.jpg: not an image (JPEG or PNG)",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"ImageID": ', "gt.json: not JSON"),
        (b"\xff\xfe\xfa", "gt.json: not JSON"),
        (b"[" * 200_000, "gt.json: not JSON: recursion limit"),
        (b"[" + b"9" * 10_000 + b"]", "gt.json: not JSON"),
        (b'{"a": 1}', "gt.json: an object at the top, but a list of images is expected"),
        (b"NaN", "gt.json: NaN, a number at the top"),
        (b"[]", "gt.json: the list of images is empty"),
        (b"[3]", "gt.json, image 1: 3, a number, but an object is expected"),
        (b'[{"ImageID": "a"}]', "gt.json, image 1 (a): Labels is missing"),
        (b'[{"ImageID": 7, "Labels": []}]', "gt.json, image 1: ImageID is 7, a number"),
        (b'[{"ImageID": "a", "Labels": {}}]', "gt.json, image 1 (a): Labels is an object; it is a list"),
        (b'[{"ImageID": "a", "Labels": [null]}]', "gt.json, image 1 (a), row 1: null, but an object"),
        (b'[{"imageid": "a"}]', "gt.json, image 1: ImageID is missing; there are imageid"),
        (b'[{"ImageID": "../a", "Labels": []}]', 'gt.json, image 1 (../a): ImageID is "../a", a string; an id is'),
    ],
)
def test_labels_of_the_wrong_shape_are_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / "gt.json").write_bytes(content)
    assert problems(folder)[0].startswith(message)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_labels_are_read_in_every_encoding_of_json(folder: Path, encoding: str) -> None:
    plain = read_dataset(folder).gold()
    (folder / "gt.json").write_text((folder / "gt.json").read_text(encoding="utf-8"), encoding=encoding)
    assert read_dataset(folder).gold() == plain


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("image0"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ImageID", "Labels", "Question", "AnswerType", "Answer", "other"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=json_values)
def test_any_json_in_place_of_labels_raises_only_a_data_error(folder: Path, content: object) -> None:
    write_labels(folder, content)
    with pytest.raises(DataError):
        read_dataset(folder)


def test_missing_labels_are_reported_with_their_path(tmp_path: Path) -> None:
    assert problems(tmp_path) == ("images: there is no such folder",)
    (tmp_path / "images").mkdir()
    assert problems(tmp_path) == ("gt.json: there is no such file",)


def test_an_image_named_twice_is_an_error_unless_its_answers_are_the_same(folder: Path) -> None:
    other = record("image0")
    other["Labels"][0]["Answer"] = ["other"]
    write_labels(folder, [record("image0"), record("image1"), other])
    assert problems(folder) == ("gt.json, image 3 (image0): the same image is already record 1, with other answers",)
    write_labels(folder, [record("image0"), record("image1"), record("image0")])
    assert "1 × repeated record, ignored (e.g. image0)" in read_dataset(folder).warnings


def test_a_question_answered_twice_is_an_error_under_an_alias_too(folder: Path) -> None:
    spoil(folder, 0, 0, Question="How many instruments are in the image?")
    assert problems(folder) == ("gt.json, image 1 (image0), question 9: answered twice, differently",)


def test_a_truncated_image_is_an_error_the_second_time_as_well(folder: Path, tmp_path: Path) -> None:
    image = folder / "images" / "image1.jpg"
    image.write_bytes(image.read_bytes()[:-200])
    for _ in range(2):
        (line,) = problems(folder, cache=tmp_path / "cache")
        assert line.startswith("gt.json, image 2 (image1): images/image1.jpg: truncated or damaged")


def test_a_large_image_that_is_truncated_is_found_although_it_is_decoded_small(folder: Path) -> None:
    image = folder / "images" / "image1.jpg"
    picture(1, 2400, 2000).save(image)
    image.write_bytes(image.read_bytes()[:-500])
    assert "truncated" in problems(folder)[0]


@pytest.mark.parametrize("limit", [7_000, 3_000])  # below the size: Pillow warns; below half of it: Pillow refuses
def test_a_decompression_bomb_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert problems(folder)[0].endswith(f"more than {limit:,} pixels, a decompression bomb")


def test_a_link_that_leaves_the_folder_is_an_error(folder: Path, tmp_path: Path) -> None:
    picture(7).save(tmp_path / "outside.jpg")
    image = folder / "images" / "image1.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "outside.jpg")
    assert problems(folder) == ("gt.json, image 2 (image1): images/image1.jpg: a link that leads out of the folder",)


def test_of_many_problems_twenty_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    write_dataset(tmp_path, 1)
    write_labels(tmp_path, [record(f"gone{number}") for number in range(50)])
    told = problems(tmp_path)
    assert len(told) == 21
    assert told[-1] == "… and 30 more"


def test_only_unknown_questions_are_an_error(folder: Path) -> None:
    rows = [{"Question": "Is it cancer?", "AnswerType": "Yes/No", "Answer": ["No"]}]
    write_labels(folder, [{"ImageID": "image0", "Labels": rows}])
    assert problems(folder) == ("gt.json: no image has an answer to any of the 18 questions of the task",)


def test_harmless_oddities_are_counted_with_an_example(folder: Path) -> None:
    first, second, third = json.loads((folder / "gt.json").read_text())
    first["Labels"].append(
        {
            "Question": "Where exactly in the image is the polyp located?",
            "AnswerType": "segmentation",
            "Answer": "m.png",
        }
    )
    first["Labels"].append({"Question": "Is it cancer?", "AnswerType": "Yes/No", "Answer": ["No"]})
    first["Labels"][0]["AnswerType"] = "Prose"
    second["Labels"][9]["Answer"] = [""]
    del third["Labels"][1]
    write_labels(folder, [first, second, third])
    (folder / "images" / "image1.jpg").write_bytes((folder / "images" / "image0.jpg").read_bytes())
    picture(9).save(folder / "images" / "stray.jpg")
    dataset = read_dataset(folder)
    assert set(dataset.warnings) == {
        "1 × segmentation row, ignored (e.g. image0)",
        "1 × unknown question 'Is it cancer?', ignored (e.g. image0)",
        "1 × unknown answer type 'Prose' (e.g. image0)",
        "1 × empty answer to question 9, ignored (e.g. image1)",
        "1 × missing question 1 (Have all polyps been removed?) (e.g. image2)",
        "1 × image file without a record (e.g. stray.jpg)",
        "1 × pair of byte-identical images with conflicting answers (e.g. image0 and image1)",
    }
    assert 9 not in dataset.examples[1].answers
    assert len(dataset.examples[0].answers) == 18


def test_another_extension_is_used_if_there_is_no_jpg(folder: Path) -> None:
    (folder / "images" / "image1.jpg").unlink()
    picture(1).save(folder / "images" / "image1.png")
    picture(2).save(folder / "images" / "image2.png")
    assert [example.image.name for example in read_dataset(folder).examples] == [
        "image0.jpg",
        "image1.png",
        "image2.jpg",
    ]


def test_the_fingerprint_follows_the_content_and_not_the_order(folder: Path) -> None:
    before = read_dataset(folder).fingerprint
    records = json.loads((folder / "gt.json").read_text())
    for entry in records:
        entry["Labels"].reverse()
    write_labels(folder, records[::-1])
    assert read_dataset(folder).fingerprint == before
    spoil(folder, 0, 3, Answer=["Another"])
    assert read_dataset(folder).fingerprint != before


def test_a_damaged_cache_is_replaced(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = read_dataset(folder, cache=cache)
    (store,) = cache.iterdir()
    whole = store.read_bytes()
    for damaged in (b"", b"PK", whole[: len(whole) // 2], whole[:1000] + b"\x01\x02\x03" + whole[1003:]):
        store.write_bytes(damaged)
        assert read_dataset(folder, cache=cache) == before
        assert store.read_bytes() != damaged


def test_the_second_reading_decodes_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_dataset(folder, cache=tmp_path / "cache")
    monkeypatch.setattr(Image, "open", None)
    assert read_dataset(folder, cache=tmp_path / "cache") == before


def test_a_changed_image_is_read_again_despite_the_cache(folder: Path, tmp_path: Path) -> None:
    before = read_dataset(folder, cache=tmp_path / "cache")
    picture(77).save(folder / "images" / "image1.jpg")
    after = read_dataset(folder, cache=tmp_path / "cache")
    assert [a.sha256 == b.sha256 for a, b in zip(before.examples, after.examples, strict=True)] == [True, False, True]


def test_test_images_come_from_the_id_list_and_their_labels_are_never_read(folder: Path) -> None:
    (folder / "gt.json").write_text("not even JSON")
    assert [example.image_id for example in read_dataset(folder, labelled=False).examples] == [
        "image0",
        "image1",
        "image2",
    ]
    (folder / "test_image_ids.txt").write_text("image2\r\nimage0\r\n")
    dataset = read_dataset(folder, labelled=False)
    assert [example.image_id for example in dataset.examples] == ["image2", "image0"]
    assert all(not example.answers for example in dataset.examples)


def test_faults_in_the_id_list_are_reported_with_their_number(folder: Path) -> None:
    (folder / "test_image_ids.txt").write_text("image0\n../image1\nimage0\ngone\n")
    assert problems(folder, labelled=False) == (
        "test_image_ids.txt, image 2: '../image1' is no id; an id has only letters, digits, and . _ -",
        "test_image_ids.txt, image 3 (image0): the same image is already number 1",
        "test_image_ids.txt, image 4 (gone): images/gone.jpg: there is no such file",
    )


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample is not here (MEDVQA_SAMPLE)")
def test_the_real_sample_lacks_three_questions_and_nothing_else() -> None:
    dataset = read_dataset(SAMPLE / "development")
    assert len(dataset) == 480
    assert [warning[:24] for warning in dataset.warnings] == [f"480 × missing question {q}" for q in (1, 2, 6)]


def test_unknown_fields_and_rows_given_twice_are_ignored_with_a_warning(folder: Path) -> None:
    plain = read_dataset(folder)
    records = json.loads((folder / "gt.json").read_text())
    records[0]["Source"] = records[1]["Labels"][0]["Weight"] = 1
    records[2]["Labels"].append(records[2]["Labels"][4])
    write_labels(folder, records)
    dataset = read_dataset(folder)
    assert (dataset.fingerprint, dataset.warnings) == (
        plain.fingerprint,
        (
            "1 × unknown field 'Source', ignored (e.g. image0)",
            "1 × unknown field 'Weight', ignored (e.g. image1)",
            "1 × repeated answer to question 4, ignored (e.g. image2)",
        ),
    )


def test_extensions_are_read_in_any_case_and_a_missing_image_is_explained(folder: Path) -> None:
    images = folder / "images"
    (images / "image0.jpg").rename(images / "image0.Jpg")
    assert len(read_dataset(folder)) == 3
    (images / "image1.jpg").rename(images / "image1.webp")
    write_labels(folder, [record("image0.jpg"), record("image1")])
    assert problems(folder) == (
        "gt.json, image 1 (image0.jpg): images/image0.jpg.jpg: there is no such file; an id has no extension: image0",
        "gt.json, image 2 (image1): images/image1.jpg: there is no such file; image1.webp is no .jpg or .png",
    )


def test_pictures_in_a_deeper_folder_are_pointed_to(folder: Path) -> None:
    (folder / "images").rename(folder / "deep")
    (folder / "images").mkdir()
    (folder / "deep").rename(folder / "images" / "images")
    for labelled in (True, False):
        with pytest.raises(DataError) as caught:
            read_dataset(folder, labelled=labelled)
        assert caught.value.remedy == f"there are pictures in {folder}/images/images: move them to {folder}/images"


def test_a_list_of_ids_may_be_utf16_as_windows_writes_it(folder: Path) -> None:
    (folder / "test_image_ids.txt").write_bytes("image2\r\nimage0\r\n\r\n".encode("utf-16"))
    assert read_dataset(folder, labelled=False).image_ids == ("image2", "image0")
