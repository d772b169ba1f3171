from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_dataset import picture, write_dataset

from imageclef_vqa.data import Dataset, images, load_pixels, read_dataset
from imageclef_vqa.errors import DataError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    write_dataset(tmp_path / "data")
    return read_dataset(tmp_path / "data")


def test_pixels_are_the_stored_ones_squeezed_to_a_square(dataset: Dataset) -> None:
    pixels = load_pixels(dataset, 32, None)
    assert pixels.shape == (3, 32, 32, 3)
    assert pixels.dtype == np.uint8
    image = Image.open(dataset.examples[1].image).resize((32, 32), Image.Resampling.BICUBIC)
    assert (pixels[1] == np.asarray(image)).all()


def test_pixels_follow_the_order_of_the_examples(dataset: Dataset, tmp_path: Path) -> None:
    pixels = load_pixels(dataset, 32, tmp_path / "cache")
    turned = load_pixels(dataset.subset(["image2", "image0"]), 32, tmp_path / "cache")
    assert (turned == pixels[[2, 0]]).all()


def test_the_cache_gives_the_same_pixels_and_cannot_be_written(dataset: Dataset, tmp_path: Path) -> None:
    plain = load_pixels(dataset, 32, None)
    for _ in range(2):
        mapped = load_pixels(dataset, 32, tmp_path / "cache")
        assert isinstance(mapped, np.memmap)
        assert (mapped == plain).all()
        assert not mapped.flags.writeable


def test_a_cache_of_the_wrong_shape_or_type_is_replaced(dataset: Dataset, tmp_path: Path) -> None:
    before = np.array(load_pixels(dataset, 32, tmp_path))
    (store,) = tmp_path.glob("pixels-*.npy")
    for damaged in (b"", store.read_bytes()[:500]):
        store.write_bytes(damaged)
        assert (load_pixels(dataset, 32, tmp_path) == before).all()
    np.save(store, np.zeros((3, 32, 32, 3), dtype=np.float32))
    assert (load_pixels(dataset, 32, tmp_path) == before).all()


@pytest.mark.parametrize("place", [0, 60, 128, 5000, -33, -32, -1])
def test_a_cache_with_one_flipped_bit_is_replaced(dataset: Dataset, tmp_path: Path, place: int) -> None:
    before = np.array(load_pixels(dataset, 32, tmp_path))
    (store,) = tmp_path.glob("pixels-*.npy")
    intact = store.read_bytes()
    flipped = bytearray(intact)
    flipped[place] ^= 1
    store.write_bytes(flipped)
    assert (load_pixels(dataset, 32, tmp_path) == before).all()
    assert store.read_bytes() == intact


def test_a_cache_of_zeros_is_replaced(dataset: Dataset, tmp_path: Path) -> None:
    before = np.array(load_pixels(dataset, 32, tmp_path))
    (store,) = tmp_path.glob("pixels-*.npy")
    intact = store.read_bytes()
    for zeroed in (bytes(len(intact)), intact[:128] + bytes(before.size) + intact[128 + before.size :]):
        store.write_bytes(zeroed)
        assert (load_pixels(dataset, 32, tmp_path) == before).all()


def test_an_image_replaced_by_one_of_its_size_and_date_is_seen(dataset: Dataset, tmp_path: Path) -> None:
    cache, image = tmp_path / "cache", dataset.examples[1].image
    before, status = read_dataset(dataset.folder, cache=cache), image.stat()
    content = bytearray(image.read_bytes())
    content[-200] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = read_dataset(dataset.folder, cache=cache)
    assert image.stat().st_size == status.st_size
    assert image.stat().st_mtime_ns == status.st_mtime_ns
    assert after.fingerprint != before.fingerprint
    assert (load_pixels(after, 32, cache) == load_pixels(after, 32, None)).all()


def test_a_copied_and_touched_image_is_not_decoded_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_dataset(dataset.folder, cache=tmp_path)
    for example in dataset.examples:
        os.utime(example.image, (1, 1))
    monkeypatch.setattr(images, "_examine", None)
    assert read_dataset(dataset.folder, cache=tmp_path) == before


@given(place=st.integers(0, 2**30), bit=st.integers(0, 7))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_to_the_image_index_changes_what_is_read(
    dataset: Dataset, tmp_path: Path, place: int, bit: int
) -> None:
    before = read_dataset(dataset.folder, cache=tmp_path)
    (store,) = tmp_path.glob("images-*.npz")
    content = bytearray(store.read_bytes())
    content[place % len(content)] ^= 1 << bit
    store.write_bytes(content)
    assert read_dataset(dataset.folder, cache=tmp_path) == before


def test_an_image_that_changed_since_it_was_read_is_an_error_without_a_cache(dataset: Dataset, tmp_path: Path) -> None:
    picture(50).save(dataset.examples[1].image)
    with pytest.raises(DataError, match=r"image1\.jpg: has changed since the data set was read"):
        load_pixels(dataset, 32, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    picture(0).convert("L").save(tmp_path / "images" / "image0.jpg")
    (tmp_path / "images" / "image1.jpg").unlink()
    picture(1).convert("RGBA").save(tmp_path / "images" / "image1.png")
    assert load_pixels(read_dataset(tmp_path), 16, None).shape == (3, 16, 16, 3)
