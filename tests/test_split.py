from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw
from small_dataset import picture, record, write_dataset, write_labels
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data import Dataset, make_split, read_dataset, read_split
from imageclef_vqa.data.duplicates import Link, group_images, text_links
from imageclef_vqa.data.images import index_images
from imageclef_vqa.data.stratify import stratify
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.locks import sole_writer

SAMPLE = Path(os.environ.get("MEDVQA_SAMPLE", Path(__file__).parents[2] / "shared" / "data" / "medvqa-gi-2023-sample"))
SCENES, FRAMES = 12, 3


def frame(scene: int, number: int) -> Image.Image:
    """One scene under a slightly moved camera and another light."""
    moved = ImageChops.offset(picture(scene, 160, 160), 3 * number, 2 * number).crop((16, 16, 144, 144))
    return moved.point(lambda value: int(value * (1 - 0.1 * number)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes, three frames of each, as the development set of a workspace."""
    root = tmp_path_factory.mktemp("workspace")
    development = root / "data" / "development"
    (development / "images").mkdir(parents=True)
    records = []
    for scene in range(SCENES):
        for number in range(FRAMES):
            name = f"f{(scene * 7 + number * 13) % 97:02}scene{scene}"
            frame(scene, number).save(development / "images" / f"{name}.jpg", quality=85 + number)
            records.append(record(name, q5=[("Red", "Pink", "White", "Blue")[scene % 4]]))
    write_labels(development, records)
    return root


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return read_dataset(folder / "data" / "development")


def scene_of(image_id: str) -> str:
    return image_id.split("scene")[1]


def test_frames_of_one_scene_are_one_group_and_other_scenes_are_not_in_it(dataset: Dataset) -> None:
    groups = make_split(dataset, val=0.1).groups
    assert len({(scene_of(image_id), group) for image_id, group in groups.items()}) == SCENES
    assert len(set(groups.values())) == SCENES


def test_a_split_by_group_has_no_leaks_and_counts_those_of_a_plain_split(dataset: Dataset) -> None:
    grouped = make_split(dataset, val=0.25)
    assert not {*map(scene_of, grouped.val())} & {*map(scene_of, grouped.train())}
    assert grouped.certificate.leaked_pairs == 0
    plain = make_split(dataset, val=0.25, by="image")
    assert plain.certificate.leaked_pairs == grouped.certificate.leaked_by_plain_split > 0
    assert plain.certificate.closest is not None
    assert scene_of(plain.certificate.closest.one) == scene_of(plain.certificate.closest.other)
    assert grouped.certificate.linked_pairs >= SCENES * (FRAMES - 1)
    assert grouped.certificate.largest_group == FRAMES


def test_folds_hold_all_images_and_stratify_the_answers(dataset: Dataset) -> None:
    split = make_split(dataset, folds=3)
    assert sorted(image_id for fold in split.validation for image_id in fold) == sorted(split.groups)
    for fold in range(3):
        assert len(split.val(fold)) == 12
        assert sorted(split.val(fold) + split.train(fold)) == sorted(split.groups)
        assert len({dataset.gold()[image_id, 5] for image_id in split.val(fold)}) == 4


def test_the_order_of_records_and_labels_does_not_matter(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(folder / "data" / "development" / "images")
    records = json.loads((folder / "data" / "development" / "gt.json").read_text())
    for entry in records:
        entry["Labels"].reverse()
    write_labels(tmp_path, records[5:] + records[:5])
    for options in ({"val": 0.25}, {"folds": 4}, {"val": 0.25, "by": "image"}):
        assert make_split(read_dataset(tmp_path), **options) == make_split(dataset, **options)  # type: ignore[arg-type]


def test_only_the_seed_changes_the_split(dataset: Dataset) -> None:
    for by in ("group", "image"):
        drawn = [make_split(dataset, val=0.25, by=by, seed=seed).val() for seed in (0, 0, 1, 2)]  # type: ignore[arg-type]
        assert drawn[0] == drawn[1]
        assert len(set(drawn)) > 1


def test_a_plain_split_holds_out_exactly_the_share(dataset: Dataset) -> None:
    assert len(make_split(dataset, val=0.1, by="image").val()) == 4
    assert [len(fold) for fold in make_split(dataset, folds=5, by="image").validation] == [7, 7, 8, 7, 7]


def test_a_rare_answer_goes_to_training() -> None:
    counts = np.zeros((40, 2))
    counts[:, 0] = 1
    counts[17, 1] = 1
    for seed in range(10):
        fold = stratify(counts, np.ones(40), [0.1, 0.9], seed)
        assert fold[17] == 1
        assert (fold == 0).sum() == 4


def test_every_label_gets_its_share_in_every_fold() -> None:
    rng = np.random.default_rng(0)
    counts = (rng.random((300, 8)) < np.linspace(0.05, 0.6, 8)).astype(float)
    fold = stratify(counts, np.ones(300), [0.2] * 5, 0)
    shares = np.stack([counts[fold == f].sum(0) for f in range(5)])
    assert np.abs(shares - counts.sum(0) / 5).max() <= 3
    assert np.abs(np.bincount(fold) - 60).max() <= 2


def groups_like_those_of_real_images(seed: int, singles: int) -> tuple[np.ndarray, np.ndarray]:
    """Label counts [g, l] and sizes [g] of groups: `singles` images and about a tenth as many in groups of 2 to 20."""
    rng = np.random.default_rng(seed)
    sizes = [1] * singles
    while sum(sizes) < 1.12 * singles:
        sizes.append(int(np.clip(rng.geometric(0.5) + 1, 2, 20)))
    rates = np.geomspace(0.002, 0.9, 40)
    return np.stack([(rng.random((size, len(rates))) < rates).sum(0) for size in sizes]), np.array(sizes, float)


@pytest.mark.parametrize(("singles", "seeds"), [(429, 20), (1788, 3)])
def test_a_small_fold_gets_its_share_of_images_in_groups(singles: int, seeds: int) -> None:
    for seed in range(seeds):
        counts, sizes = groups_like_those_of_real_images(seed, singles)
        fold = stratify(counts, sizes, [0.1, 0.9], seed)
        of_fold = np.array([sizes[(fold == f) & (sizes > 1)].sum() / sizes[fold == f].sum() for f in (0, 1)])
        assert np.abs(of_fold - sizes[sizes > 1].sum() / sizes.sum()).max() < 0.02
        assert abs(sizes[fold == 0].sum() - 0.1 * sizes.sum()) <= 0.5
        deviation, by_chance = np.abs(counts[fold == 0].sum(0) - 0.1 * counts.sum(0)), (0.09 * counts.sum(0)) ** 0.5
        assert deviation.mean() < 0.5 * by_chance.mean()


def test_large_groups_are_not_all_on_one_side() -> None:
    sizes = np.repeat([16.0, 8.0, 4.0, 2.0, 1.0], [20, 20, 20, 20, 100])
    fold = stratify(sizes[:, None], sizes, [0.25, 0.75], 0)
    for size in (16, 8, 4, 2, 1):
        assert sizes[(fold == 0) & (sizes == size)].sum() / sizes[sizes == size].sum() == pytest.approx(0.25)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no sample of the task's real images in {SAMPLE}")
def test_on_real_images_a_small_fold_has_its_share_of_groups_without_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read_dataset(SAMPLE / "development")
    module = sys.modules["imageclef_vqa.data.make_split"]
    relations = module._relations(dataset, None)  # the costly part, once
    monkeypatch.setattr(module, "_relations", lambda *_: relations)
    for seed in range(8):
        split = make_split(dataset, val=0.1, seed=seed)
        assert abs(split.grouped_share(split.val()) - split.grouped_share(split.groups)) < 0.02
        assert split.certificate.leaked_pairs == 0


def test_a_chain_of_uncertain_links_does_not_join_the_whole_set_but_copies_stay_together() -> None:
    chain = [Link(i, i + 1, 0.65, "text") for i in range(99)]
    assert np.bincount(group_images(chain, 100)).max() == 20
    copies = [Link(i, i + 1, 0.99, "picture") for i in range(99)]
    assert np.bincount(group_images(copies, 100)).max() == 100


def test_a_date_links_images_and_the_text_of_the_processor_does_not(tmp_path: Path) -> None:
    paths = []
    for number, date in enumerate(("11/03/2013", "24/08/2014", "11/03/2013", "30/10/2012", "05/09/2015", "27/12/2016")):
        image = picture(number, 320, 256).point(lambda value: value // 3)
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 0, 110, 255), fill="black")
        draw.text((8, 40), "Patient: Sex:", fill="white")
        draw.text((8, 70), date, fill="white")
        paths.append(tmp_path / f"{number}.png")
        image.save(paths[-1])
    rows, _ = index_images(paths, None)
    assert [(link.one, link.other) for link in text_links(rows)] == [(0, 2)]


def test_too_few_groups_for_the_folds_is_a_clear_error(tmp_path: Path) -> None:
    write_dataset(tmp_path, 3)
    with pytest.raises(MedvqaError, match="3 images do not fill 5 folds"):
        make_split(read_dataset(tmp_path), folds=5)


def test_a_split_comes_back_from_its_file_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    split = make_split(dataset, folds=3)
    split.write(tmp_path / "split.json")
    assert read_split(tmp_path / "split.json", dataset) == split


def test_a_missing_a_damaged_and_an_outdated_split_have_different_errors(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    with pytest.raises(MissingStepError, match="medvqa split"):
        read_split(path, dataset)
    make_split(dataset, val=0.25).write(path)
    content = json.loads(path.read_text())
    path.write_text(path.read_text()[:-100])
    with pytest.raises(MedvqaError, match="is damaged"):
        read_split(path, dataset)
    twice = [content["validation"][0] * 2]
    for change, message in (
        ({"validation": twice}, "is damaged: file: Value error, an image validates twice"),
        ({"validation": [[]]}, "is damaged: file: Value error, a fold is empty"),
        ({"seed": "x"}, "is damaged: seed"),
        ({"fingerprint": "0"}, "has changed since"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(MedvqaError, match=message):
            read_split(path, dataset)


def run(folder: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["split", "--workspace", str(folder), *options])
    return result.exit_code, result.output


def test_the_command_writes_the_same_bytes_each_time_and_shows_what_it_did(folder: Path) -> None:
    code, output = run(folder, "--val", "0.25")
    assert code == 0, output
    assert "27 images train, 9 validate" in output
    assert "12 groups" in output
    assert "100.0% of all images and 100.0% of those that validate are in groups larger than one" in output
    assert "What color is the abnormality?" in output
    first = (folder / "work" / "split.json").read_bytes()
    assert run(folder, "--val", "0.25")[0] == 0
    assert (folder / "work" / "split.json").read_bytes() == first


def test_with_json_only_json_is_printed(folder: Path) -> None:
    code, output = run(folder, "--folds", "3", "--json")
    assert code == 0
    told = json.loads(output)
    assert told["folds"] == [{"train": 24, "val": 12}] * 3
    assert told["certificate"]["leaked_pairs"] == 0
    assert told["grouped_share"] == {"all": 1.0, "val": [1.0, 1.0, 1.0]}
    assert told["statistics"]["heights"] == {"< 500": 36, "500–1000": 0, "> 1000": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--val", "0.1", "--folds", "5"], "--val and --folds exclude each other"),
        (["--val", "0"], "--val 0: give a share between 0 and 1"),
        (["--val", "1"], "--val 1: give a share between 0 and 1"),
        (["--val", "nan"], "--val nan: give a share between 0 and 1"),
        (["--folds", "1"], "--folds 1: at least 2"),
    ],
)
def test_invalid_options_are_usage_errors(folder: Path, options: list[str], message: str) -> None:
    code, output = run(folder, *options)
    assert (code, message in output) == (2, True), output


def test_problems_of_the_data_reach_the_user_without_a_traceback(tmp_path: Path) -> None:
    development = tmp_path / "data" / "development"
    write_dataset(development, 2)
    (development / "images" / "image1.jpg").unlink()
    code, output = run(tmp_path)
    assert code == 1
    assert "image 2 (image1)" in output
    assert "there is no such file" in output
    assert "Traceback" not in output
    assert not (tmp_path / "work" / "split.json").exists()


def test_a_second_run_while_one_is_writing_is_refused(folder: Path) -> None:
    with sole_writer(folder / "work"):
        code, output = run(folder)
    assert (code, "is being written by process" in output) == (1, True), output


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data" / "development", 2)
    (tmp_path / "work").write_text("a file where the folder belongs")
    code, output = run(tmp_path)
    assert (code, "cannot write" in output) == (1, True), output


def test_reading_and_splitting_never_import_paddle() -> None:
    program = "import sys, imageclef_vqa.data.statistics; sys.exit(any(m.startswith('paddle') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], check=False).returncode == 0
