"""The scripts that train the weights of `tiny` and `lite`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import paddle

from imageclef_vqa.checkpoints.pretrained import START
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import EFFICIENTNET_LITE
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.pretraining import drawn_scenes, tiny_language


def test_both_scripts_write_the_files_of_the_preset(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_language, "STEPS", 1)
    monkeypatch.setattr(tiny_language, "CONTEXTS", 2)
    monkeypatch.setitem(drawn_scenes.SCENES, "tiny", 4)
    monkeypatch.setattr(drawn_scenes, "HELD_OUT", 2)
    monkeypatch.setattr(drawn_scenes, "RECIPE", drawn_scenes.RECIPE.model_copy(update={"epochs": 1}))
    monkeypatch.setattr(drawn_scenes, "ProcessPoolExecutor", ThreadPoolExecutor)  # Paddle does not survive a fork
    tiny_language.main(tmp_path)
    drawn_scenes.main("tiny", tmp_path)
    assert {"spiece.model", "language.safetensors", *START} <= {path.name for path in tmp_path.iterdir()}


def test_a_norm_that_is_folded_into_the_q_former_changes_nothing():
    vision = replace(EFFICIENTNET_LITE["efficientnet-lite0"], image_size=64)
    preset = replace(PRESETS["tiny"], vision=vision)
    model = Blip2(replace(preset, qformer=replace(preset.qformer, vision_width=vision.width)))
    model.eval()
    rng = np.random.default_rng(0)
    for tensor in (model.vision.norm.weight, model.vision.norm.bias):
        tensor.set_value(rng.standard_normal(tensor.shape).astype("float32"))
    features = paddle.to_tensor(rng.standard_normal((2, vision.tokens, vision.width)).astype("float32"))
    before = model.encode_features(features).numpy()
    drawn_scenes.fold_norm(model)
    np.testing.assert_array_equal(model.vision.norm.weight.numpy(), 1)
    np.testing.assert_allclose(model.encode_features(features).numpy(), before, atol=1e-4)
