"""A converted checkpoint goes the way of `tiny`: both stages, then answers, with BERT's words in stage 1."""

import json
import re
from pathlib import Path

import pytest
import sentencepiece
from typer.testing import CliRunner

from imageclef_vqa.checkpoints.convert import convert
from imageclef_vqa.checkpoints.folder import choose_preset, read_folder_config
from imageclef_vqa.checkpoints.layers import read_weights
from imageclef_vqa.checkpoints.pretrained import load_heads, random_parts
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, read_dataset
from imageclef_vqa.editions import QUESTIONS, read_predictions
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.language import Tokenizer, WordPieceTokenizer
from imageclef_vqa.synthetic import write_synthetic_dataset
from imageclef_vqa.training import finetune as training
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.workspace import Workspace

PARITY = Path(__file__).parent / "parity"
RUNNER = CliRunner()
TEXTS = [f"{question.text} {answer}" for question in QUESTIONS for answer in question.known]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def words() -> list[str]:
    """BERT's special words, the letters of all questions and answers, and the most frequent of their words."""
    found = re.findall(r"\w+|[^\w\s]", " ".join(TEXTS).lower())
    letters = sorted({letter for word in found for letter in word})
    frequent = sorted({word for word in found if len(word) > 1}, key=lambda word: (-found.count(word), word))
    return [*SPECIAL, ";", *letters, *(f"##{letter}" for letter in letters if letter.isalnum()), *frequent[:100]]


def write_tokenizer(folder: Path) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(folder / "spiece"),
        vocab_size=170,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()


@pytest.fixture(params=["stage 2", "stage 1 and T5"])
def folder(request, tmp_path):
    """Converted weights of a few thousand parameters; those of stage 1 bring the Q-Former's text branch with them."""
    folder = tmp_path / "weights"
    convert(open_source(PARITY / "blip2_t5"), folder)
    if request.param == "stage 1 and T5":
        convert(open_source(PARITY / "blip2_retrieval"), folder)
    write_tokenizer(folder)
    (folder / "vocab.txt").write_text("\n".join(words()) + "\n")
    return folder


@pytest.fixture
def workspace(tmp_path):
    write_synthetic_dataset(tmp_path / "data", images=10, test=1, seed=5)
    workspace = Workspace.at(tmp_path)
    make_split(read_dataset(workspace.development), val=0.2).write(workspace.split_file)
    return workspace


def finetune(workspace, folder, stage, *more):
    ordered = ["finetune", "--stage", str(stage), "--weights", str(folder), "--epochs", "1", "--batch", "4"]
    return RUNNER.invoke(app, [*ordered, "--device", "cpu", "--workspace", str(workspace.root), "--json", *more])


def test_converted_weights_are_trained_in_both_stages_and_answer(folder, workspace, monkeypatch):
    spoken = []

    def spied(dataset, vocabulary, tokenizer, prompt, **options):
        spoken.append((type(tokenizer), prompt is not None))
        return PairTable(dataset, vocabulary, tokenizer, prompt, **options)

    monkeypatch.setattr(training, "PairTable", spied)
    for stage in (1, 2):
        done = finetune(workspace, folder, stage, "--preset", "folder", "--from-scratch-parts")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["trained"]
    assert spoken == [(WordPieceTokenizer, False)] * 2 + [(Tokenizer, True)] * 2  # two folds each
    config = json.loads((workspace.stage(2) / "config.json").read_text())
    assert (config["prompt"], config["question_end"]) == ("Question: {} Short answer:", True)
    trained = read_weights(workspace.stage(1) / "model.safetensors")
    sizes = read_folder_config(folder).qformer
    assert trained["qformer.words.weight"].shape == (sizes.vocabulary, sizes.width)
    done = RUNNER.invoke(app, ["predict", "--device", "cpu", "--workspace", str(workspace.root)])
    assert done.exit_code == 0, done.output
    assert len(read_predictions(workspace.predictions("test"))) == 18


def test_stage_1_reads_berts_words_and_begins_and_ends_as_bert_does(folder):
    heads, tokenizer = load_heads(choose_preset("folder", folder))
    ids = words()
    assert (heads.read_token, heads.write_token) == (ids.index("[CLS]"), len(ids))
    said = tokenizer.encode_answer(["Pink", "Red"])
    assert [ids[i] for i in said] == ["pink", ";", "red", "[SEP]"]
    assert tokenizer.decode(said) == "pink ; red"


def test_without_its_words_stage_1_names_the_file_to_add(folder, workspace):
    (folder / "vocab.txt").unlink()
    done = finetune(workspace, folder, 1, "--preset", "folder", "--from-scratch-parts")
    assert done.exit_code == 1
    assert re.search(r"vocab\.txt is missing(.|\n)*bert-base-uncased", done.stderr)


def test_a_folder_of_other_sizes_than_the_preset_is_refused_and_told_how(folder, workspace):
    done = finetune(workspace, folder, 1, "--preset", "vit-g-t5-base")
    assert done.exit_code == 1
    assert "vision: width is 48 in the folder, 1408 in the preset" in done.stderr
    assert "--preset folder" in done.stderr
    half = workspace.root / "half"
    convert(open_source(PARITY / "blip2_retrieval"), half)
    done = finetune(workspace, half, 1, "--preset", "folder")
    assert done.exit_code == 1
    assert "is not a BLIP-2: it has no language" in done.stderr


def test_a_whole_branch_that_would_start_at_random_stops_the_stage(workspace, tmp_path):
    weights = tmp_path / "weights"
    convert(open_source(PARITY / "blip2_t5"), weights)
    write_tokenizer(weights)
    (weights / "vocab.txt").write_text("\n".join(words()) + "\n")
    done = finetune(workspace, weights, 1, "--preset", "folder")
    assert done.exit_code == 1
    assert "no weights for the Q-Former's branch for text" in done.stderr
    assert "--from-scratch-parts" in done.stderr
    preset = choose_preset("folder", weights)
    assert random_parts(preset, 1) == (["the Q-Former's branch for text"], ["heads of stage 1"])
    assert random_parts(preset, 2) == ([], []), "stage 2 reads no text"
    convert(open_source(PARITY / "blip2_retrieval"), weights)
    preset = choose_preset("folder", weights)
    new = "of the heads of stage 1 log_scale and transform and transform_norm and word_bias"
    assert random_parts(preset, 1) == ([], [new])
    for name in ("vision", "qformer", "projection"):
        (weights / f"{name}.safetensors").unlink()
    assert random_parts(preset, 2) == (["vision", "Q-Former"], ["projection"])
    assert random_parts(preset, 2, from_stage1=True) == (["vision"], ["projection"])
    assert random_parts(choose_preset("tiny"), 1) == ([], ["heads of stage 1"])


def test_wordpiece_cuts_words_as_bert_does(tmp_path):
    """The cuts are those of transformers 4.49's BertTokenizer."""
    file = tmp_path / "vocab.txt"
    pieces = [*SPECIAL, "what", "is", "un", "##known", "##m", "5", "-", "10", "##mm", "<", "##0", "1", ";", "naive"]
    file.write_text("\n".join(pieces))
    tokenizer = WordPieceTokenizer(file, 30523)
    cut = [pieces[i] for i in tokenizer.encode("What IS unknown; < 5mm 5-10mm\tNaïve zebra")]
    assert cut == ["what", "is", "un", "##known", ";", "<", "5", "##mm", "5", "-", "10", "##mm", "naive", "[UNK]"]


@pytest.mark.parametrize(
    ("content", "vocabulary", "message"),
    [
        (["[UNK]", "a"], 100, r"it has no \[PAD\], \[CLS\], \[SEP\]"),
        (["a", *SPECIAL], 100, r"\[PAD\] is on line 2"),
        ([*SPECIAL, "a"], 6, r"up to 6, \[DEC\] included; the Q-Former has embeddings for 6"),
    ],
)
def test_words_that_are_not_berts_are_refused(tmp_path, content, vocabulary, message):
    (tmp_path / "vocab.txt").write_text("\n".join(content))
    with pytest.raises(MedvqaError, match=message):
        WordPieceTokenizer(tmp_path / "vocab.txt", vocabulary)
