"""The parts of BLIP-2 do what the figures say."""

from dataclasses import replace

import numpy as np
import paddle
import pytest

from imageclef_vqa.checkpoints.layers import load_weights, read_weights, save_weights
from imageclef_vqa.checkpoints.pretrained import load_pretrained, load_trained, trained_tensors
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.models.qformer import QFormer

TINY = find_preset("tiny")


def randomised(layer):
    """Every tensor random: default values hide swapped norms and biases."""
    rng = np.random.default_rng(1)
    for parameter in layer.parameters():
        parameter.set_value((rng.standard_normal(parameter.shape) * 0.2).astype("float32"))
    layer.eval()
    return layer


@pytest.fixture(scope="module")
def blip2():
    return randomised(Blip2(TINY))


@pytest.fixture(scope="module")
def qformer():
    return randomised(QFormer(replace(TINY.qformer, queries=5, width=16, heads=2, mlp_width=24, vision_width=12)))


@pytest.fixture
def patches():
    return paddle.to_tensor(np.random.default_rng(2).standard_normal((2, 7, 12)).astype("float32"))


TEXT = paddle.to_tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
MASK = paddle.to_tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def pairs(pixels=None):
    rng = np.random.default_rng(4)
    size = TINY.vision.image_size
    pixels = rng.standard_normal((2, 3, size, size)).astype("float32")
    return {
        "pixels": paddle.to_tensor(pixels),
        "image_of_pair": paddle.to_tensor([0, 0, 1]),
        "question": paddle.to_tensor([[20, 21, 22], [23, 24, 0], [25, 0, 0]]),
        "question_mask": paddle.to_tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]]),
        "answer": paddle.to_tensor([[30, 1, 0], [31, 3, 32], [33, 1, 0]]),
    }


def write(qformer, patches, text=TEXT, mask=MASK):
    return qformer.write(qformer.read_image(qformer.encode_image(patches))[1], text, mask)


def test_when_writing_no_token_sees_a_later_one_and_each_sees_what_the_queries_read(qformer, patches):
    states, changed = write(qformer, patches), TEXT.clone()
    changed[0, 3] = 50
    other_states = write(qformer, patches, changed)
    np.testing.assert_array_equal(states[0, :3], other_states[0, :3])
    assert not np.allclose(states[0, 3], other_states[0, 3])
    assert not np.allclose(states, write(qformer, patches * 2))


def test_when_matching_all_see_all(qformer, patches):
    cross_kv, changed = qformer.encode_image(patches), TEXT.clone()
    queries, states = qformer.read_both(cross_kv, TEXT, MASK)
    changed[0, 3] = 50
    other_queries, other_states = qformer.read_both(cross_kv, changed, MASK)
    assert not np.allclose(queries[0], other_queries[0])
    assert not np.allclose(states[0, 0], other_states[0, 0])
    assert not np.allclose(states, qformer.read_both(qformer.encode_image(patches * 2), TEXT, MASK)[1])


def test_text_beside_queries_is_one_sequence_with_them(qformer, patches):
    """Writing and matching by the definition: all tokens through every layer under one mask (BLIP-2, figure 2)."""
    for causal in (True, False):
        queries = qformer.norm(qformer.queries).expand([2, -1, -1])
        states, q = qformer.norm(qformer.words(TEXT) + qformer.positions(paddle.arange(4))), queries.shape[1]
        visible = np.ones((2, 1, q + 4, q + 4), bool)
        visible[1, :, :, q + 2 :] = False
        if causal:
            visible &= np.tril(np.ones((q + 4, q + 4), bool)) | (np.arange(q + 4) < q)
        for layer in qformer.layers:
            both = paddle.concat([queries, states], axis=1)
            both = layer.self_attention(both, layer.self_attention.keys_and_values(both), paddle.to_tensor(visible))
            cross_kv = layer.cross_attention and layer.cross_attention.keys_and_values(patches)
            queries, states = layer.read(both[:, :q], cross_kv), layer.text_mlp(both[:, q:])
        if causal:
            np.testing.assert_allclose(qformer(patches), queries, atol=1e-5)
            np.testing.assert_allclose(write(qformer, patches)[0], states[0], atol=1e-5)
            np.testing.assert_allclose(write(qformer, patches)[1, :2], states[1, :2], atol=1e-5)
        else:
            found = qformer.read_both(qformer.encode_image(patches), TEXT, MASK)
            np.testing.assert_allclose(found[0], queries, atol=1e-5)
            np.testing.assert_allclose(found[1], states, atol=1e-5)


def test_padding_changes_nothing(qformer, patches):
    short, short_mask = TEXT[1:, :2], MASK[1:, :2]
    np.testing.assert_allclose(qformer.read_text(TEXT, MASK)[1:, :2], qformer.read_text(short, short_mask), atol=1e-5)
    _, padded = qformer.read_both(qformer.encode_image(patches), TEXT, MASK)
    _, alone = qformer.read_both(qformer.encode_image(patches[1:]), short, short_mask)
    np.testing.assert_allclose(padded[1:, :2], alone, atol=1e-5)


def test_only_every_second_layer_looks_at_the_image(qformer):
    assert [layer.cross_attention is not None for layer in qformer.layers] == [True, False, True, False]


def test_questions_of_one_image_share_its_visual_tokens_exactly(blip2):
    inputs = pairs()
    together = blip2(**inputs)
    for pair in range(3):
        image = int(inputs["image_of_pair"][pair])
        alone = blip2(
            inputs["pixels"][image : image + 1],
            paddle.to_tensor([0]),
            *(inputs[name][pair : pair + 1] for name in ("question", "question_mask", "answer")),
        )
        np.testing.assert_allclose(together[pair], alone[0], atol=1e-5)


def test_vision_runs_once_per_image(blip2, monkeypatch):
    seen = []
    monkeypatch.setattr(
        blip2.vision, "features", lambda x, run=blip2.vision.features: seen.append(x.shape[0]) or run(x)
    )
    blip2(**pairs())
    assert seen == [2]


def test_gradients_of_shared_vision_equal_those_of_one_pair_at_a_time(blip2):
    inputs = pairs()
    parameter = blip2.vision.layers[0].qkv.weight

    def gradient(run):
        blip2.clear_gradients()
        run()
        return parameter.grad.numpy()

    def one_at_a_time():
        for pair, image in enumerate(inputs["image_of_pair"].tolist()):
            rest = (inputs[name][pair : pair + 1] for name in ("question", "question_mask", "answer"))
            blip2(inputs["pixels"][image : image + 1], paddle.to_tensor([0]), *rest).sum().backward()

    together = gradient(lambda: blip2(**inputs).sum().backward())
    np.testing.assert_allclose(together, gradient(one_at_a_time), atol=1e-5 * np.abs(together).max())


def test_decoding_step_by_step_with_a_cache_equals_reading_the_whole_answer(blip2):
    inputs = pairs()
    visual = blip2.visual_tokens(inputs["pixels"])
    memory = blip2.read(visual, inputs["image_of_pair"], inputs["question"], inputs["question_mask"])
    whole = blip2.language.answer_log_probs(memory, inputs["answer"])
    token, steps = paddle.zeros([3], dtype="int64"), []
    for index in range(3):
        logits, memory = blip2.language.step(memory, token)
        token = inputs["answer"][:, index]
        log_probs = paddle.nn.functional.log_softmax(logits, axis=-1)
        steps.append(paddle.take_along_axis(log_probs, token.unsqueeze(-1), axis=-1))
    np.testing.assert_allclose(whole, paddle.concat(steps, axis=1), atol=1e-5)


def test_weights_that_do_not_fit_are_listed_and_nothing_is_loaded():
    layer = paddle.nn.Linear(3, 2)
    before = layer.weight.numpy()
    with pytest.raises(MedvqaError) as error:
        load_weights(layer, {"weight": np.zeros((2, 3), "float32"), "scale": np.ones(2)}, "a.safetensors")
    assert str(error.value).splitlines() == [
        "a.safetensors does not fit the model:",
        "+ extra [2]: scale",
        "~ weight: checkpoint [2, 3], model [3, 2]",
        "- bias [2]: missing from the checkpoint",
    ]
    np.testing.assert_array_equal(layer.weight, before)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"not weights", lambda data: b""])
def test_a_damaged_weight_file_is_an_error_that_names_it(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    save_weights(path, {"a": np.arange(100, dtype="float32")})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MedvqaError, match=r"model\.safetensors"):
        read_weights(path)


def test_what_was_trained_comes_back_on_top_of_what_was_not(tmp_path):
    model, _ = load_pretrained(TINY)
    start = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    for vision in (True, False):
        changed = {name: tensor.numpy() + 1 for name, tensor in trained_tensors(model, vision=vision).items()}
        load_trained(model, changed, "memory")
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(tensor, changed.get(name, start[name]))
        load_weights(model, start, "start")
