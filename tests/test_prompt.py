"""Questions stand in the prompt of the model's config, which is stored with what was trained."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from small_models import GLM

from imageclef_vqa.checkpoints.pretrained import load_pretrained
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.language import Prompt
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.training.config import StageConfig
from imageclef_vqa.training.recipe import Recipe

TINY = PRESETS["tiny"]
T5 = T5Config(vocab_size=90, d_model=24, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1, num_heads=3)


class Letters:
    end = 1

    def encode(self, text):
        return [ord(letter) for letter in text]


@pytest.mark.parametrize(
    ("template", "end", "before", "after"),
    [
        ("{}", False, "", "Why?"),
        ("Question: {} Short answer:", True, "", "Question: Why? Short answer:"),
        ("<img>{image}</img>问：{}\n答：", False, "<img>", "</img>问：Why?\n答："),
        ("{image}{}", False, "", "Why?"),
    ],
)
def test_a_template_is_text_before_the_image_and_text_around_the_question(template, end, before, after):
    prompt = Prompt(replace(T5, prompt=template, question_end=end), Letters())
    assert prompt.before == Letters().encode(before)
    assert prompt.encode("Why?") == Letters().encode(after) + [1] * end


@pytest.mark.parametrize("template", ["", "Question:", "{} {}", "{}{image}", "{image}{image}{}"])
def test_a_template_without_one_place_for_the_question_is_refused(template):
    with pytest.raises(MedvqaError, match="the prompt"):
        Prompt(replace(T5, prompt=template), Letters())


def test_tiny_reads_questions_as_it_was_trained_to():
    model, tokenizer = load_pretrained(TINY)
    assert (model.before_image, Prompt(model.preset.language, tokenizer).encode("Why?")) == (
        [],
        tokenizer.encode("Why?"),
    )


@pytest.mark.parametrize("sizes", [T5, GLM], ids=["T5", "GLM"])
def test_the_language_model_reads_the_prompt_then_the_image_then_the_question(sizes):
    qformer = replace(TINY.qformer, vocabulary=90)
    model = Blip2(replace(TINY, qformer=qformer, language=sizes))
    model.eval()
    before, image, question = [11, 12], [[20, 21, 22], [23, 24, 25]], [[30, 31], [32, 33], [34, 35]]
    image_of_pair = paddle.to_tensor([0, 1, 1])
    answer = paddle.to_tensor([[40, 85], [41, 85], [42, 85]])
    whole = paddle.to_tensor([[*before, *image[of], *asked] for of, asked in zip((0, 1, 1), question, strict=True)])
    nothing = paddle.zeros([3, 0, model.language.width])
    expected = model.language.answer_logits(model.language.encode(nothing, whole, paddle.ones_like(whole)), answer)
    model.before_image = before
    asked = paddle.to_tensor(question)
    memory = model.read(model.language.embed(paddle.to_tensor(image)), image_of_pair, asked, paddle.ones_like(asked))
    np.testing.assert_allclose(model.language.answer_logits(memory, answer), expected, atol=1e-5)


def test_a_trained_stage_keeps_the_prompt_it_was_trained_with():
    fields = {"preset": "tiny", "stage": 2, "recipe": Recipe(epochs=1), "seed": 0, "fold": 0, "data": "", "weights": {}}
    before = StageConfig(**fields, training_images="")
    assert (before.prompt, before.question_end) == ("{}", False), "as all were trained before there were prompts"
    config = before.model_copy(update={"prompt": "Q: {}", "question_end": True})
    language = config.starting_point().language
    assert (language.prompt, language.question_end) == ("Q: {}", True)
