"""Features of frozen vision are computed once, found only for the same pixels and weights, and not used if damaged."""

import json
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageclef_vqa.data.augmentation import View
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import VisionConfig
from imageclef_vqa.models.vision import VisionTransformer
from imageclef_vqa.training import features
from imageclef_vqa.training.context import FoldData
from imageclef_vqa.training.features import FeatureStore, rounded_features
from imageclef_vqa.training.images import VisionFeatures
from imageclef_vqa.training.pairs import PairTable

SIZES = VisionConfig(image_size=16, patch_size=8, width=8, layers=1, heads=2, mlp_width=8)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), "uint8")
VISION = VisionTransformer(SIZES)
EXPECTED = rounded_features(VISION, PIXELS).numpy()


@pytest.fixture
def computed(monkeypatch):
    """The number of images of each call of the encoder."""
    seen: list[int] = []

    def counted(vision, pixels):
        seen.append(len(pixels))
        return rounded_features(vision, pixels)

    monkeypatch.setattr(features, "rounded_features", counted)
    return seen


def kept(folder, pixels=PIXELS, vision=VISION):
    found = FeatureStore(folder, vision).of(pixels)
    return found[np.arange(len(found))]


def features_of(store):
    """The features of augmented images, from a store or computed."""
    recipe = SimpleNamespace(trains_vision=False)
    context = SimpleNamespace(model=SimpleNamespace(vision=VISION), recipe=recipe, features=store)
    return VisionFeatures(context, FoldData(None, PIXELS, None, augmented=True))


def files(folder):
    (rows,), (index,) = folder.glob("*.f16"), folder.glob("*.jsonl")
    return rows, index


def test_each_image_is_computed_once(tmp_path, computed):
    twice = PIXELS[[0, 1, 0, 2]]
    np.testing.assert_allclose(kept(tmp_path, twice), EXPECTED[[0, 1, 0, 2]], atol=2e-3)
    assert computed == [3]
    np.testing.assert_allclose(kept(tmp_path), EXPECTED, atol=2e-3)
    assert computed == [3, 2], "only at those that are new"
    kept(tmp_path, PIXELS[::-1])
    assert computed == [3, 2]


def test_a_mirrored_image_has_features_of_its_own(tmp_path, computed):
    kept(tmp_path)
    mirrored = np.stack([View(3).apply(image) for image in PIXELS])
    for _ in range(2):
        found = FeatureStore(tmp_path, VISION).of(PIXELS, View(3))
        np.testing.assert_allclose(found[np.arange(len(found))], rounded_features(VISION, mirrored).numpy(), atol=2e-3)
    assert computed == [5, 5]


@pytest.mark.parametrize("cached", [True, False])
def test_a_batch_has_the_features_of_each_image_in_its_view(tmp_path, cached):
    batch = PairTable.batch(np.array([4, 0, 4]), [[], [], []], [View(3), View(0), View(1)])
    shown = np.stack([view.apply(PIXELS[image]) for image, view in zip(batch.images, batch.views, strict=True)])
    found = features_of(FeatureStore(tmp_path, VISION) if cached else None)(batch).numpy()
    np.testing.assert_allclose(found, rounded_features(VISION, shown).numpy(), atol=2e-3)


def test_a_view_that_is_not_mirrored_has_no_cached_features(tmp_path):
    with pytest.raises(KeyError):
        features_of(FeatureStore(tmp_path, VISION))(
            PairTable.batch(np.array([0]), [[]], [View(0, jitter=(1.1, 1.0, 1.0))])
        )


def test_other_weights_or_sizes_have_other_features(tmp_path, computed):
    kept(tmp_path)
    paddle.seed(7)
    other = VisionTransformer(SIZES)
    np.testing.assert_array_equal(kept(tmp_path, vision=other), rounded_features(other, PIXELS).numpy())
    assert computed == [5, 5]
    assert len(list(tmp_path.glob("*.f16"))) == 2


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_features_are_computed_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cache")
    kept(folder)
    for path in files(folder):
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans(), label=f"cut {path.suffix}"):
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        for place in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=4)) if content else ():
            content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
    np.testing.assert_allclose(kept(folder), EXPECTED, atol=2e-3)
    np.testing.assert_allclose(kept(folder), EXPECTED, atol=2e-3)


@pytest.mark.parametrize("damage", [0, 1])
def test_a_zeroed_row_and_a_flipped_bit_are_computed_again(tmp_path, computed, damage):
    kept(tmp_path)
    rows, _ = files(tmp_path)
    content = bytearray(rows.read_bytes())
    length = len(content) // len(PIXELS)
    if damage:
        content[2 * length + 7] ^= 64
    else:
        content[2 * length : 3 * length] = bytes(length)
    rows.write_bytes(content)
    np.testing.assert_allclose(kept(tmp_path), EXPECTED, atol=2e-3)
    assert computed == [5, 1], "only that row"


@pytest.mark.parametrize("line", ['{"row": 99, "pixels": "x"}', "[]", "7", "{", '{"row": true}', "\x00", "[" * 5000])
def test_nonsense_in_the_index_is_ignored(tmp_path, line):
    kept(tmp_path)
    _, index = files(tmp_path)
    lines = [json.loads(each) for each in index.read_text().splitlines()]
    lines[0]["row"], lines[1]["row"] = lines[1]["row"], 10**12  # another picture's row, and one far outside
    index.write_text("\n".join([line, *map(json.dumps, lines), line]))
    np.testing.assert_allclose(kept(tmp_path), EXPECTED, atol=2e-3)


def test_the_norm_is_not_part_of_the_features(tmp_path, computed):
    """It is trained while the features stay (LAVIS: `ln_vision`)."""
    kept(tmp_path)
    other = VisionTransformer(SIZES)
    other.set_state_dict(VISION.state_dict())
    other.norm.weight.set_value(other.norm.weight + 1)
    np.testing.assert_array_equal(kept(tmp_path, vision=other), EXPECTED)
    assert computed == [5]


def test_features_that_fp16_cannot_hold_are_refused(tmp_path):
    vision = VisionTransformer(SIZES)
    vision.layers[0].mlp_out.bias.set_value(paddle.full([SIZES.width], 1e6))
    with pytest.raises(MedvqaError, match="not finite in fp16"):
        kept(tmp_path, vision=vision)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(MedvqaError, match=r"cannot write .*features-.*\n.*--no-cache-features"):
        kept(tmp_path / "cache")
