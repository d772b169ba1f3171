"""Low-rank adapters: peft's numbers, on weights as they are stored, from training to answers and merged weights."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from reference_models import near, reference, source
from reference_weights import numbers, sketch, weight
from small_chain import RECIPE, stubbed_training, train, write_small_data, write_small_weights
from small_models import GLM
from test_frozen_language import ANSWER, MODELS, QUESTION, VISUAL, nearness, random_language, store
from typer.testing import CliRunner

import imageclef_vqa as vqa
from imageclef_vqa.checkpoints import language as loading
from imageclef_vqa.checkpoints.convert import plan_conversion
from imageclef_vqa.checkpoints.folder import choose_preset
from imageclef_vqa.checkpoints.language import SCALE, load_language
from imageclef_vqa.checkpoints.layers import load_weights, own_tensors, read_weights
from imageclef_vqa.checkpoints.merge import merge_language
from imageclef_vqa.checkpoints.pretrained import load_pretrained
from imageclef_vqa.cli import app
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.inference.answerer import load_stage
from imageclef_vqa.models.configs import AdapterConfig
from imageclef_vqa.models.dropout import batch_rows
from imageclef_vqa.models.language.adapters import LoRALinear, adapted_layer, adapters, add_adapters
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.pipeline.finetune import finetune_stage
from imageclef_vqa.pipeline.merge import merge
from imageclef_vqa.pipeline.status import status
from imageclef_vqa.planning import count_parameters, make_plan
from imageclef_vqa.training import stage2
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.loop import set_trainable
from imageclef_vqa.training.recipe import Recipe, choose_recipe
from imageclef_vqa.workspace import Workspace

TARGETS = ("attention", "all-linear")
LORA = AdapterConfig(rank=3, alpha=6.0, targets="all-linear")


def adapter_tensors(language):
    return {name: tensor for name, tensor in language.model.named_parameters() if adapted_layer(name)}


def with_random_adapters(language, sizes, config=LORA):
    add_adapters(language, sizes, config)
    for name, tensor in adapter_tensors(language).items():
        tensor.set_value(numbers(name, tuple(tensor.shape), 0.3))
    for name, tensor in language.named_parameters():
        tensor.stop_gradient = not adapted_layer(name)
    return language


def logits_and_gradients(language, visual, question, answer, factors):
    """Logits, and the gradients of the visual tokens and of A and B."""
    language.eval()
    visual = visual.clone()
    visual.stop_gradient = False
    memory = language.encode(visual, question, (question != 0).astype("int64"))
    logits = language.answer_logits(memory, answer)
    (logits * factors).sum().backward()
    gradients = {name: tensor.grad.numpy() for name, tensor in adapter_tensors(language).items()}
    return logits.numpy(), visual.grad.numpy(), gradients


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("kind", ["t5", "glm"])
def test_logits_and_gradients_are_those_of_peft(kind, targets, tmp_path):
    expected, about = reference(f"peft_{kind}_{targets}")
    conversion = plan_conversion(source(tmp_path / kind, about["shapes"], about["config"]))
    sizes = conversion.config.language
    language = build_language(sizes)
    load_weights(language.model, conversion.parts["language"], kind)
    with_random_adapters(language, sizes, AdapterConfig(rank=about["rank"], alpha=about["alpha"], targets=targets))
    prefix = "t5." if kind == "t5" else ""
    own = adapter_tensors(language)
    assert own.keys() == {prefix + name for name in about["adapters"]}
    for name, shape in about["adapters"].items():
        own[prefix + name].set_value(weight(name, tuple(shape)).T)
    if kind == "t5":
        visual, question = paddle.to_tensor(numbers("embedded", (2, 5, 24))), paddle.zeros([2, 0], dtype="int64")
    else:
        visual, question = language.embed(paddle.to_tensor(about["visual"])), paddle.to_tensor(about["question"])
    factors = paddle.to_tensor(numbers("factors", expected["logits"].shape))
    logits, of_visual, gradients = logits_and_gradients(
        language, visual.detach(), question, paddle.to_tensor(about["answer"]), factors
    )
    whole = {"logits": logits, "visual": of_visual}
    for name, theirs in expected.items():
        ours = whole[name] if name in whole else sketch(name, gradients[prefix + name])
        near(ours / np.abs(theirs).max(), theirs / np.abs(theirs).max())


def widened(path):
    """The tensors of a file in float32; in 8 bits, words have a scale for each row, other matrices for each column."""
    arrays = read_weights(path)
    scales = {name.removesuffix(SCALE): arrays.pop(name) for name in list(arrays) if name.endswith(SCALE)}
    for name, scale in scales.items():
        arrays[name] = arrays[name] * (scale[:, None] if "shared" in name or "word_embeddings" in name else scale)
    return {name: array.astype("float32") for name, array in arrays.items()}


def full_model(sizes, path):
    language = build_language(sizes)
    load_weights(language.model, widened(path), "full")
    return language


@pytest.mark.parametrize(("kind", "precision"), [("t5", "F16"), ("flan-t5", "I8"), ("glm", "BF16"), ("glm", "I8")])
def test_adapters_of_stored_weights_learn_as_on_a_full_model_with_the_stored_values(
    kind, precision, tmp_path, monkeypatch
):
    monkeypatch.setattr(loading, "_SMALL", 100)
    sizes = MODELS[kind]
    path = store(random_language(sizes), sizes, precision, tmp_path)
    factors = paddle.to_tensor(numbers("factors", (2, 2, sizes.vocab_size)))
    stored, full = (
        logits_and_gradients(with_random_adapters(language, sizes), VISUAL, QUESTION, ANSWER, factors)
        for language in (load_language(sizes, path), full_model(sizes, path))
    )
    for ours, expected in zip(stored[:2], full[:2], strict=True):
        assert nearness(ours, expected) < 1e-5
    assert stored[2].keys() == full[2].keys()
    for name, expected in full[2].items():
        assert nearness(stored[2][name], expected) < 1e-5, name


@pytest.mark.parametrize("precision", ["F32", "F16", "BF16", "I8"])
def test_merged_weights_are_the_model_with_its_adapters_within_the_storage(precision, tmp_path, monkeypatch):
    """8 bits are merged into half precision, whose rounding is then all that is lost."""
    monkeypatch.setattr(loading, "_SMALL", 100)
    sizes, stored = MODELS["flan-t5"], "I8" if precision == "F32" else precision
    path = store(random_language(sizes), sizes, stored, tmp_path)
    if precision == "F32":
        path = tmp_path / "full.safetensors"  # what was shrunk
    language = with_random_adapters(load_language(sizes, path), sizes)
    tensors = {name: tensor.numpy() for name, tensor in adapter_tensors(language).items()}
    of_layer = {
        layer: (tensors[f"{layer}.lora_A"], tensors[f"{layer}.lora_B"]) for layer in map(adapted_layer, tensors)
    }
    merge_language(path, tmp_path / "merged.safetensors", of_layer, LORA.scale)
    merged = load_language(sizes, tmp_path / "merged.safetensors")
    factors = paddle.ones([2, 2, sizes.vocab_size])
    before = logits_and_gradients(load_language(sizes, path), VISUAL, QUESTION, ANSWER, factors)[0]
    expected = logits_and_gradients(language, VISUAL, QUESTION, ANSWER, factors)[0]
    found = logits_and_gradients(merged, VISUAL, QUESTION, ANSWER, factors)[0]
    lost = {"F32": 2**-23, "F16": 2**-11, "BF16": 2**-8, "I8": 2**-11}[precision]
    assert nearness(found, expected) < 10 * lost
    assert nearness(before, expected) > 0.1, "adapters change what the model says"


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("kind", MODELS)
def test_new_adapters_begin_as_those_of_peft_and_change_nothing(kind, targets):
    sizes, config = MODELS[kind], AdapterConfig(rank=8, targets=targets)
    language = random_language(sizes)
    memory = language.encode(VISUAL, QUESTION, (QUESTION != 0).astype("int64"))
    before = language.answer_logits(memory, ANSWER).numpy()
    add_adapters(language, sizes, config)
    memory = language.encode(VISUAL, QUESTION, (QUESTION != 0).astype("int64"))
    np.testing.assert_array_equal(language.answer_logits(memory, ANSWER).numpy(), before)
    assert config.scale == 2.0
    for layer in adapters(language):
        a, bound = layer.lora_A.numpy() * np.sqrt(len(layer.lora_A)), 1.0
        assert 0.8 * bound < np.abs(a).max() <= bound  # Kaiming's uniform distribution with a = √5
        assert not layer.lora_B.numpy().any()
    held = sum(tensor.size for tensor in adapter_tensors(language).values())
    assert held == config.parameters(sizes.linear_layers(mlp=config.on_mlp))


@pytest.mark.parametrize("axis", [0, 1])
def test_adapters_drop_channels_of_a_pair_whatever_else_is_computed_with_it(axis):
    paddle.seed(0)
    layer = LoRALinear(paddle.nn.Linear(6, 4), replace(LORA, dropout=0.5), axis)
    layer.lora_B.set_value(numbers("B", (3, 4)))
    x = paddle.to_tensor(numbers("x", (5, 3, 6)))
    swap = [0, 1, 2] if axis == 0 else [1, 0, 2]

    def read(rows, tokens):
        paddle.seed(7)
        with batch_rows(np.array(rows), 5):
            return layer(x[rows][:, :tokens].transpose(swap)).transpose(swap).numpy()

    layer.train()
    whole = read([0, 1, 2, 3, 4], 3)
    np.testing.assert_allclose(read([1, 3], 2), whole[[1, 3], :2], atol=1e-6)
    layer.eval()
    assert nearness(read([0, 1, 2, 3, 4], 3), whole) > 0.01


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace whose stage 2 was trained with adapters, after a stage 1; and how the language model was before."""
    root = tmp_path_factory.mktemp("adapters")
    write_small_data(root)
    preset = write_small_weights(root / "weights")
    vqa.split(root, val=0.3)
    workspace = Workspace.at(root)
    recipe = RECIPE.model_copy(update={"lora_rank": 2, "lora_dropout": 0.1, "epochs": 2, "learning_rate": 0.03})
    recipe = recipe.model_copy(update={"warmup_steps": 0, "lora_targets": "all-linear"})
    before = (root / "weights/language.safetensors").read_bytes()
    with stubbed_training():
        train(workspace, preset, 1, seed=0)
    modes = set()
    with pytest.MonkeyPatch.context() as patch:
        drop = LoRALinear._dropped
        patch.setattr(LoRALinear, "_dropped", lambda layer, x: modes.add(layer.training) or drop(layer, x))
        finetune_stage(workspace, preset, recipe, 2, seed=0, notify=lambda _: None)
    vqa.predict(root, device="cpu")
    return SimpleNamespace(root=root, workspace=workspace, preset=preset, before=before, modes=modes)


def test_a_stage_keeps_its_adapters_in_a_file_of_their_own_and_the_language_model_as_it_was(trained):
    stage = Stage(trained.workspace, 2)
    kept, model = (read_weights(stage.folder / f"{name}.safetensors") for name in ("adapters", "model"))
    assert "adapters.safetensors" in stage.check().files
    assert all(name.startswith("language.model.t5.") and adapted_layer(name) for name in kept)
    assert not [name for name in model if name.startswith("language")]
    assert all(array.any() for name, array in kept.items()), "A and B are trained"
    assert trained.modes == {True, False}, "channels are dropped in training, and not in validation"
    assert (trained.root / "weights/language.safetensors").read_bytes() == trained.before
    blip2, *_ = load_stage(stage)
    frozen = read_weights(trained.root / "weights/language.safetensors")
    own = {name.replace(".base.", "."): t for name, t in own_tensors(blip2.language.model).items()}
    for name, array in frozen.items():
        np.testing.assert_array_equal(own[name].numpy(), array)
    assert stage.trained().keys() == model.keys() | kept.keys()


def test_answers_are_those_of_the_adapters(trained, tmp_path):
    blip2, *_ = load_stage(Stage(trained.workspace, 2))
    question, mask = paddle.to_tensor([[5, 6, 7]]), paddle.ones([1, 3], dtype="int64")
    visual = paddle.to_tensor(numbers("visual", (1, 8, 16)))

    def said():
        return blip2.language.answer_logits(blip2.language.encode(visual, question, mask), paddle.to_tensor([[9, 1]]))

    blip2.eval()
    adapted = said().numpy()
    for layer in adapters(blip2.language):
        layer.lora_B.set_value(paddle.zeros_like(layer.lora_B))
    assert nearness(said().numpy(), adapted) > 1e-3


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_adapters_are_part_of_the_lineage(trained, damage):
    file = trained.workspace.stage(2) / "adapters.safetensors"
    whole = file.read_bytes()
    try:
        if damage == "missing":
            file.unlink()
        else:
            file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert state_of_stage2(trained.root) == "damaged"
        with pytest.raises(MedvqaError, match=r"adapters\.safetensors"):
            vqa.predict(trained.root, device="cpu")
        with pytest.raises(MedvqaError, match=r"x\.csv was not written"):
            vqa.package(trained.root / "x.csv", workspace=trained.root)
    finally:
        file.write_bytes(whole)
    assert state_of_stage2(trained.root) == "fresh"


def state_of_stage2(root):
    return next(each.status for each in status(root, "main")[0].artefacts if each.name == "stage2")


def test_a_merged_folder_answers_as_the_run_does(trained, tmp_path):
    done = CliRunner().invoke(
        app, ["weights", "merge", str(tmp_path / "merged"), "--workspace", str(trained.root), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["layers"] == 3 * 4 + 2 * 2  # the attentions and the MLPs of one layer of each stack
    merged, _ = load_pretrained(choose_preset("folder", tmp_path / "merged"))
    run, *_ = load_stage(Stage(trained.workspace, 2))
    inputs = (
        paddle.to_tensor(numbers("pixels", (2, 3, 32, 32))),
        paddle.to_tensor([0, 1, 1]),
        paddle.to_tensor([[5, 6, 7]] * 3),
        paddle.ones([3, 3], dtype="int64"),
        paddle.to_tensor([[9, 1], [12, 1], [9, 1]]),
    )
    merged.eval(), run.eval()
    near(merged(*inputs), run(*inputs).numpy(), 1e-4)
    again = CliRunner().invoke(app, ["weights", "merge", str(tmp_path / "merged"), "--workspace", str(trained.root)])
    assert (again.exit_code, "already exists" in again.stderr) == (1, True)


def test_a_run_without_adapters_has_nothing_to_merge(tmp_path, trained):
    other = replace(trained.workspace, run="plain")
    with stubbed_training():
        train(other, trained.preset, 1, seed=0)
        train(other, trained.preset, 2, seed=0)
    assert not (other.stage(2) / "adapters.safetensors").exists()
    with pytest.raises(UsageError, match="run plain has no adapters"):
        merge(tmp_path / "merged", workspace=trained.root, run="plain")


def test_the_plan_counts_adapters_their_optimiser_and_the_inputs_that_they_keep():
    preset = find_preset("vit-g-t5-base")
    plain, adapted = (
        choose_recipe(2, preset=preset.name, changes={"lora_rank": rank})[1].workload(preset, 2) for rank in (0, 16)
    )
    counts = count_parameters(preset, adapted.adapters)
    # 12 layers of the encoder with one attention, 12 of the decoder with two; q, k, v and o of 768 by 768.
    assert counts.adapters == 36 * 4 * 16 * (768 + 768)
    one, other = make_plan(plain), make_plan(adapted)
    assert other.trained - one.trained == counts.adapters
    assert other.parts["optimiser"] - one.parts["optimiser"] == 8 * counts.adapters
    assert other.parts["weights"] - one.parts["weights"] == 4 * counts.adapters
    assert one.parts["activations"] < other.parts["activations"] < 1.1 * one.parts["activations"]
    assert one.flops < other.flops < 1.05 * one.flops
    said = CliRunner().invoke(app, ["plan", "--preset", preset.name, "--lora-rank", "16"]).output
    assert "3.5M" in next(line for line in said.splitlines() if "adapters" in line)


@pytest.mark.parametrize(
    ("stage", "keys", "message"),
    [
        (1, {"lora_rank": 4, "freeze_vision": True}, "lora_rank: only stage 2 has it"),
        (2, {"lora_alpha": 3.0}, "lora_alpha: there are no adapters with lora_rank = 0"),
        (2, {"lora_rank": 4, "lora_dropout": 0.1, "share_prefix": True}, "lora_dropout: "),
        (2, {"lora_rank": 4, "lora_targets": "mlp"}, "lora_targets: "),
    ],
)
def test_keys_of_adapters_that_cannot_be_meant_are_refused(stage, keys, message):
    with pytest.raises(UsageError, match=message):
        choose_recipe(stage, preset="vit-g-t5-base", changes=keys)


def test_a_language_model_that_is_trained_as_a_whole_has_no_adapters():
    done = CliRunner().invoke(app, ["plan", "--preset", "tiny-open", "--lora-rank", "4"])
    assert done.exit_code == 2
    assert "the language model of tiny-open is trained as a whole" in done.stderr


def test_what_is_trained_beside_adapters_is_what_is_trained_without_them():
    language = random_language(GLM)
    add_adapters(language, GLM, LORA)
    layer = paddle.nn.Layer()
    layer.language = language
    names = set(set_trainable(layer, stage2.trainable(vision=False)))
    assert names == {name for name, _ in layer.named_parameters() if adapted_layer(name)}
    assert Recipe(epochs=1).adapters is None
