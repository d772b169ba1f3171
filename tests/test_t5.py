"""T5, computed by few and large products, says what PaddleNLP's T5 says."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddlenlp.transformers import T5Config as PaddleNLPConfig
from paddlenlp.transformers import T5ForConditionalGeneration
from small_models import GLM

from imageclef_vqa.checkpoints import language as loading
from imageclef_vqa.checkpoints.language import (
    load_language,
)
from imageclef_vqa.checkpoints.layers import own_tensors, save_weights
from imageclef_vqa.checkpoints.safetensors import write_safetensors
from imageclef_vqa.checkpoints.shrink import shrink_language
from imageclef_vqa.checkpoints.stored import InMemory
from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.language.t5_layers import add

SIZES = T5Config(vocab_size=70, d_model=24, d_kv=5, d_ff=33, num_layers=3, num_decoder_layers=2, num_heads=3)
MODELS = {
    "t5": SIZES,
    "flan-t5": replace(SIZES, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "silu": replace(SIZES, feed_forward_proj="gated-silu", d_kv=8, layer_norm_epsilon=1e-3),
    "few buckets": replace(SIZES, relative_attention_num_buckets=8, num_layers=1),
}
VISUAL = paddle.to_tensor(np.random.default_rng(0).standard_normal((3, 5, 24)).astype("float32"))
QUESTION = paddle.to_tensor([[20, 21, 22, 23], [24, 0, 0, 0], [0, 25, 26, 0]])
MASK = (QUESTION != 0).astype("int64")
ANSWER = paddle.to_tensor([[30, 31, 32, 33], [34, 1, 0, 0], [35, 36, 37, 1]])
WORDS = paddle.to_tensor([1, 30, 31, 69])


def random_weights(language):
    rng = np.random.default_rng(1)
    for parameter in language.parameters():
        parameter.set_value((rng.standard_normal(parameter.shape) * 0.3).astype("float32"))
        parameter.stop_gradient = True
    language.eval()
    return language


@pytest.fixture(scope="module", params=MODELS)
def t5(request):
    return random_weights(build_language(MODELS[request.param]))


def read(language, visual=VISUAL):
    return language.encode(visual, QUESTION, MASK)


def test_answers_and_gradients_are_paddlenlps(t5):
    theirs = T5ForConditionalGeneration(PaddleNLPConfig(**t5.model.config.to_dict()))
    theirs.set_state_dict(t5.model.state_dict())
    theirs.eval()

    def by_paddlenlp(visual):
        return theirs(
            inputs_embeds=paddle.concat([visual, t5.embed(QUESTION)], axis=1),
            attention_mask=paddle.concat([paddle.ones([3, 5], "int64"), MASK], axis=1),
            decoder_input_ids=paddle.concat([paddle.zeros([3, 1], "int64"), ANSWER[:, :-1]], axis=1),
            return_dict=True,
        ).logits

    found = []
    for logits_of in (by_paddlenlp, lambda visual: t5.answer_logits(read(t5, visual), ANSWER)):
        visual = paddle.to_tensor(VISUAL.numpy(), stop_gradient=False)
        logits = logits_of(visual)
        (logits * paddle.arange(logits.size).reshape(logits.shape).cos()).sum().backward()
        found.append((logits.numpy(), visual.grad.numpy()))
    for mine, expected in zip(*found, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-5 * np.abs(expected).max())


def test_rows_share_what_their_pair_has_and_keep_what_each_has_said(t5):
    """Answers of pairs 2, 0, 0 and 1, in this order; then two of them, of pairs that are no neighbours."""
    _, memory = t5.step(read(t5), paddle.full([3], t5.start, dtype="int64"))
    _, memory = t5.step(memory.rows(paddle.to_tensor([2, 0, 0, 1])), paddle.to_tensor([33, 30, 31, 32]))
    assert len(memory.cross_kv[0][0]) == 3, "one for each pair, not for each row"
    logits, memory = t5.step(memory.rows(paddle.to_tensor([2, 2, 0])), paddle.to_tensor([40, 41, 42]))
    assert len(memory.cross_kv[0][0]) == 2, "pairs without a row are forgotten"
    said = paddle.to_tensor([[31, 40, 50], [31, 41, 50], [33, 42, 50]])
    whole = t5.answer_logits(read(t5).rows(paddle.to_tensor([0, 0, 2])), said)
    np.testing.assert_allclose(logits, whole[:, 2], atol=1e-4)
    alone = [
        t5.answer_logits(t5.encode(VISUAL[p : p + 1], QUESTION[p : p + 1], MASK[p : p + 1]), said[row : row + 1])
        for row, p in enumerate((0, 0, 2))
    ]
    np.testing.assert_allclose(whole, paddle.concat(alone), atol=1e-4)


def test_a_head_gives_the_logits_of_its_words_alone(t5):
    first = paddle.full([3], t5.start, dtype="int64")
    whole, _ = t5.step(read(t5), first)
    some, _ = t5.step(read(t5), first, t5.head(WORDS))
    np.testing.assert_allclose(some, whole.index_select(WORDS, axis=1), atol=1e-5)


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("sizes", [SIZES, MODELS["flan-t5"], GLM], ids=["t5", "flan-t5", "glm"])
def test_a_head_of_stored_weights_gives_the_logits_of_its_words_alone(sizes, bits, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_SMALL", 100)
    arrays = {name: t.numpy() for name, t in own_tensors(random_weights(build_language(sizes)).model).items()}
    path = tmp_path / "language.safetensors"
    if bits == 16:
        write_safetensors(path, {name: InMemory(array.astype("float16")) for name, array in arrays.items()})
    else:
        save_weights(tmp_path / "full.safetensors", arrays)
        shrink_language(sizes, tmp_path / "full.safetensors", path)
    stored = load_language(sizes, path)
    stored.eval()
    first = paddle.full([3], stored.start, dtype="int64")
    whole, _ = stored.step(read(stored), first)
    some, _ = stored.step(read(stored), first, stored.head(WORDS))
    np.testing.assert_allclose(some, whole.index_select(WORDS, axis=1), atol=1e-4)


def test_what_fp16_cannot_hold_stops_at_the_largest_number_that_it_can():
    more = paddle.to_tensor(np.array([np.inf, -np.inf, 2.0], "float16"))
    total = add(paddle.ones([3]), more)
    assert total.dtype == paddle.float32
    assert total.tolist() == [65505.0, -65503.0, 3.0]
