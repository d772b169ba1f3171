"""`medvqa score --perturb`: the same questions about cropped, turned, shifted, brighter and duller pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_dataset import picture, record, write_dataset, write_labels
from trained import write_run
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data import perturbation, read_dataset
from imageclef_vqa.data.perturbation import PERTURBATIONS, perturbed
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.pipeline import perturb as pipeline
from imageclef_vqa.workspace import Workspace

SEEDS = range(40)


def changed(kind, image, seed):
    return np.asarray(PERTURBATIONS[kind](image, np.random.default_rng(seed)), float)


def test_a_shift_moves_up_to_a_tenth_and_leaves_black_borders():
    moves = []
    for seed in SEEDS:
        white = changed("shift", Image.new("RGB", (100, 50), "white"), seed)[..., 0]
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        moves.append((100 - len(columns), 50 - len(rows)))
    assert max(moves)[0] in range(8, 11)
    assert max(down for _, down in moves) in range(4, 6)


def test_a_rotation_turns_up_to_ten_degrees_about_the_centre():
    image = Image.new("RGB", (101, 101))
    image.putpixel((50, 50), (255, 255, 255))
    image.paste("white", (46, 4, 55, 8))
    angles = []
    for seed in SEEDS:
        found = changed("rotation", image, seed)[..., 0]
        assert found[50, 50] > 200
        y, x = np.argwhere(found[:40] > 128).mean(axis=0)
        angles.append(np.degrees(np.arctan2(x - 50, 50 - y)))
    assert 7 < max(angles) < 10.5
    assert -10.5 < min(angles) < -7


def test_a_crop_enlarges_at_least_nine_tenths_of_the_picture():
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 200, dtype="uint8"), (100, 1)))
    spans = [np.ptp(changed("crop", ramp.convert("RGB"), seed)[..., 0]) / 255 for seed in SEEDS]
    assert 0.89 < min(spans) < 0.93
    assert max(spans) > 0.97


@pytest.mark.parametrize("kind", ["brightness", "contrast"])
def test_brightness_and_contrast_change_by_a_fifth_at_most(kind):
    grey = Image.fromarray(np.tile(np.array([80, 120], "uint8"), (10, 5))).convert("RGB")
    measure = np.mean if kind == "brightness" else np.ptp
    factors = [measure(changed(kind, grey, seed)) / measure(np.asarray(grey, float)) for seed in SEEDS]
    assert 0.77 < min(factors) < 0.86
    assert 1.14 < max(factors) < 1.23


def test_a_change_follows_from_seed_kind_and_picture_only(tmp_path):
    write_dataset(tmp_path / "set")
    (tmp_path / "renamed/images").mkdir(parents=True)
    picture(1).save(tmp_path / "renamed/images/other.jpg", quality=95)
    whole, alone = read_dataset(tmp_path / "set"), read_dataset(tmp_path / "renamed", labelled=False)
    folders = iter(range(100))

    def digests(dataset, kind, seed):
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        made = perturbed(dataset, kind, seed, folder)
        assert made.fingerprint != dataset.fingerprint
        assert [each.answers for each in made.examples] == [each.answers for each in dataset.examples]
        return [each.sha256 for each in made.examples]

    for kind in PERTURBATIONS:
        first = digests(whole, kind, 0)
        assert digests(whole, kind, 0) == first
        assert digests(alone, kind, 0) == first[1:2]
        assert not set(digests(whole, kind, 1)) & set(first)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with answers to three test images."""
    root = tmp_path_factory.mktemp("perturb")
    for fold, images in (("development", 12), ("test", 3)):
        write_dataset(root / "data" / fold, images)
        answers = [{f"q{q.id}": [q.known[(n + q.id) % min(3, len(q.known))]] for q in QUESTIONS} for n in range(images)]
        write_labels(root / "data" / fold, [record(f"image{n}", **given) for n, given in enumerate(answers)])
    for number in range(3):
        picture(50 + number).save(root / f"data/test/images/image{number}.jpg", quality=95)
    write_run(Workspace.at(root), seed=1, noise=0.1)
    assert run(root, "predict").exit_code == 0
    return root


def run(root, *options):
    return CliRunner().invoke(app, [*options, "--workspace", str(root)])


def test_each_kind_is_compared_with_the_run_s_own_answers_and_nothing_is_kept(made, monkeypatch):
    kinds = {"nothing": lambda image, rng: image, "black": lambda image, rng: Image.new("RGB", image.size)}
    monkeypatch.setattr(perturbation, "PERTURBATIONS", kinds)
    monkeypatch.setattr(pipeline, "PERTURBATIONS", kinds)

    def kept():
        return {path: path.read_bytes() for path in (made / "work/main").rglob("*") if path.is_file()}

    before, pixels = kept(), sorted((made / "work/cache").glob("pixels*"))
    found = json.loads(run(made, "score", "--perturb", "--json").stdout)
    assert kept() == before
    assert sorted((made / "work/cache").glob("pixels*")) == pixels
    assert not list((made / "work/cache").glob("perturbed*"))
    assert (found["fold"], found["seed"], found["baseline"], found["images"]) == ("test", 0, "original", 3)
    nothing, black = found["comparisons"]
    assert (nothing["name"], nothing["global"]["difference"], nothing["missing"]) == ("nothing", 0, 0)
    assert all(each["gained"] == each["lost"] == 0 for each in nothing["questions"])
    assert any(each["gained"] or each["lost"] for each in black["questions"])
    shown = run(made, "score", "--perturb").stdout
    assert "Test images, perturbed" in shown
    assert "exact sets falls significantly (95%) with:" in shown


def test_answers_to_perturbed_pictures_are_never_packaged(made, monkeypatch, tmp_path):
    real, kept = pipeline.read_predictions, []

    def keep(path):
        kept.append(shutil.copytree(path.parent, tmp_path / str(len(kept))) / path.name)
        return real(path)

    monkeypatch.setattr(pipeline, "read_predictions", keep)
    assert run(made, "score", "--perturb").exit_code == 0
    assert len(kept) == len(PERTURBATIONS)
    for path in kept:
        done = run(made, "package", "--predictions", str(path), "--out", str(tmp_path / "run.csv"))
        assert done.exit_code == 1
        assert "it answers other images than the test set has" in " ".join(done.output.split())
    assert not Path(tmp_path / "run.csv").exists()


def test_stale_answers_and_other_inputs_are_refused(made, tmp_path):
    assert run(made, "score", "--perturb", "--compare").exit_code == 2
    root = shutil.copytree(made, tmp_path / "copy")
    picture(99).save(root / "data/test/images/image0.jpg", quality=95)
    done = run(root, "score", "--perturb")
    assert (done.exit_code, "the test set has changed" in done.output) == (1, True)
