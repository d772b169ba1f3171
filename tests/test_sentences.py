"""Open questions are answered with sentences: generation, the choice among sentences, and the chain."""

import json
import shutil
from itertools import chain, product

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_open import write_open_dataset

import imageclef_vqa as vqa
from imageclef_vqa.checkpoints.layers import read_weights
from imageclef_vqa.data import read_dataset
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import MissingStepError, UsageError
from imageclef_vqa.evaluation.perturbation import perturbation_table
from imageclef_vqa.evaluation.text.metrics import TextMeter
from imageclef_vqa.inference.choice import Chooser
from imageclef_vqa.inference.generation import beam_search, sample
from imageclef_vqa.inference.sentences import SentenceAnswerer
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.language import Tokenizer, learn_tokenizer
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.pipeline.perturb import perturb
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.parallel import Shard
from imageclef_vqa.training.stage2 import answer_loss
from imageclef_vqa.workspace import Workspace

END, WORDS = 1, 5
SIZES = T5Config(vocab_size=WORDS, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_decoder_layers=2, num_heads=2)


def language(seed: int):
    """A T5 of five words with random weights, and its memory of three pairs."""
    paddle.seed(seed)
    model, rng = build_language(SIZES), np.random.default_rng(seed)
    for tensor in model.parameters():
        tensor.set_value(rng.normal(0, 0.7, tensor.shape).astype("float32"))
    model.eval()
    visual = paddle.to_tensor(rng.normal(size=[3, 2, 8]).astype("float32"))
    question = paddle.to_tensor(rng.integers(1, WORDS, [3, 4]))
    with paddle.no_grad():
        return model, model.encode(visual, question, paddle.ones_like(question))


def scored(model, memory, sentences) -> np.ndarray:
    """The log-probability of each sentence for each pair: [pair, sentence]."""
    answer = np.zeros((len(sentences), max(map(len, sentences))), "int64")
    for row, tokens in zip(answer, sentences, strict=True):
        row[: len(tokens)] = tokens
    with paddle.no_grad():
        return np.stack(
            [
                model.score(memory.rows(paddle.full([len(answer)], n, "int64")), paddle.to_tensor(answer))
                for n in range(3)
            ]
        )


def test_a_wide_beam_finds_the_likeliest_of_all_sentences():
    model, memory = language(0)
    # Tokens other than 0, which pads: up to two words and the end, or three words, which are cut there.
    words = [word for word in range(1, WORDS) if word != END]
    whole = [(*said, END) for length in range(3) for said in product(words, repeat=length)]
    log_probs = scored(model, memory, whole)
    found = beam_search(model, memory, 3, END, width=200, length=3)
    for pair, sentences in enumerate(found):
        complete = {each.tokens: each.log_prob for each in sentences if len(each.tokens) < 3 and 0 not in each.tokens}
        assert set(complete) == {said[:-1] for said in whole}
        for said, expected in zip(whole, log_probs[pair], strict=True):
            assert complete[said[:-1]] == pytest.approx(expected, abs=1e-4)
        assert [each.log_prob for each in sentences] == sorted((each.log_prob for each in sentences), reverse=True)


def test_a_beam_of_one_is_greedy_decoding():
    model, memory = language(1)
    with paddle.no_grad():
        said = np.zeros((3, 0), "int64")
        for _ in range(6):
            padded = paddle.to_tensor(np.concatenate([said, np.zeros((3, 1), "int64")], axis=1))
            following = model.answer_logits(memory, padded)[:, -1].argmax(-1).numpy()
            said = np.concatenate([said, following[:, None]], axis=1)
    expected = [tokens[: tokens.index(END)] if END in tokens else tokens for tokens in said.tolist()]
    found = beam_search(model, memory, 3, END, width=1, length=6)
    assert [list(sentences[0].tokens) for sentences in found] == expected


def test_a_pair_s_sentences_do_not_depend_on_the_other_pairs():
    model, memory = language(2)
    together = beam_search(model, memory, 3, END, width=3, length=5)
    for pair in range(3):
        (alone,) = beam_search(model, memory.rows(paddle.to_tensor([pair])), 1, END, width=3, length=5)
        assert [each.tokens for each in alone] == [each.tokens for each in together[pair]]


def test_samples_are_as_frequent_as_the_model_says():
    model, memory = language(3)
    drawn = sample(model, memory, 3, END, draws=4000, length=1, rng=np.random.default_rng(0))
    for sentences in drawn:
        ended = [each for each in sentences if not each.tokens]
        if ended:
            assert len(ended) / 4000 == pytest.approx(np.exp(ended[0].log_prob), abs=0.03)


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20))
def test_a_learnt_tokenizer_spells_any_word(word):
    assert TOKENIZER.decode(TOKENIZER.encode(word)) == word


TEXTS = ["There is 1 polyp.", "There are no polyps.", "Yes", "The abnormality is red and located in the upper-left."]
TOKENIZER = Tokenizer(learn_tokenizer(TEXTS, 2048))


def test_the_order_of_texts_does_not_change_the_tokenizer():
    assert learn_tokenizer(TEXTS, 2048) == learn_tokenizer(reversed(TEXTS * 2), 2048)


def test_the_expected_score_prefers_what_several_sentences_agree_on():
    ranked = ((("No text is visible.",), 0.3), (("There is 1 polyp.",), 0.28), (("There is 1 polyp here.",), 0.27))
    chooser = Chooser(TextMeter())
    assert chooser.choose(ranked, "likeliest").text == "No text is visible."
    chosen = chooser.choose(ranked, "expected")
    assert chosen.text == "There is 1 polyp."
    assert chosen.probability == 0.28
    assert 0.3 < chosen.meteor < 0.8


def test_a_sure_sentence_is_chosen_by_either_rule():
    ranked = ((("Yes",), 0.97), (("Yes, there is text in the image.",), 0.02))
    assert {Chooser(TextMeter()).choose(ranked, rule).text for rule in ("likeliest", "expected")} == {"Yes"}


@pytest.fixture(scope="module")
def open_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open") / "set"
    write_open_dataset(folder, 4)
    return read_dataset(folder)


def test_every_row_is_a_pair_with_its_own_question(open_set):
    table = PairTable(open_set, None, TOKENIZER)
    asked = [pair for pairs in table.of_image for pair in pairs]
    assert [pair.question_id for pair in asked] == list(range(12))
    assert TOKENIZER.decode(table.questions[4]) == "Which color does the abnormality have?"
    assert asked[0].tokens[-1] == TOKENIZER.end
    assert table.claim(asked[3]) == table.claim(asked[6]) != table.claim(asked[0])  # image1 and image2 have no polyps


def test_parts_of_a_batch_drop_out_what_the_whole_batch_does(open_set):
    model = Blip2(PRESETS["tiny-open"])
    model.train()
    model.qformer.eval()
    table = PairTable(open_set, None, TOKENIZER)
    (batch,) = table.all(4)
    visual = paddle.randn([4, 20, model.language.width])

    def loss(images: list[int]) -> float:
        own = np.array(images)
        shard = Shard(batch, batch, batch.part(own), np.arange(4), own, (), 1.0)
        paddle.seed(5)
        with shard.dropout_pairs():
            part = answer_loss(model, visual.index_select(paddle.to_tensor(own)), shard.own, table)
        return float(part) * shard.pair_weight

    whole = loss([0, 1, 2, 3])
    assert loss([0, 2]) + loss([1, 3]) == pytest.approx(whole, rel=1e-4)
    model.eval()
    assert loss([0, 1, 2, 3]) != pytest.approx(whole, rel=1e-3)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace whose chain has run, with one epoch per stage."""
    root = tmp_path_factory.mktemp("workspace")
    write_open_dataset(root / "data/development", 10)
    write_open_dataset(root / "data/test", 2, first=20)
    vqa.split(root, val=0.2)
    for stage in (1, 2):
        vqa.finetune(root, stage=stage, overrides={"epochs": 1, "answer_tokens": 8})
    vqa.predict(root)
    return root


def test_the_chain_answers_every_row_once_and_in_order(workspace):
    predictions = read_predictions(workspace / "work/main/predictions/test.jsonl")
    rows = [json.loads(line) for line in (workspace / "data/test/qa.jsonl").read_text().splitlines()]
    assert [(each.image_id, each.question_id) for each in predictions] == [
        (row["img_id"], number) for number, row in enumerate(rows)
    ]
    assert [each.question for each in predictions] == [row["question"] for row in rows]
    assert all(len(each.answers) == 1 and each.meteor is not None for each in predictions)


def test_the_language_model_is_trained_and_kept_with_its_tokenizer(workspace):
    stage = workspace / "work/main/stage2"
    assert any(name.startswith("language.") for name in read_weights(stage / "model.safetensors"))
    assert not (stage / "vocabulary.json").exists()
    own = {"spiece.model", "model.safetensors", "neighbours.safetensors", "neighbours.json"}
    assert own <= set(json.loads((stage / "record.json").read_text())["files"])


def test_a_stage_of_a_version_without_neighbours_is_trained_again(workspace, tmp_path):
    root = tmp_path / "older"
    shutil.copytree(workspace, root)
    stage = Workspace.at(root).stage(2)
    record = json.loads((stage / "record.json").read_text())
    for name in ("neighbours.safetensors", "neighbours.json"):
        (stage / name).unlink()
        del record["files"][name]
    (stage / "record.json").write_text(json.dumps(record))
    with pytest.raises(MissingStepError, match=r"no neighbours\.json .* --fresh`"):
        SentenceAnswerer.of_run(Workspace.at(root))


def test_training_s_sentences_have_half_of_the_probability(workspace):
    answerer = SentenceAnswerer.of_run(Workspace.at(workspace))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype="uint8")
    asked = "How many polyps are in the image?"
    ((mixed,),) = answerer.rank(pixels, [[asked]], beam=2)
    near = answerer._neighbours.rank(
        answerer._neighbours.describe(answerer.model.vision.read(pixels).numpy())[0], asked
    )
    answerer._neighbours = None
    ((own,),) = answerer.rank(pixels, [[asked]], beam=2)
    total = sum(p for _, p in own)
    expected = {text: p / total / 2 for text, p in own}
    for text, p in near:
        expected[text] = expected.get(text, 0) + p / 2
    assert dict(mixed) == {text: pytest.approx(p, rel=1e-3) for text, p in expected.items()}


def test_validation_decides_and_records_the_rule(workspace):
    calibration = json.loads((workspace / "work/main/calibration.json").read_text())
    sums = {rule: sum(metrics.values()) for rule, metrics in calibration["metrics"].items()}
    assert calibration["rule"] == max(("likeliest", "expected"), key=sums.__getitem__)


def test_a_preset_that_cannot_speak_is_refused(workspace):
    with pytest.raises(UsageError, match="cannot learn sentences"):
        vqa.finetune(workspace, stage=1, preset="tiny", run="other")


def test_options_of_closed_questions_are_refused(workspace):
    with pytest.raises(UsageError, match="closed questions"):
        vqa.predict(workspace, augment=True)


def test_a_run_is_asked_any_question(workspace):
    model = vqa.load_model(workspace)
    image = workspace / "data/test/images/image20.jpg"
    (reply,) = model.ask(image, "How many polyps are in the image?")
    given = read_predictions(workspace / "work/main/predictions/test.jsonl")[0]
    assert (reply.answers, reply.probability) == (given.answers, pytest.approx(given.probability, rel=1e-3))
    with pytest.raises(UsageError, match="which one"):
        model.ask(image)


def test_perturbed_pictures_are_asked_the_same_questions(workspace, monkeypatch):
    kinds = {"nothing": lambda image, rng: image}
    monkeypatch.setattr("imageclef_vqa.data.perturbation.PERTURBATIONS", kinds)
    monkeypatch.setattr("imageclef_vqa.pipeline.perturb.PERTURBATIONS", kinds)
    done = perturb(workspace)
    (comparison,) = done.compared.comparisons
    assert (done.fold, comparison.missing, comparison.overall["meteor"].difference) == ("test", 0, 0)
    assert "METEOR" in [column.header for column in perturbation_table("", done.compared).columns]


def test_many_questions_about_an_image_are_answered_as_a_few_at_a_time(workspace):
    answerer = SentenceAnswerer.of_run(Workspace.at(workspace))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype="uint8")
    asked = [[f"How many polyps are in the image {number}?" for number in range(20)], ["Is there text?"]]
    whole = answerer.rank(pixels, asked, beam=2)
    answerer._images = 1  # at most 18 pairs at once
    parts = answerer.rank(pixels, asked, beam=2)
    assert [len(lists) for lists in parts] == [20, 1]
    for one, other in zip(chain(*whole), chain(*parts), strict=True):
        assert one[0][0] == other[0][0]
        assert one[0][1] == pytest.approx(other[0][1], rel=1e-3)
