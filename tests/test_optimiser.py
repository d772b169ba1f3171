"""The optimiser updates the right weights by the right amount, and none if gradients are not finite."""

import numpy as np
import paddle
import pytest

from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.models.pretraining_heads import PretrainingHeads
from imageclef_vqa.training.loop import layer_rates, set_trainable
from imageclef_vqa.training.optimiser import Optimiser
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.stage1 import Stage1
from imageclef_vqa.training.state import TrainerState

TINY = find_preset("tiny")
PLAIN = {"epochs": 1, "weight_decay": 0.0}


def parameters_of(*names):
    return {name: paddle.create_parameter([4], "float32") for name in names}


def optimiser_of(parameters, rates=None, **changes):
    return Optimiser(parameters, Recipe(**PLAIN | changes), Processes(), rates or {})


def step(optimiser, gradients, rate=0.1):
    for name, tensor in optimiser.parameters.items():
        (tensor * paddle.to_tensor(gradients[name], "float32")).sum().backward()
    return optimiser.step(rate)


def test_each_vision_layer_learns_slower_than_the_one_above_it():
    names = ["vision.norm.weight", "vision.layers.1.qkv.weight", "vision.layers.0.qkv.weight", "vision.class_token"]
    rates = layer_rates(dict.fromkeys([*names, "projection.weight", "qformer.layers.0.x"]), 0.5)
    assert rates == dict(zip(names, (1.0, 0.5, 0.25, 0.125), strict=True))
    parameters = parameters_of(*names, "projection.weight")
    before = {name: tensor.numpy() for name, tensor in parameters.items()}
    step(optimiser_of(parameters, rates), {name: [1.0, -2.0, 3.0, 4.0] for name in parameters})
    moved = {name: np.abs(tensor.numpy() - before[name]).mean() for name, tensor in parameters.items()}
    assert moved == pytest.approx({name: 0.1 * rates.get(name, 1.0) for name in parameters}, rel=1e-3)


def test_the_average_follows_the_weights_and_is_used_only_for_validation():
    parameters = parameters_of("w")
    optimiser, weight = optimiser_of(parameters, ema=0.75), parameters["w"]
    average = weight.numpy()
    for gradient in (1.0, -3.0, 2.0):
        step(optimiser, {"w": [gradient] * 4})
        average = 0.75 * average + 0.25 * weight.numpy()
    own = weight.numpy()
    with optimiser.averaged():
        np.testing.assert_allclose(weight.numpy(), average, rtol=1e-5)
    np.testing.assert_array_equal(weight.numpy(), own)
    again = optimiser_of(parameters_of("w"), ema=0.75)
    state = TrainerState()
    again.load(optimiser.state(state), state)
    again.take_average()
    np.testing.assert_allclose(again.parameters["w"].numpy(), average, rtol=1e-5)


def test_gradients_are_clipped_by_the_norm_of_all_together():
    moved = []
    for clip in (0.0, 1.0):
        parameters = parameters_of("a", "b")
        optimiser = optimiser_of(parameters, clip=clip)
        norm = step(optimiser, {"a": [3.0, 0, 0, 0], "b": [0, 4.0, 0, 0]})
        assert norm == pytest.approx(5.0)
        moved.append(optimiser.state(TrainerState())["moment1.b"])
    assert moved[1] == pytest.approx(moved[0] / 5.0)


def test_weight_decay_reaches_matrices_embeddings_and_queries_but_no_biases_and_norms():
    model = Stage1(Blip2(TINY), PretrainingHeads(TINY.qformer))
    parameters = set_trainable(model, {".*": True})
    before = {name: tensor.numpy() for name, tensor in parameters.items()}
    optimiser = optimiser_of(parameters, weight_decay=0.5)
    step(optimiser, {name: np.zeros(tensor.shape) for name, tensor in parameters.items()})
    moved = {name for name, tensor in parameters.items() if not np.array_equal(tensor.numpy(), before[name])}
    vectors = {name for name, tensor in before.items() if tensor.ndim == 1}
    assert not moved & vectors
    zeros = {name for name, tensor in before.items() if not tensor.any()}
    assert moved == before.keys() - vectors - zeros
    assert {"blip2.qformer.queries", "blip2.qformer.words.weight", "heads.matching.weight"} <= moved
    assert {"blip2.vision.class_token", "blip2.vision.positions", "blip2.projection.weight"} <= moved
    assert {"blip2.qformer.norm.weight", "blip2.vision.norm.bias", "heads.word_bias", "heads.log_scale"} <= vectors


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_change_nothing(bad):
    parameters = parameters_of("a", "b")
    optimiser = optimiser_of(parameters, weight_decay=0.1, ema=0.5)
    step(optimiser, {"a": [1.0] * 4, "b": [1.0] * 4})
    before = optimiser.state(TrainerState())
    assert not np.isfinite(step(optimiser, {"a": [1.0] * 4, "b": [1.0, bad, 1.0, 1.0]}))
    after = optimiser.state(TrainerState())
    assert {name: array.tobytes() for name, array in before.items()} == {n: a.tobytes() for n, a in after.items()}


def test_fp16_lowers_its_scale_where_it_overflows_and_the_step_does_not_depend_on_it():
    scaled, plain = parameters_of("w"), parameters_of("w")
    plain["w"].set_value(scaled["w"].numpy())
    half, full = optimiser_of(scaled, precision="fp16"), optimiser_of(plain)
    assert step(half, {"w": [float("inf")] * 4}) == float("inf")
    assert half.lower_scale()
    assert half.scale == 2.0**14
    assert not full.lower_scale()
    step(half, {"w": [half.scale * each for each in (1.0, 2.0, -1.0, 0.5)]})
    step(full, {"w": [1.0, 2.0, -1.0, 0.5]})
    np.testing.assert_allclose(scaled["w"].numpy(), plain["w"].numpy(), rtol=1e-6)
    moments = [optimiser.state(TrainerState())["moment1.w"] for optimiser in (half, full)]
    np.testing.assert_allclose(*moments, rtol=1e-5)
