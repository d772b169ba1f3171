"""The scripts that train the weights of `tiny`."""

from concurrent.futures import ThreadPoolExecutor

from imageclef_vqa.checkpoints.pretrained import START
from imageclef_vqa.pretraining import tiny_language, tiny_vision


def test_both_scripts_write_the_files_of_the_preset(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_language, "STEPS", 1)
    monkeypatch.setattr(tiny_language, "CONTEXTS", 2)
    monkeypatch.setattr(tiny_vision, "SCENES", 4)
    monkeypatch.setattr(tiny_vision, "HELD_OUT", 2)
    monkeypatch.setattr(tiny_vision, "RECIPE", tiny_vision.RECIPE.model_copy(update={"epochs": 1}))
    monkeypatch.setattr(tiny_vision, "ProcessPoolExecutor", ThreadPoolExecutor)  # Paddle does not survive a fork
    tiny_language.main(tmp_path)
    tiny_vision.main(tmp_path)
    assert {"spiece.model", "language.safetensors", *START} <= {path.name for path in tmp_path.iterdir()}
