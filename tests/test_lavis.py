"""LAVIS's losses and gradients, number by number: stage 1 with the same negatives, stage 2 with its prompt."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from paddle import nn
from reference_models import near, part, reference, source
from reference_weights import numbers, sketch, weights

from imageclef_vqa.checkpoints.convert import convert, plan_conversion
from imageclef_vqa.checkpoints.folder import FolderConfig, choose_preset
from imageclef_vqa.checkpoints.formats.lavis import log_scale
from imageclef_vqa.checkpoints.formats.rules import transpose
from imageclef_vqa.checkpoints.pretrained import adapted, load_pretrained
from imageclef_vqa.data import Dataset
from imageclef_vqa.editions import learn_vocabulary
from imageclef_vqa.models.language import Prompt, Tokenizer
from imageclef_vqa.models.presets import PRESETS, TINY_WEIGHTS
from imageclef_vqa.training import stage1, stage2, statements
from imageclef_vqa.training.loop import set_trainable
from imageclef_vqa.training.optimiser import decays
from imageclef_vqa.training.pairs import Pair, PairTable
from imageclef_vqa.training.parallel import Shard

# As in `tests/fixtures/reference_lavis.py`, without [CLS]; 1 ends a text.
TEXTS = [[5, 6, 7, 1], [8, 9, 1], [10, 11, 12, 13, 14, 1]]
IMAGE_OF_TEXT, TEXT_OF_IMAGE = (2, 0, 1), (1, 2, 0)
PIXELS = paddle.to_tensor(numbers("pixels", (3, 3, 28, 28)))
SMOOTHING = 0.1
NAMES = (("itc", "itc"), ("itm", "itm"), ("itg", "lm"))  # ours and LAVIS's


def batch_of(texts):
    """One pair for each image, and a table in which each statement holds for its image only."""
    pairs = [[Pair(image, (str(image),), text, [])] for image, text in enumerate(texts)]
    table = PairTable(Dataset(Path(), [], (), ""), learn_vocabulary([]), Tokenizer(TINY_WEIGHTS / "spiece.model"))
    table.questions, table.of_image = [[]] * len(texts), pairs
    return PairTable.batch(np.arange(len(texts)), pairs), table


def near_gradients(parameters, conversion, expected, scale=1.0):
    """Compare the gradients of `parameters` (by part and name) with LAVIS's; returns how many there are."""
    for name, parameter in parameters.items():
        kind, own = name.split(".", 1)
        rule, (old,) = conversion.parts[kind][own].rule, (each.name for each in conversion.parts[kind][own].olds)
        gradient = parameter.grad.numpy() * scale
        if rule.how is transpose:
            gradient = gradient.T
        elif rule.how is log_scale:  # of -log(temperature)
            gradient = -gradient / weights({old: []})[old]
        near(sketch(old, gradient), expected[f"gradient.{old}"].reshape(-1))
    return len(parameters)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The losses of stage 1, with their gradients, beside LAVIS's."""
    expected, about = reference("lavis_stage1")
    conversion = plan_conversion(source(tmp_path_factory.mktemp("lavis") / "stage1", about["shapes"]))
    blip2, heads = nn.Layer(), part(conversion, "heads")
    blip2.vision, blip2.qformer = part(conversion, "vision"), part(conversion, "qformer")
    whole = stage1.Stage1(blip2, heads)
    trained = set_trainable(whole, stage1.TRAINABLE)
    whole.eval()
    parameters = {name.removeprefix("blip2."): parameter for name, parameter in trained.items()}
    made = SimpleNamespace(whole=whole, parameters=parameters, conversion=conversion, expected=expected, about=about)
    made.losses = losses_of(made)
    paddle.add_n(list(made.losses.values())).backward()
    return made


def losses_of(made, same=()):
    """The losses of stage 1 with LAVIS's negatives; the statements of the images `same` are true of each of them."""
    batch, table = batch_of(TEXTS)
    blip2, heads = made.whole.blip2, made.whole.heads
    if same:
        true_of = [set(same) if image in same else {image} for image in range(len(TEXTS))]
        table.pairs_in = lambda _view, image: [pair for pair in batch.pairs if pair.question_id in true_of[image]]
    drawn = iter([list(enumerate(TEXT_OF_IMAGE)), list(enumerate(IMAGE_OF_TEXT))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "hard_negatives", lambda *_arguments: next(drawn))
        with paddle.no_grad():
            features = blip2.vision.features(PIXELS)
        return stage1.representation_losses(
            blip2, heads, features, table, Shard.single(batch), np.random.default_rng(0), SMOOTHING
        )


@pytest.mark.parametrize(("mine", "theirs"), NAMES)
def test_the_losses_of_stage_1_are_lavis_s(first, mine, theirs):
    near(first.losses[mine], first.expected[theirs])


def test_the_gradients_of_stage_1_are_lavis_s(first):
    count = near_gradients(first.parameters, first.conversion, first.expected)
    assert count == sum(name.startswith("gradient.") for name in first.expected), "no more and no fewer are trained"
    assert "vision.norm.weight" in first.parameters, "ln_vision is trained beside the frozen encoder"


def test_several_true_statements_share_a_target_as_in_lavis(first):
    """Images 0 and 2 are the same one, as in LAVIS's fine-tuning for retrieval."""
    expected, _ = reference("lavis_retrieval")
    losses = losses_of(first, same=(0, 2))
    for mine, theirs in NAMES:
        near(losses[mine], expected[theirs])


@pytest.mark.parametrize("fixture", ["lavis_stage1", "lavis_stage2"])
def test_weight_decay_reaches_what_it_reaches_in_lavis(first, fixture, request):
    made = first if fixture == "lavis_stage1" else request.getfixturevalue("second")
    for name, parameter in made.parameters.items():
        kind, own = name.split(".", 1)
        (old,) = (each.name for each in made.conversion.parts[kind][own].olds)
        if old != "temp":  # a number there, which decays; here a logarithm in a vector
            assert decays(name, parameter) == (made.about["decay"][old] > 0), name


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """The loss of stage 2, with its gradients, beside LAVIS's; through a folder of weights, as a user has it."""
    expected, about = reference("lavis_stage2")
    root = tmp_path_factory.mktemp("lavis")
    language = {name: shape for name, shape in about["shapes"].items() if name.startswith("t5_model.")}
    rest = {name: shape for name, shape in about["shapes"].items() if name not in language}
    named = {name.removeprefix("t5_model."): array for name, array in weights(language).items()}
    # LAVIS computes Flan-T5 with the exact GELU, and so says the converter to Hugging Face's format.
    t5 = source(root / "t5", {}, about["t5"] | {"dense_act_fn": "gelu"}, **named)
    convert(t5, root / "weights")
    conversion = convert(source(root / "lavis", rest), root / "weights")
    shutil.copy(TINY_WEIGHTS / "spiece.model", root / "weights")
    model, tokenizer = load_pretrained(choose_preset("folder", root / "weights"))
    model.eval()
    trained = set_trainable(model, stage2.trainable(vision=False))
    prompt = Prompt(model.preset.language, tokenizer)
    batch, table = batch_of(about["told"])
    table.questions = [prompt.encode(question) for question in about["questions"]]
    with paddle.no_grad():
        features = model.vision.features(PIXELS)
    loss = stage2.answer_loss(model, model.encode_features(features), batch, table)
    loss.backward()
    # LAVIS averages over tokens, we average sums over pairs.
    scale = len(batch.pairs) / sum(len(ids) for ids in about["told"])
    parameters = {name: parameter for name, parameter in trained.items() if parameter.grad is not None}
    return SimpleNamespace(
        loss=loss * scale,
        scale=scale,
        table=table,
        parameters=parameters,
        conversion=conversion,
        expected=expected,
        about=about,
    )


def test_questions_stand_in_lavis_s_prompt_and_end_as_t5_ends_them(second):
    assert second.table.questions == second.about["asked"]
    assert all(ids[-1] == 1 for ids in second.about["asked"])


def test_the_loss_of_stage_2_and_its_gradients_are_lavis_s(second):
    near(second.loss, second.expected["loss"])
    count = near_gradients(second.parameters, second.conversion, second.expected, second.scale)
    assert count == sum(name.startswith("gradient.") for name in second.expected), "no more and no fewer are trained"


def test_a_preset_of_blip2_keeps_its_activation_where_flan_t5_says_another():
    blip2, plain = PRESETS["vit-g-t5-3b"], PRESETS["vit-g-t5-base"]
    flan = replace(blip2.language, dense_act_fn="gelu_new")
    assert adapted(blip2, FolderConfig(language=flan)).language.activation == "gelu"
    assert adapted(plain, FolderConfig(language=plain.language)).language.activation == "relu"
