"""Records: content hashes beside every artefact, whatever dates and places say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageclef_vqa.artefacts import (
    ChangedError,
    check_artefact,
    read_record,
    record_folder,
    record_path,
    write_artefact,
)


def check(path: Path) -> str:
    return check_artefact(path, path.name, "`medvqa predict` makes it again").digest


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    path = tmp_path / "val.jsonl"
    write_artefact(path, b"answers\n", command="predict", inputs={"stage2": "ab"}, options={"decode": "closed"})
    return path


def test_copies_dates_and_folders_change_nothing(artefact: Path, tmp_path: Path) -> None:
    before = check(artefact)
    os.utime(artefact, (0, 0))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in (artefact, record_path(artefact)):
        shutil.move(path, moved / path.name)
    assert check(moved / artefact.name) == before


@given(bit=st.integers(0, 63))
def test_a_flipped_bit_is_found(bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("a") / "val.jsonl"
    write_artefact(path, b"answers\n", command="predict", inputs={})
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(ChangedError, match=r"val\.jsonl is not the file that was finished"):
        check(path)


def test_what_has_no_record_is_told_apart_from_what_changed(artefact: Path) -> None:
    record_path(artefact).unlink()
    assert read_record(artefact) is None
    with pytest.raises(ChangedError, match="made by a version that kept no records"):
        check(artefact)


def test_a_damaged_record_is_an_error_with_a_remedy(artefact: Path) -> None:
    record_path(artefact).write_text("{")
    with pytest.raises(ChangedError, match=r"record.json is damaged\n`medvqa predict` makes it again"):
        check(artefact)


def test_the_digest_follows_from_content_inputs_and_options(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.jsonl", set()
    for content, inputs, options in ((b"1", {}, {}), (b"2", {}, {}), (b"1", {"x": "1"}, {}), (b"1", {}, {"o": 1})):
        seen.add(write_artefact(path, content, command="predict", inputs=inputs, options=options).digest)
    assert len(seen) == 4


def test_a_folder_is_checked_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "stage2"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "loss.png"):
        (folder / name).write_text(name)
    record_folder(folder, ["model.safetensors", "config.json"], command="finetune --stage 2", inputs={})
    (folder / "loss.png").write_text("another picture")  # nothing depends on it
    check(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ChangedError, match=r"stage2: config\.json is missing"):
        check(folder)
    (folder / "config.json").write_text("other")
    with pytest.raises(ChangedError, match=r"stage2/config\.json is not the file that was finished"):
        check(folder)
