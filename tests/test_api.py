"""The public Python API: its whole surface, and that it is silent."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_dataset import write_dataset

import imageclef_vqa as vqa
from imageclef_vqa.errors import MedvqaError

SURFACE = {
    "MedvqaError": None,
    "check": "file ids development edition workspace run",
    "explain": "image question method out workspace run answers device notify",
    "finetune": "workspace stage preset weights recipe overrides fold fresh from_scratch_parts device seed run track "
    "notify",
    "load_dataset": "path",
    "load_model": "workspace run answers device notify",
    "package": "out team answers predictions answer_form edition force write workspace run",
    "predict": "workspace folds name images ids out decode optimise augment consistent on_bad_image answers device "
    "devices run notify",
    "route": "workspace policy questions experts weights shared epochs folds train device run seed notify",
    "score": "file answers gold workspace run report plots heat_maps device",
    "split": "workspace val folds by seed",
}


def test_the_surface_is_these_names_with_these_parameters():
    assert set(vqa.__all__) == set(SURFACE)
    for name, parameters in SURFACE.items():
        member = getattr(vqa, name)
        if parameters is not None:
            assert list(inspect.signature(member).parameters) == parameters.split(), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vqa.nothing


def test_paths_are_strings_or_paths_and_nothing_is_printed(tmp_path, capfd):
    write_dataset(tmp_path / "data/development", 8)
    made = vqa.split(str(tmp_path), val=0.25)
    assert vqa.split(tmp_path, val=0.25).split == made.split
    assert len(vqa.load_dataset(str(tmp_path / "data/development"))) == 8
    figures = tmp_path / "table.json"
    figures.write_text(json.dumps([{"id": 4, "accuracy": 0.9}, {"id": 5, "accuracy": 0.5}]))
    assert vqa.score(figures).mean == pytest.approx(0.7)
    with pytest.raises(MedvqaError, match="medvqa predict"):
        vqa.package(workspace=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_names_are_imported_without_paddle():
    code = (
        "import sys; sys.modules['paddle'] = None; import imageclef_vqa as vqa; [getattr(vqa, n) for n in vqa.__all__]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
