"""GLM in batches, with padding, caches and visual tokens, says what PaddleNLP's ChatGLM says one by one."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
import sentencepiece
from paddlenlp.transformers import ChatGLMConfig, ChatGLMForCausalLM, ChatGLMTokenizer

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import GLMConfig
from imageclef_vqa.models.language import GLMTokenizer
from imageclef_vqa.models.language.languages import build_language

SIZES = GLMConfig(
    vocab_size=90,
    hidden_size=36,
    num_layers=3,
    num_attention_heads=3,
    inner_hidden_size=40,
    gmask_token_id=81,
    bos_token_id=84,
    eos_token_id=85,
)
QUESTION = paddle.to_tensor([[20, 21, 22, 23], [24, 0, 0, 0], [25, 26, 0, 0], [27, 28, 29, 0]])
MASK = (QUESTION != 0).astype("int64")
ANSWER = paddle.to_tensor([[30, 85, 0], [31, 32, 85], [33, 85, 0], [34, 35, 85]])
RNG = np.random.default_rng(0)
VISUAL = paddle.to_tensor(RNG.standard_normal((4, 5, 36)).astype("float32"))


@pytest.fixture(
    scope="module", params=[(3, 3), (1, 1), (2, 9)], ids=lambda sizes: f"{sizes[0]} layers, {sizes[1]} heads"
)
def glm(request):
    layers, heads = request.param
    language = build_language(replace(SIZES, num_layers=layers, num_attention_heads=heads))
    for parameter in language.parameters():
        parameter.set_value((RNG.standard_normal(parameter.shape) * 0.3).astype("float32"))
    language.eval()
    return language


def one_by_one(language, visual, question, answer):
    """Logits [a, v] of PaddleNLP's own ChatGLM for one pair, as THUDM's tokenizer lays out text, mask and positions."""
    config = language.model.config
    whole = ChatGLMForCausalLM(ChatGLMConfig(**{**config.to_dict(), "num_hidden_layers": config.num_hidden_layers}))
    for theirs, ours in zip(whole.chatglm.transformer.layers, language.model.transformer.layers, strict=True):
        theirs.config = ours.config  # residuals are scaled for 28 layers (`tests/test_references.py`)
    state = {f"chatglm.{name}": tensor for name, tensor in language.model.state_dict().items()}
    whole.set_state_dict(state | {"lm_head.decoder_weight": language.token_embedding})
    whole.eval()
    q, t = visual.shape[0], len(question)
    text = [*[7] * q, *question, SIZES.gmask_token_id, SIZES.bos_token_id, *answer[:-1]]
    ids = paddle.to_tensor([text])
    embedded = paddle.concat([visual.unsqueeze(0), whole.chatglm.transformer.word_embeddings(ids[:, q:])], axis=1)
    positions = whole.get_position_ids(ids, mask_positions=[paddle.to_tensor(q + t)], use_gmasks=[True])
    visible = np.tril(np.ones((len(text), len(text)), bool))
    visible[:, : q + t + 1] = True
    logits = whole(
        inputs_embeds=embedded, attention_mask=paddle.to_tensor(visible[None, None]), position_ids=positions
    )[0]
    return logits[0, q + t + 1 :]


def read(glm, rows=slice(None)):
    return glm.encode(VISUAL[rows], QUESTION[rows], MASK[rows])


def test_a_padded_batch_says_what_paddlenlp_says_of_each_pair_alone(glm):
    together = glm.answer_logits(read(glm), ANSWER)
    for pair in range(4):
        length = int(MASK[pair].sum())
        alone = one_by_one(glm, VISUAL[pair], QUESTION[pair, :length].tolist(), ANSWER[pair].tolist())
        np.testing.assert_allclose(together[pair], alone, atol=1e-4)


def test_padding_on_the_left_changes_nothing(glm):
    question, mask = (paddle.flip(x, axis=1) for x in (QUESTION, MASK))
    for pair in range(4):
        question[pair, 4 - int(MASK[pair].sum()) :] = QUESTION[pair, : int(MASK[pair].sum())]
    left = glm.answer_logits(glm.encode(VISUAL, question, mask), ANSWER)
    np.testing.assert_allclose(left, glm.answer_logits(read(glm), ANSWER), atol=1e-5)


def test_decoding_with_a_cache_equals_reading_the_whole_answer(glm):
    memory, token, steps = read(glm), paddle.full([4], glm.start, dtype="int64"), []
    for index in range(3):
        logits, memory = glm.step(memory, token)
        steps.append(logits)
        token = ANSWER[:, index]
    np.testing.assert_allclose(paddle.stack(steps, axis=1), glm.answer_logits(read(glm), ANSWER), atol=1e-5)


def test_rows_share_their_pairs_prefix_and_keep_what_each_has_said(glm):
    memory, tokens = read(glm), paddle.full([4], glm.start, dtype="int64")
    _, memory = glm.step(memory, tokens)
    rows = paddle.to_tensor([2, 0, 0])
    _, memory = glm.step(memory.rows(rows), paddle.to_tensor([33, 30, 31]))
    logits, memory = glm.step(memory.rows(paddle.to_tensor([1, 2])), paddle.to_tensor([40, 41]))
    assert memory.prefix_kv[0][0].shape[1] == 4
    said = paddle.to_tensor([[30, 40, 50], [31, 41, 50]])
    whole = glm.answer_logits(read(glm).rows(paddle.to_tensor([0, 0])), said)
    np.testing.assert_allclose(logits, whole[:, 2], atol=1e-5)


def test_gradients_reach_the_visual_tokens_and_only_those_of_their_pair(glm):
    visual = VISUAL.clone()
    visual.stop_gradient = False
    scores = glm.score(glm.encode(visual, QUESTION, MASK), ANSWER)
    scores[1].backward()
    assert float(visual.grad[1].abs().sum()) > 0
    assert float(visual.grad[paddle.to_tensor([0, 2, 3])].abs().sum()) == 0


def test_freezing_the_model_changes_no_gradient(glm):
    def gradient(*, frozen):
        for parameter in glm.parameters():
            parameter.stop_gradient = frozen
        visual = VISUAL.clone()
        visual.stop_gradient = False
        glm.score(glm.encode(visual, QUESTION, MASK), ANSWER).sum().backward()
        return visual.grad.numpy()

    expected = gradient(frozen=False)
    np.testing.assert_allclose(gradient(frozen=True), expected, atol=1e-5 * np.abs(expected).max())


def test_the_score_of_an_answer_is_the_sum_over_its_tokens_without_padding(glm):
    log_probs = paddle.nn.functional.log_softmax(glm.answer_logits(read(glm), ANSWER), axis=-1).numpy()
    expected = [
        sum(log_probs[pair, index, token] for index, token in enumerate(answer) if token)
        for pair, answer in enumerate(ANSWER.tolist())
    ]
    np.testing.assert_allclose(glm.score(read(glm), ANSWER), expected, atol=1e-5)


@pytest.fixture(scope="module")
def ice_text(tmp_path_factory):
    """A small tokenizer with the pieces that ChatGLM's has."""
    folder = tmp_path_factory.mktemp("ice")
    special = ["[MASK]", "[gMASK]", "<sop>", "<eop>", "<n>", "<|tab|>", *(f"<|blank_{n}|>" for n in range(2, 81))]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["What color is the abnormality? Pink; Red"] * 5),
        model_prefix=str(folder / "ice_text"),
        vocab_size=200,
        hard_vocab_limit=False,
        user_defined_symbols=special,
        byte_fallback=False,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        pad_id=3,
        minloglevel=2,
    )
    return folder / "ice_text.model"


@pytest.mark.parametrize("images", [0, 20000])
@pytest.mark.parametrize("text", ["What color is the abnormality?", "Pink", "is  the\n color\t   Red"])
def test_text_becomes_the_tokens_of_paddlenlps_tokenizer(ice_text, text, images):
    theirs = ChatGLMTokenizer(str(ice_text), num_image_tokens=images)
    ours = GLMTokenizer(ice_text, theirs.convert_tokens_to_ids("<eop>"))
    ids = ours.encode(text)
    assert ids == theirs.convert_tokens_to_ids(theirs.tokenize(text))
    assert ours.decode([*ids, ours.end]) == text
    assert ours.encode_answer(("Pink", "Red"))[-1] == ours.end


def test_the_first_edition_s_file_gets_the_pieces_that_its_code_appends(tmp_path):
    """The ids are those of `SPTokenizer`: 20,000 images, the file's pieces, 8 special ones, a tab, blanks, bytes."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["What color is the abnormality? Pink; Red<n>"] * 5),
        model_prefix=str(tmp_path / "ice_text"),
        vocab_size=60,
        hard_vocab_limit=False,
        user_defined_symbols=["<n>"],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    file = tmp_path / "ice_text.model"
    plain = sentencepiece.SentencePieceProcessor(model_file=str(file))
    size = len(plain)
    tokenizer = GLMTokenizer(file, 20000 + size + 5)
    assert tokenizer.encode("Pink") == [20000 + piece for piece in plain.encode("Pink")]
    text = "Pink\tRed   \nÜ"
    ids = tokenizer.encode(text)
    assert {20000 + size + 8, 20000 + size + 9 + 1} <= set(ids), "the tab and three blanks"
    assert ids[-2:] == [20000 + size + 9 + 79 + byte for byte in "Ü".encode()]
    assert tokenizer.decode([*ids, tokenizer.end]) == text
    with pytest.raises(MedvqaError, match="not a tokenizer of ChatGLM"):
        GLMTokenizer(file, size + 5)


def test_a_tokenizer_of_another_model_is_refused():
    from imageclef_vqa.models.presets import TINY_WEIGHTS

    with pytest.raises(MedvqaError, match="not a tokenizer of ChatGLM"):
        GLMTokenizer(TINY_WEIGHTS / "spiece.model", 85)
