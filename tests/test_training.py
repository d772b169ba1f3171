"""Both stages train what they should, by the losses they should, and resume exactly where they stopped."""

import json
import re
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chain import small_preset

from imageclef_vqa.checkpoints.layers import read_weights
from imageclef_vqa.checkpoints.pretrained import load_pretrained
from imageclef_vqa.cli.finetune import _kept, _losses
from imageclef_vqa.data import Dataset, Example, make_split, read_dataset
from imageclef_vqa.editions import learn_vocabulary
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.models.presets import TINY_WEIGHTS, find_preset
from imageclef_vqa.models.pretraining_heads import PretrainingHeads
from imageclef_vqa.pipeline.finetune import finetune_stage as finetune
from imageclef_vqa.pipeline.predict import predict_folds
from imageclef_vqa.synthetic import write_synthetic_dataset
from imageclef_vqa.training import clock, loop, stage1, stage2, statements
from imageclef_vqa.training.display import TrainingDisplay
from imageclef_vqa.training.finetune import Finetuned
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.recipe import Recipe, choose_recipe
from imageclef_vqa.training.state import TrainerState
from imageclef_vqa.workspace import Workspace

TINY = find_preset("tiny")
TOKENIZER = Tokenizer(TINY_WEIGHTS / "spiece.model")
SHORT = {
    1: Recipe(epochs=2, batch=8, learning_rate=1e-3, warmup_steps=2, freeze_vision=True),
    2: Recipe(epochs=2, batch=8, questions=6, learning_rate=1e-3, warmup_steps=2),
}


def ignore(_message: str) -> None:
    pass


def table_of(*answers: dict[int, tuple[str, ...]]) -> PairTable:
    examples = tuple(Example(f"image{n}", Path(), each, "", 8, 8) for n, each in enumerate(answers))
    dataset = Dataset(Path(), examples, (), "")
    return PairTable(dataset, learn_vocabulary(dataset.labels()), TOKENIZER)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_synthetic_dataset(folder / "data", images=24, test=2, seed=5)
    return folder / "data"


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A workspace with both stages finished."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").symlink_to(data)
    workspace = Workspace.at(folder)
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    make_split(dataset, val=0.25, cache=workspace.cache).write(workspace.split_file)
    for number in (1, 2):
        run(workspace, number)
    return workspace


def copied(trained, folder, *finished):
    """A copy of the workspace `trained`, with the `finished` stages only."""
    left_out = [f"stage{number}" for number in (1, 2) if number not in finished]
    shutil.copytree(trained.root, folder, symlinks=True, ignore=shutil.ignore_patterns(*left_out), dirs_exist_ok=True)
    return Workspace.at(folder)


@pytest.fixture
def workspace(trained, tmp_path):
    """A copy of it with a split and no stage."""
    return copied(trained, tmp_path)


@pytest.fixture
def begun(trained, tmp_path):
    """A copy of it whose stage 1 is finished."""
    return copied(trained, tmp_path, 1)


@pytest.fixture
def finished(trained, tmp_path):
    """A copy of it with both stages finished."""
    return copied(trained, tmp_path, 1, 2)


def run(workspace, number, recipe=None, **options):
    return finetune(workspace, small_preset(), recipe or SHORT[number], number, seed=0, notify=ignore, **options)


def weights(workspace, number):
    return read_weights(workspace.stage(number) / "model.safetensors")


def log(workspace, number):
    return [json.loads(line) for line in (workspace.stage(number) / "log.jsonl").read_text().splitlines()]


def epochs(workspace, number):
    return [each for each in log(workspace, number) if "epoch" in each]


def test_an_image_whose_labels_make_a_statement_true_is_its_positive():
    table = table_of({3: ("Yes",), 4: ("No",)}, {3: ("Yes",), 4: ("Yes",)}, {3: ("No",)})
    batch = table.batch(np.array([0, 1, 2]), [pairs[:1] for pairs in table.of_image])
    np.testing.assert_array_equal(statements.positives(batch, table), [[1, 1, 0], [1, 1, 0], [0, 0, 1]])


def test_two_images_with_one_statement_are_both_right_for_the_contrastive_loss():
    both = paddle.to_tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    similarity = both * 30.0
    assert float(stage1.itc_loss(similarity, both)) == pytest.approx(np.log(2) * 2 / 3, abs=1e-4)
    # Only with one's own statement for a positive, the same similarities would be punished more.
    assert float(stage1.itc_loss(similarity - paddle.eye(3) * 30.0, both)) > 5


def test_smoothed_targets_are_those_of_a_cross_entropy_with_label_smoothing():
    rng = np.random.default_rng(0)
    similarity = paddle.to_tensor(rng.standard_normal((5, 5)).astype("float32"))
    ours = stage1.itc_loss(similarity, paddle.eye(5), 0.1)
    theirs = [
        paddle.nn.functional.cross_entropy(scores, paddle.arange(5), label_smoothing=0.1)
        for scores in (similarity, similarity.T)
    ]
    assert float(ours) == pytest.approx(float(sum(theirs)) / 2, rel=1e-6)


def test_written_statements_have_smoothed_targets_without_their_padding():
    model, heads = Blip2(TINY), PretrainingHeads(TINY.qformer)
    model.eval()
    text = paddle.to_tensor([[5, 9, 7], [8, 0, 0]])
    _, query_kv = model.qformer.read_image(model.qformer.encode_image(paddle.randn([2, 65, 128])))
    written, mask = heads.begin_writing(text, (text != 0).astype("int64"))
    states = model.qformer.write(query_kv, written[:, :-1], mask[:, :-1])
    logits = heads.next_word(states, model.qformer.words.weight).flatten(0, 1)
    target, real = text.flatten(), (text != 0).flatten().numpy()
    for smoothing in (0.0, 0.1):
        each = paddle.nn.functional.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
        expected = each.numpy().flatten()[real].sum()
        assert float(stage1._itg_loss(model, heads, query_kv, text, smoothing)) == pytest.approx(expected, rel=1e-5)


def test_losses_are_printed_beside_chance_and_the_kept_epoch_beside_the_last_one():
    references = {"chance_itc": 2.773, "chance_itm": 0.637, "chance_itg": 5.951, "bound_itc": 2.1}
    last = {"step": 54, "epoch": 2, "itc": 2.7, "val_itc": 2.74, "val_itm": 0.636, "val_itg": 2.5} | references
    best = last | {"epoch": 1, "score": -5.5, "best": True}
    done = Finetuned(Path(), [best, last | {"score": -5.876, "best": False, "seconds": 3.0}], False, 3.0)
    assert _losses(done.last) == (
        "itc 2.700, val_itc 2.740 [chance 2.773, bound 2.100], val_itm 0.636 [chance 0.637], "
        "val_itg 2.500 [chance 5.951]"
    )
    kept = "kept is epoch 1, chosen by these validation images"
    assert _kept(1, done) == f"{kept}: sum of losses (by chance 9.361) 5.500; the last one, 2, has 5.876"
    answers = Finetuned(Path(), [{"epoch": 1, "score": 0.87, "best": True}], False, 3.0)
    assert _kept(2, answers) == f"{kept}: exact sets 0.870"


def test_a_steps_losses_are_shown_beside_chance(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # to Rich, standard error is a terminal
    batch = PairTable.batch(np.array([0]), [[]])
    with TrainingDisplay("stage1", 2, 3, lambda _batch: {"chance_itc": 2.773}, shown=True) as display:
        display.show(TrainerState(), {"itc": 2.5, "itm": 0.5}, batch)
        assert "loss 3.000 = itc 2.500 (chance 2.773) + itm 0.500\n" in display._status.plain


def test_losses_are_compared_with_those_of_a_model_that_knows_nothing_and_with_the_least_possible():
    positive = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], "float32")
    found = statements.reference_losses(positive, 7)
    alike = paddle.zeros([3, 3])
    assert found["chance_itc"] == pytest.approx(float(stage1.itc_loss(alike, paddle.to_tensor(positive))))
    perfect = paddle.to_tensor(positive * 50)
    assert found["bound_itc"] == pytest.approx(float(stage1.itc_loss(perfect, paddle.to_tensor(positive))))
    drawn = statements.matches(np.zeros((3, 3)), positive, np.random.default_rng(0))
    right = np.mean([match for kind in drawn for *_, match in kind])
    assert found["chance_itm"] == pytest.approx(-(right * np.log(right) + (1 - right) * np.log(1 - right)))
    assert found["chance_itg"] == pytest.approx(np.log(7))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_a_hard_negative_is_never_a_true_statement(seed, size):
    rng = np.random.default_rng(seed)
    positive = (rng.random((size, size)) < 0.6).astype("float32")
    drawn = statements.hard_negatives(rng.standard_normal((size, size)), positive, rng)
    assert all(positive[row, column] == 0 for row, column in drawn)
    assert [row for row, _ in drawn] == [row for row in range(size) if (positive[row] == 0).any()]


def test_the_hardest_negative_is_drawn_most():
    rng, positive = np.random.default_rng(0), np.eye(3, dtype="float32")
    similarity = np.array([[9.0, 5.0, 0.0]] * 3)
    drawn = [statements.hard_negatives(similarity, positive, rng)[0][1] for _ in range(200)]
    assert drawn.count(1) > 190


def test_the_table_of_trainable_parameters_covers_each_once():
    model = Blip2(TINY)
    both = stage1.Stage1(model, PretrainingHeads(TINY.qformer))
    for layer, table in (
        (both, stage1.TRAINABLE),
        (model, stage2.trainable(vision=True)),
        (model, stage2.trainable(vision=False)),
    ):
        assert loop.set_trainable(layer, table)
    with pytest.raises(ValueError, match=r"projection\.weight: covered by 0 lines"):
        loop.set_trainable(model, {r"(?!projection).*": True})


def test_an_epoch_shows_every_image_once_with_as_many_questions_as_asked():
    table = table_of(*(dict.fromkeys(range(n), ("Yes",)) for n in (5, 0, 2, 7)))
    batches = list(table.epoch(2, 3, np.random.default_rng(0)))
    assert sorted(image for batch in batches for image in batch.images) == [0, 2, 3]
    assert sorted(np.bincount(np.concatenate([b.images[b.image_of_pair] for b in batches])).tolist()) == [0, 2, 3, 3]
    assert len(batches) == table.batches(2)


def test_an_epoch_of_pairs_shows_every_pair_once_each_with_its_image():
    table = table_of(*(dict.fromkeys(range(n), ("Yes",)) for n in (5, 0, 2, 7)))
    batches = list(table.epoch(4, 1, np.random.default_rng(0), "pairs"))
    shown = [
        (int(batch.images[image]), pair.question_id)
        for batch in batches
        for image, pair in zip(batch.image_of_pair, batch.pairs, strict=True)
    ]
    assert sorted(shown) == [(image, question) for image, n in enumerate((5, 0, 2, 7)) for question in range(n)]
    assert [len(batch.pairs) for batch in batches] == [4, 4, 4, 2]
    assert len(batches) == table.batches(4, "pairs")


def test_a_limit_of_tokens_is_one_of_decoding_and_training_sees_whole_answers():
    table = table_of({10: ("Center", "Upper-left", "Lower-left"), 3: ("Yes",)})
    long, short = table.of_image[0]
    assert long.tokens == TOKENIZER.encode_answer(long.answer)
    assert len(long.answer) == 3
    assert stage2._fits(long, 0)
    assert stage2._fits(long, len(long.tokens))
    assert not stage2._fits(long, len(long.tokens) - 1)
    assert stage2._fits(short, 1)  # a single value is always allowed


def test_the_loss_is_the_mean_over_pairs_of_the_answers_whole_log_probability():
    table = table_of({3: ("Yes",), 10: ("Center", "Upper-left", "Lower-left")}, {3: ("No",)})
    model, _ = load_pretrained(TINY)
    model.eval()
    visual = paddle.randn([2, TINY.qformer.queries, TINY.language.d_model])
    (batch,) = table.all(2)
    expected = []
    for image, pair in zip(batch.image_of_pair, batch.pairs, strict=True):
        question = paddle.to_tensor([table.questions[pair.question_id]])
        memory = model.read(visual, paddle.to_tensor([int(image)]), question, paddle.ones_like(question))
        expected.append(-float(model.language.answer_log_probs(memory, paddle.to_tensor([pair.tokens])).sum()))
    assert float(stage2.answer_loss(model, visual, batch, table)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_visual_tokens_equal_to_the_answers_words_have_no_word_loss():
    table = table_of({5: ("Pink", "Red"), 3: ("Yes",)}, {17: ("Paris is",)})
    model, _ = load_pretrained(TINY)
    visual = np.random.default_rng(0).standard_normal((2, TINY.qformer.queries, TINY.language.d_model))
    for image, question, text in ((0, 5, "abnormality color Pink Red"), (0, 3, "box Yes"), (1, 17, "type Paris is")):
        words = model.language.embed(paddle.to_tensor([TOKENIZER.encode(text)]))
        visual[image, question] = words.sum(axis=1)[0].numpy()
    (batch,) = table.all(2)
    said = paddle.to_tensor(visual.astype("float32"))
    assert float(stage2.word_loss(model, said, batch, table)) == pytest.approx(0, abs=1e-9)
    visual[0, 5] += 3.0
    said = paddle.to_tensor(visual.astype("float32"))
    assert float(stage2.word_loss(model, said, batch, table)) == pytest.approx(3.0, rel=1e-4)  # 9 / 3 pairs


def test_frozen_weights_stay_bitwise_equal_and_the_others_move(finished):
    start = {name: tensor.numpy() for name, tensor in load_pretrained(small_preset())[0].state_dict().items()}
    norm = {"vision.norm.weight", "vision.norm.bias"}  # trained beside a frozen encoder, as LAVIS trains `ln_vision`
    first, trained = weights(finished, 1), weights(finished, 2)
    assert set(first) == norm | {name for name in start if name.startswith("qformer.")}
    assert {name.split(".")[0] for name in trained} == {"vision", "qformer", "projection"}
    for name in ("vision.layers.0.qkv.weight", "qformer.queries", "projection.weight"):
        assert not np.array_equal(trained[name], start[name])
    assert all(np.array_equal(trained[n], first[n]) for n in trained if n.startswith("qformer.words"))
    run(finished, 2, SHORT[2].model_copy(update={"freeze_vision": True, "epochs": 1}), fresh=True)
    trained = weights(finished, 2)
    assert {name for name in trained if not name.startswith(("qformer.", "projection."))} == norm
    for name in norm:
        assert not np.array_equal(first[name], start[name])
        assert not np.array_equal(trained[name], first[name])


def test_only_the_last_blocks_of_a_frozen_encoder_are_trained_if_the_recipe_says_so(workspace):
    start = {name: tensor.numpy() for name, tensor in load_pretrained(TINY)[0].state_dict().items()}
    recipe = SHORT[2].model_copy(update={"freeze_vision": True, "unfreeze": 2, "epochs": 1})
    finetune(workspace, TINY, recipe, 2, seed=0, notify=ignore)
    trained = weights(workspace, 2)
    assert {name for name in start if name.startswith("vision.")} <= set(trained)
    moved = {name for name in trained if name.startswith("vision.") and not np.array_equal(trained[name], start[name])}
    assert {name.split(".")[2] for name in moved if name.startswith("vision.layers.")} == {"1", "2"}
    assert {name for name in moved if not name.startswith("vision.layers.")} <= {
        "vision.norm.weight",
        "vision.norm.bias",
    }
    with pytest.raises(UsageError, match="--unfreeze 4: tiny's vision has 3 blocks"):
        finetune(workspace, TINY, recipe.model_copy(update={"unfreeze": 4}), 2, seed=0, notify=ignore, fresh=True)


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_that_was_stopped_at_any_step_ends_with_the_weights_of_one_that_was_not(finished, monkeypatch, number):
    monkeypatch.setattr(clock, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(clock, "SAVE_SHARE", float("inf"))
    workspace = finished
    whole, logged = weights(workspace, number), log(workspace, number)

    name = "representation_losses" if number == 1 else "answer_loss"
    module = stage1 if number == 1 else stage2
    original, calls = getattr(module, name), []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:  # in the first epoch
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, name, stopped)
    with pytest.raises(KeyboardInterrupt):
        run(workspace, number, fresh=True)
    assert {n: t.tobytes() for n, t in weights(workspace, number).items()} == {n: t.tobytes() for n, t in whole.items()}
    monkeypatch.setattr(module, name, original)
    said: list[str] = []
    assert finetune(workspace, small_preset(), SHORT[number], number, seed=0, notify=said.append).resumed
    assert any("after step 1 (epoch 1)" in each for each in said)
    assert {n: t.tobytes() for n, t in weights(workspace, number).items()} == {n: t.tobytes() for n, t in whole.items()}
    assert [each | {"seconds": 0} for each in log(workspace, number)] == [each | {"seconds": 0} for each in logged]

    monkeypatch.setattr(module, name, stopped)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        run(workspace, number, fresh=True)
    with pytest.raises(MedvqaError, match=r"recipe\.epochs: 2 there, 3 here"):
        run(workspace, number, SHORT[number].model_copy(update={"epochs": 3}))


def test_three_losses_in_a_row_that_are_not_finite_stop_the_run_and_name_the_images(workspace, monkeypatch):
    monkeypatch.setattr(stage1, "itc_loss", lambda similarity, *_: similarity.sum() * float("nan"))
    said: list[str] = []
    with pytest.raises(MedvqaError, match=r"epoch \d, step \d: the loss is nan on images cl\w+, cl"):
        finetune(workspace, TINY, SHORT[1], 1, seed=0, notify=said.append)
    random, begun, kept, optional, *skipped = said
    assert random.startswith("start at random: heads of stage 1")
    assert begun == "stage 1 of tiny on cpu, fp32: 18 training images, 6 validation images"
    assert re.fullmatch(r"the features of 24 pictures are computed once and kept in .*cache: 0\.\d+ MB", kept), kept
    assert "optional for tiny" in optional
    assert len(skipped) == 2
    assert all("images cl" in each and "skipped" in each for each in skipped)


def test_a_step_that_is_not_finite_changes_no_weight_and_training_continues(workspace, monkeypatch):
    original, calls = stage1.itc_loss, []

    def once(*arguments):
        calls.append(1)
        return original(*arguments) * (float("nan") if len(calls) == 2 else 1.0)

    monkeypatch.setattr(stage1, "itc_loss", once)
    run(workspace, 1)
    skipped = [each for each in log(workspace, 1) if "skipped" in each]
    assert [each["step"] for each in skipped] == [2]
    assert set(skipped[0]["images"]) < {path.stem for path in (workspace.development / "images").iterdir()}
    assert all(np.isfinite(tensor).all() for tensor in weights(workspace, 1).values())


def test_an_epoch_whose_score_is_no_number_is_not_the_best(workspace, monkeypatch):
    original, calls = stage1.representation_losses, []

    def in_first_validation(model, *arguments):
        parts = original(model, *arguments)
        calls.append(model.training)
        first = not model.training and calls.count(True) == 3  # an epoch has three steps
        return parts | {"itm": parts["itm"] * float("nan")} if first else parts

    monkeypatch.setattr(stage1, "representation_losses", in_first_validation)
    run(workspace, 1)
    first, second = epochs(workspace, 1)
    assert first["score"] is first["val_itm"] is None  # JSON has no NaN
    assert (first["best"], second["best"]) == (False, True)


def test_where_the_disk_is_full_the_state_before_is_kept_and_the_run_resumes_from_it(begun, monkeypatch):
    workspace = begun
    whole = weights(workspace, 1)
    monkeypatch.setattr(clock, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(clock, "SAVE_SHARE", float("inf"))
    state, saved = workspace.run_folder / "stage1-fresh" / "state.safetensors", []
    save, limits = loop._save, resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(*arguments):
        if saved:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(saved[0]) // 2, limits[1]))
        save(*arguments)
        saved.append(state.read_bytes())

    monkeypatch.setattr(loop, "_save", full)
    try:
        with pytest.raises(MedvqaError, match=r"cannot write .*state\.safetensors: file too large"):
            run(workspace, 1, fresh=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [state.read_bytes()] == saved
    assert not list(state.parent.glob(".*.part"))
    monkeypatch.setattr(loop, "_save", save)
    assert run(workspace, 1).resumed
    assert {n: t.tobytes() for n, t in weights(workspace, 1).items()} == {n: t.tobytes() for n, t in whole.items()}


def test_stage_2_needs_stage_1_unless_the_preset_does_without(workspace):
    with pytest.raises(MissingStepError, match=r"`medvqa finetune --stage 1 .*` makes one"):
        finetune(workspace, replace(TINY, stage1_optional=False), SHORT[2], 2, seed=0, notify=ignore)


def test_the_distance_to_words_needs_a_query_for_each_question(workspace):
    few = replace(TINY, qformer=replace(TINY.qformer, queries=17))
    recipe = SHORT[2].model_copy(update={"word_weight": 1.0})
    with pytest.raises(UsageError, match=r"--word-weight 1: each of 18 questions needs its own query, .* tiny has 17"):
        finetune(workspace, few, recipe, 2, seed=0, notify=ignore)


def test_a_stage_trained_on_another_split_is_not_used(finished):
    workspace = finished
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    make_split(dataset, val=0.45, cache=workspace.cache).write(workspace.split_file)
    with pytest.raises(MedvqaError, match=r"stage1 was trained on another split than work/split\.json"):
        run(workspace, 2, fresh=True)
    with pytest.raises(MedvqaError, match=r"stage2 was trained on another split than work/split\.json"):
        predict_folds([workspace], notify=ignore)


def test_a_finished_stage_is_trained_again_only_if_asked(begun, monkeypatch):
    workspace, trained = begun, []
    monkeypatch.setattr("imageclef_vqa.training.finetune.learn_representation", lambda *_: trained.append(1) or {})
    assert not run(workspace, 1).trained
    assert not trained
    assert run(workspace, 1, fresh=True).trained
    assert trained


def test_the_papers_recipe_is_the_default_of_a_preset_without_its_own():
    assert choose_recipe(1, preset="vit-g-glm-6b")[1].epochs == 100
    _, paper = choose_recipe(2, preset="vit-g-glm-6b")
    assert (paper.epochs, paper.batch, paper.weight_decay, paper.rate(5000, 10_000)) == (50, 16, 1e-4, 1e-4)
    assert paper.rate(499, 10_000) == pytest.approx(0.5e-4)


def test_learning_makes_the_answers_of_the_training_images_likelier(workspace):
    recipe = SHORT[2].model_copy(update={"epochs": 3})
    finetune(workspace, TINY, recipe, 2, seed=0, notify=ignore)
    losses = [each["answers"] for each in epochs(workspace, 2)]
    assert losses[-1] < losses[0]


def test_a_run_trained_on_all_images_answers_test_images_only(workspace):
    for number in (1, 2):
        run(workspace, number, SHORT[number].model_copy(update={"epochs": 1, "train_on": "all"}))
    assert not [each for each in epochs(workspace, 2) if "score" in each]
    assert set(predict_folds([workspace], notify=ignore).files) == {"test"}
    with pytest.raises(UsageError, match="was trained on all development images"):
        predict_folds([workspace], folds=["val"], notify=ignore)
