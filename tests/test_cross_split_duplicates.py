"""Test images that resemble each other, or development images, are found."""

from PIL import Image
from small_dataset import picture, record, write_dataset, write_labels

from imageclef_vqa.data import read_dataset
from imageclef_vqa.data.cross_split_duplicates import CrossSplitDuplicates, cross_split_duplicates


def scene(seed):
    return picture(seed, 160, 128)


def write_test_set(folder, pictures):
    (folder / "images").mkdir(parents=True)
    for name, image in pictures.items():
        image.save(folder / "images" / f"{name}.jpg", quality=90)
    write_labels(folder, [record(name) for name in pictures])


def test_near_duplicates_make_a_group_and_development_images_are_named(tmp_path):
    write_dataset(tmp_path / "development", 3)
    again = Image.open(tmp_path / "development" / "images" / "image1.jpg").convert("RGB")
    lighter = scene(51).point(lambda value: min(255, value + 6))
    write_test_set(tmp_path / "test", {"a": scene(50), "b": scene(51), "c": lighter, "d": again})
    test = read_dataset(tmp_path / "test", labelled=False)
    development = read_dataset(tmp_path / "development")
    found = cross_split_duplicates(test, development, tmp_path / "cache")
    assert found.groups["b"] == found.groups["c"]
    assert len(set(found.groups.values())) == 3
    assert found.in_development == {"d": ("image1",)}


def test_the_result_is_kept_until_the_images_change(tmp_path):
    write_dataset(tmp_path / "development", 2)
    write_test_set(tmp_path / "test", {"a": scene(50), "b": scene(51)})
    development = read_dataset(tmp_path / "development")

    def found():
        return cross_split_duplicates(read_dataset(tmp_path / "test", labelled=False), development, tmp_path / "cache")

    first = found()
    (kept,) = (tmp_path / "cache").glob("cross-split-*.json")
    kept.write_text(CrossSplitDuplicates(groups={"a": 7, "b": 8}, in_development={}).model_dump_json())
    assert found().groups == {"a": 7, "b": 8}
    kept.write_text("damaged")
    assert found() == first
    scene(51).save(tmp_path / "test" / "images" / "a.jpg", quality=90)
    assert len(set(found().groups.values())) == 1
