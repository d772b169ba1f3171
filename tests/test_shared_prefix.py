"""An image whose visual tokens are read once for all its questions is read as if questions were hidden from them."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
import small_models

from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.language.languages import build_language

GLM = replace(small_models.GLM, num_layers=3)
T5 = T5Config(vocab_size=70, d_model=24, d_kv=5, d_ff=33, num_layers=3, num_decoder_layers=2, num_heads=3)
IMAGE_OF_PAIR = paddle.to_tensor([0, 0, 1, 0])
QUESTION = paddle.to_tensor([[20, 21, 22, 23], [24, 0, 0, 0], [25, 26, 0, 0], [27, 28, 29, 0]])
MASK = (QUESTION != 0).astype("int64")
ANSWER = paddle.to_tensor([[30, 31], [32, 33], [34, 35], [36, 37]])
VISUAL = np.random.default_rng(0).standard_normal((2, 5, 24)).astype("float32")


def language_of(sizes):
    rng, language = np.random.default_rng(1), build_language(sizes)
    for parameter in language.parameters():
        parameter.set_value((rng.standard_normal(parameter.shape) * 0.3).astype("float32"))
        parameter.stop_gradient = True
    language.eval()
    return language


def hidden_from_visual(length, tokens):
    """Who sees whom [n, p, p]: as in `encode`, but no visual token sees a question."""
    seen = paddle.concat([paddle.ones([4, 5], "int64"), MASK, paddle.ones([4, tokens - 9], "int64")], axis=1)
    visible = seen.unsqueeze(1).expand([4, tokens, tokens]).clone()
    visible[:, :length, length:] = 0
    return seen, visible


def reference(language, visual):
    """The memory by the whole sequence of each pair, under a mask."""
    each = visual.index_select(IMAGE_OF_PAIR)
    if language.start == 0:
        seen, visible = hidden_from_visual(5, 9)
        inputs = paddle.concat([each, language.embed(QUESTION)], axis=1)
        states = language.model.t5.encoder(inputs_embeds=inputs, attention_mask=visible, return_dict=True)
        return language._memory(states.last_hidden_state, seen)
    _, visible = hidden_from_visual(5, 10)
    usual = language.encode(each, QUESTION, MASK)
    asked = paddle.concat([QUESTION, paddle.full([4, 1], GLM.gmask_token_id, "int64")], axis=1)
    inputs = paddle.concat([each, language.embed(asked)], axis=1)
    position = (usual.visible.astype("int64").cumsum(axis=1) - 1).clip(min=0)
    positions = paddle.stack([position, paddle.zeros_like(position)], axis=1)
    _, prefix = language._run(inputs, positions, visible.astype("bool"), None)
    return usual._replace(prefix_kv=prefix)


@pytest.mark.parametrize("sizes", [T5, GLM], ids=["T5", "GLM"])
def test_answers_and_gradients_are_those_of_whole_sequences_under_a_mask(sizes):
    language, found = language_of(sizes), []
    for read in (
        lambda visual: language.encode_shared(visual, IMAGE_OF_PAIR, QUESTION, MASK),
        lambda visual: reference(language, visual),
        lambda visual: language.encode(visual.index_select(IMAGE_OF_PAIR), QUESTION, MASK),
    ):
        visual = paddle.to_tensor(VISUAL, stop_gradient=False)
        log_probs = language.answer_log_probs(read(visual), ANSWER)
        log_probs.sum().backward()
        found.append((log_probs.numpy(), visual.grad.numpy()))
    shared, masked, usual = found
    for mine, theirs, other in zip(shared, masked, usual, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5, rtol=1e-5)
        assert np.abs(mine - other).max() > 2e-4, "and not those of visual tokens that see the question"


@pytest.mark.parametrize("sizes", [T5, GLM], ids=["T5", "GLM"])
def test_the_answer_goes_on_token_by_token(sizes):
    language = language_of(sizes)
    memory = language.encode_shared(paddle.to_tensor(VISUAL), IMAGE_OF_PAIR, QUESTION, MASK)
    whole = language.answer_logits(memory, ANSWER)
    first, memory = language.step(memory, paddle.full([4], language.start, "int64"))
    second, _ = language.step(memory, ANSWER[:, 0])
    np.testing.assert_allclose(first.numpy(), whole[:, 0].numpy(), atol=2e-5)
    np.testing.assert_allclose(second.numpy(), whole[:, 1].numpy(), atol=2e-5)
