"""Every reader of a file from outside, with a valid example of what it reads; and the command line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import runs
from pydantic import BaseModel
from small_dataset import picture, record, write_dataset
from small_predictions import write_recorded
from torch_files import write_pth
from typer.main import get_command
from typer.testing import CliRunner

from imageclef_vqa import synthetic
from imageclef_vqa.artefacts import Record, read_record
from imageclef_vqa.checkpoints.folder import read_folder_config
from imageclef_vqa.checkpoints.layers import read_metadata, read_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.cli import demo
from imageclef_vqa.cli.app import app
from imageclef_vqa.cli.settings import check_settings
from imageclef_vqa.data import make_split, read_dataset, read_split
from imageclef_vqa.data.images import index_images
from imageclef_vqa.data.kvasir import read_kvasir
from imageclef_vqa.data.labels import read_labels
from imageclef_vqa.data.pixels import load_pixels, read_pixels
from imageclef_vqa.data.qa import read_qa
from imageclef_vqa.data.reading import read_test_ids
from imageclef_vqa.data.tables import read_table
from imageclef_vqa.doctor import devices
from imageclef_vqa.editions import (
    QUESTIONS,
    Prediction,
    Vocabulary,
    learn_vocabulary,
    predictions_text,
    read_predictions,
)
from imageclef_vqa.evaluation.published import read_published
from imageclef_vqa.experts.resnet34 import ExpertConfig, read_config
from imageclef_vqa.inference.calibration import Calibration
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inputs import read_model
from imageclef_vqa.models.language.tokenizer import Tokenizer
from imageclef_vqa.models.language.wordpiece import WordPieceTokenizer
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.pipeline.answer_rows import read_answer_rows
from imageclef_vqa.submission import make_manifest, parse_run, read_bytes, read_manifest, render_run
from imageclef_vqa.submission.sentences import FIELDS, read_sentences, write_sentences
from imageclef_vqa.training.config import StageConfig
from imageclef_vqa.training.history import read_history
from imageclef_vqa.training.log import Log
from imageclef_vqa.training.recipe import Recipe, choose_recipe
from imageclef_vqa.training.state import TrainerState, TrainingFolder
from imageclef_vqa.workspace import Workspace

Mutate = Callable[[bytes, Random], bytes]
COMMANDS: dict[str, Any] = get_command(app).commands


@dataclass(frozen=True)
class Reader:
    """`name` of the file; `prepare` makes a folder for it and returns a valid file; `read` reads the mutated one.

    `sealed`: what makes a mutated file pass the checks of its own hash, so that what is behind them is reached.
    """

    name: str
    prepare: Callable[[Path], bytes]
    read: Callable[[Path], object]
    file: str = "file"
    weight: float = 1.0
    sealed: Callable[[bytes], bytes] | None = None

    def mutate(self, example: bytes, random: Random, mutated: Mutate) -> bytes:
        content = mutated(example, random)
        return self.sealed(content) if self.sealed and random.random() < 0.8 else content

    def give(self, place: Path, content: bytes) -> None:
        path = place / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.read(path)


class CommandLine(Reader):
    """Options and values of every command, in a workspace with a small data set."""

    def mutate(self, example: bytes, random: Random, mutated: Mutate) -> bytes:
        name = random.choice([each for each in COMMANDS if each not in ("demo", "doctor", "weights", "import")])
        words = [name]
        if name in ("check", "ask", "explain"):
            words.append(random.choice(("file", "gt.json", "data", "-", "x" * 5000, "a\x1b[2Jb")))
        for _ in range(random.randrange(4)):
            option = random.choice([each for each in COMMANDS[name].params if each.opts[0].startswith("-")])
            words.append(option.opts[0])
            if not getattr(option, "is_flag", False):
                words.append(random.choice(VALUES))
        return json.dumps(words).encode()

    def give(self, place: Path, content: bytes) -> None:
        self.read(json.loads(content))


class OtherCommands(CommandLine):
    """`weights`, `demo`, which draws three images and runs only `status`, and `doctor`, which tests no device."""

    def mutate(self, example: bytes, random: Random, mutated: Mutate) -> bytes:
        name = random.choice(("demo", "doctor", "weights"))
        words, command = [name], COMMANDS[name]
        if name == "weights":
            words.append(random.choice(sorted(command.commands)))
            command = command.commands[words[1]]
            kinds = ("w.safetensors", "w.pth", "weights", "file", "data", "nobody/nothing", "a\x1b[2Jb", "x" * 5000)
            words += random.choices(kinds, k=random.randrange(3))
        options = [each for each in command.params if each.opts[0].startswith("-")]
        for option in random.choices(options, k=3) if options else ():
            if random.random() < 0.6:
                words += [option.opts[0]] + ([] if getattr(option, "is_flag", False) else [random.choice(VALUES)])
        return json.dumps(words).encode()

    def give(self, place: Path, content: bytes) -> None:
        words = json.loads(content)
        with ExitStack() as patches:
            draw = partial(synthetic.write_synthetic_dataset, seed=0)
            for owner, name, stand_in in (
                (demo, "CHAIN", ("status",)),
                (demo, "OPEN_CHAIN", ("status",)),
                (synthetic, "write_synthetic_dataset", lambda folder, **_: draw(folder, images=2, test=1)),
                (devices, "_probe", lambda *_, **__: {"error": "not tested"}),
                (tempfile, "tempdir", str(place)),
            ):
                patches.enter_context(patch.object(owner, name, stand_in))
            self.read(words)


class WorkspaceFile(Reader):
    """A file of a workspace whose run was answered, routed, scored and packaged, and the commands that read it.

    `content` is the file's name and what it holds. Half of the changed artefacts have a record that fits them.
    """

    def mutate(self, example: bytes, random: Random, mutated: Mutate) -> bytes:
        name = random.choice(json.loads(example)).encode()
        words = random.choice(WORDS).encode()
        sealed = b"1" if random.random() < 0.5 else b"0"
        return b"\0".join((words, sealed, name, mutated(Path(os.fsdecode(name)).read_bytes(), random)))

    def give(self, place: Path, content: bytes) -> None:
        if b"\0" not in content:
            return
        words, sealed, name, changed = content.split(b"\0", 3)
        path = Path(os.fsdecode(name))
        note = Path(f"{path}.record.json")
        before = {each: each.read_bytes() for each in (path, note) if each.exists()}
        try:
            path.write_bytes(changed)
            if sealed == b"1" and note.exists():
                record = json.loads(before[note])
                record["files"] = {path.name: hashlib.sha256(changed).hexdigest()}
                note.write_text(json.dumps(record))
            _run_command(words.decode().split())
        finally:
            for each, old in before.items():
                each.write_bytes(old)


WORDS = ["status", "runs", "score", "package --json", "check run.csv", "package --verify run.csv", "split --val 0.3"]


def _workspace(place: Path) -> bytes:
    write_dataset(place / "data" / "development", 8)
    write_dataset(place / "data" / "test", 3)
    _invoke("split", "--val", "0.3")
    val = json.loads(Path("work/split.json").read_bytes())["validation"][0]
    for fold, ids in (("val", val), ("test", ["image0", "image1", "image2"])):
        answers = [
            Prediction(image_id=each, question_id=q.id, answers=(q.known[0],), probability=0.5, model="tiny")
            for each in ids
            for q in QUESTIONS
        ]
        write_recorded(Path(f"work/main/predictions/{fold}.jsonl"), answers)
    Path("work/main/stage2").mkdir()
    Path("work/main/stage2/config.json").write_bytes(_stage_config(Path("work/main/stage2")))
    _invoke("score")
    _invoke("package", "--out", "run.csv", "--force")
    assert Path("run.csv.manifest.json").exists()
    files = [str(path) for path in Path().rglob("*") if path.is_file() and path.stat().st_size < 200_000]
    return json.dumps(sorted(name for name in files if not name.endswith((".lock", ".html")))).encode()


def _invoke(*words: str) -> None:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output


PIXELS = np.arange(3 * 16 * 16 * 3, dtype="uint8").reshape(3, 16, 16, 3)
VALUES = [
    *("0", "-1", "1", "2", "1000000", "1e400", "nan", "inf", "0.5", "9" * 5000, "x", "", "\x1b]0;x\x07", "\ud800"),
    *("main", "val", "test", "/dev/null", "/dev/zero", "data", "medvqa.toml", "x" * 5000, "a/b/c", "..", "cpu", "tiny"),
    *("0,1", "0,0", "gpu:99", "npu", "paper", "f1", "all", "json", "gi-2023", "gi-2026", "16GB", "é" * 100, "-"),
]


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json().encode()


def _labels(_: Path) -> bytes:
    return json.dumps([record(f"image{number}") for number in range(3)]).encode()


def _questions(_: Path) -> bytes:
    row = {
        "img_id": "image0",
        "complexity": 1,
        "question": "What is seen?",
        "answer": "a polyp",
        "question_class": ["polyp_type"],
    }
    return b"\n".join(json.dumps({**row, "question": f"What {n}?"}).encode() for n in range(4)) + b"\n"


def _sentences(_: Path) -> bytes:
    rows = [(f"image{number}", "What is seen?", "a polyp") for number in range(3)]
    return write_sentences(rows, dict.fromkeys(FIELDS, "x") | {"submission_info": {"team_name": "x"}})


def _read_sentences(path: Path) -> None:
    read_sentences(path.read_bytes())
    read_answer_rows(path)


def _parquet(_: Path) -> bytes:
    rows = [json.loads(line) for line in _questions(Path()).splitlines()]
    with io.BytesIO() as file:
        pq.write_table(pa.Table.from_pylist([row | {"image": {"bytes": b"x", "path": None}} for row in rows]), file)
        return file.getvalue()


def _read_parquet(path: Path) -> None:
    read_answer_rows(path)
    list(read_table(path, pictures=True))


def _test_folder(place: Path) -> bytes:
    write_dataset(place, 2)
    return b"image0\nimage1\n"


def _settings(_: Path) -> bytes:
    return (
        b'[data]\ndevelopment = "data/development"\nedition = "gi-2023"\n[split]\nval = 0.1\nseed = 1\nby = "group"\n'
        b'[finetune]\nbatch = 4\nlearning_rate = 1e-4\nfreeze_vision = true\nprecision = "fp32"\npreset = "tiny"\n'
        b'[predict]\nrun = ["main"]\n[package]\nout = "run.csv"\n'
    )


def _read_settings(path: Path) -> None:
    check_settings(path.parent, COMMANDS)
    Workspace.at(path.parent)


def _recipe(_: Path) -> bytes:
    return b'preset = "tiny"\n[stage1]\nepochs = 3\nfreeze_vision = true\n[stage2]\nema = 0.5\nprecision = "bf16"\n'


def _prediction(number: int) -> Prediction:
    return Prediction(image_id=f"image{number}", question_id=5, answers=("Red",), probability=0.5, model="x")


def _predictions(_: Path) -> bytes:
    return predictions_text(map(_prediction, range(4))).encode()


def _run_file(suffix: str) -> Callable[[Path], bytes]:
    answers = {(runs.image_id(n), q): given for n in range(3) for q, given in runs.answers(n).items()}
    return lambda _: render_run(Path(f"run{suffix}"), answers, [runs.image_id(n) for n in range(3)])


def _parse(path: Path) -> None:
    parsed = parse_run(read_bytes(path), str(path), path.suffix)
    parsed.findings()
    parsed.as_lists()


def _manifest(place: Path) -> bytes:
    (place / "run.csv").write_bytes(b"x")
    made = make_manifest("run.csv", b"x", images=1, answers=18, fold="test", command="x", seed=0, data={}, inputs={},
                         answers_from={}, scores=None, findings=[])  # fmt: skip
    return json.dumps(made).encode()


def _model_of(kind: Any) -> Callable[[Path], object]:
    return lambda path: read_model(path, kind)


def _split(place: Path) -> bytes:
    write_dataset(place / "data", 6)
    return make_split(read_dataset(place / "data"), val=0.3).model_dump_json().encode()


def _stage_config(place: Path) -> bytes:
    (place / "log.jsonl").write_text('{"step": 1, "answers": 0.5}\n')
    config = StageConfig(
        preset="tiny", stage=2, recipe=Recipe(epochs=2), seed=0, fold=0, data="", training_images="", weights={}
    )
    return config.model_dump_json().encode()


def _log(_: Path) -> bytes:
    return b'{"step": 1, "answers": 0.5}\n{"step": 1, "epoch": 1, "score": 0.5, "best": true, "seconds": 2.0}\n'


def _batch(place: Path) -> bytes:
    answers = [[((("Red",), 0.5), (("Pink", "Red"), 0.25))] * 2] * 3
    _journal(place).add(0, answers)  # type: ignore[arg-type]
    return (place / "000000.json").read_bytes()


def _journal(place: Path) -> Journal:
    return Journal(place, "key", 3, [2, 2, 2])


def _read_journal(path: Path) -> None:
    journal = _journal(path.parent)
    if not journal.missing:
        assert [len(each) for each in journal.read()] == [2, 2, 2]


def _sealed_batch(content: bytes) -> bytes:
    text = content.partition(b"\n")[2]
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def _state(place: Path) -> bytes:
    folder = TrainingFolder(place, "stage")
    folder.save_state({"weight": np.arange(6, dtype="float32").reshape(2, 3)}, TrainerState(epoch=1))
    return (place / "state.safetensors").read_bytes()


def _trainer_state(_: Path) -> bytes:
    return TrainerState(epoch=1, sums={"itc": 1.0}, best=0.5).model_dump_json().encode()


def _read_state(path: Path) -> None:
    """The state in `path`, as in a file whose hash is right."""
    from imageclef_vqa.training import state

    state._save(path.parent / "state.safetensors", {}, path.read_bytes().decode(errors="replace"))
    TrainingFolder(path.parent, "stage").load_state(epochs=3)


def _calibration(_: Path) -> bytes:
    return _json(Calibration(model="x", temperature=1, pairs=3, error=(0, 0), nll=(0, 0)))


def _history(place: Path) -> bytes:
    (place / "config.json").write_bytes(_stage_config(place))
    return _log(place)


def _expert(_: Path) -> bytes:
    config = ExpertConfig(
        heads={}, image_size=64, statistics="x", epochs=1, seed=0, data="", training_images="", weights=None
    )
    return _json(config)


def _index_of_weights(place: Path) -> bytes:
    (place / "m-1.safetensors").write_bytes(_safetensors(place))
    (place / "file.safetensors").unlink()
    return json.dumps({"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-1.safetensors"}}).encode()


def _published(_: Path) -> bytes:
    return json.dumps([{"id": q.id, "question": q.text, "accuracy": 0.5} for q in QUESTIONS]).encode()


def _kvasir(place: Path) -> bytes:
    write_dataset(place, 2)
    with io.StringIO() as file:
        table = csv.writer(file)
        table.writerow(["source", "question", "answer", "img_id"])
        table.writerows(["x", "Is there text?", "Yes", f"image{number}"] for number in range(2))
        return file.getvalue().encode()


def _picture(form: str, mode: str = "RGB") -> Callable[[Path], bytes]:
    def make(_: Path) -> bytes:
        with io.BytesIO() as file:
            (
                picture(1, 40, 30).convert(mode) if mode != "I;16" else picture(1, 40, 30).convert("I").convert("I;16")
            ).save(file, form)
            return file.getvalue()

    return make


def _look(path: Path) -> None:
    index_images([path], None)
    read_pixels(path, 16)


def _index(place: Path) -> bytes:
    write_dataset(place / "data", 2)
    read_dataset(place / "data", cache=place / "cache")
    return next((place / "cache").glob("images-*.npz")).read_bytes()


def _read_index(path: Path) -> None:
    store = next((path.parent / "cache").glob("images-*.npz"))
    store.write_bytes(path.read_bytes())
    assert len(read_dataset(path.parent / "data", cache=path.parent / "cache")) == 2


def _pixels(place: Path) -> bytes:
    write_dataset(place / "data", 2)
    load_pixels(read_dataset(place / "data"), 8, place / "cache")
    return next((place / "cache").glob("pixels-*.npy")).read_bytes()


def _read_cached_pixels(path: Path) -> None:
    next((path.parent / "cache").glob("pixels-*.npy")).write_bytes(path.read_bytes())
    assert load_pixels(read_dataset(path.parent / "data"), 8, path.parent / "cache").shape == (2, 8, 8, 3)


def _sealed_pixels(content: bytes) -> bytes:
    return content[:-32] + hashlib.sha256(content[:-32]).digest()


def _features(name: str) -> Callable[[Path], bytes]:
    def make(place: Path) -> bytes:
        _store(place).of(PIXELS)
        return next(place.glob(name)).read_bytes()

    return make


def _store(place: Path) -> Any:
    from imageclef_vqa.models.configs import VisionConfig
    from imageclef_vqa.models.vision import VisionTransformer
    from imageclef_vqa.training.features import FeatureStore

    sizes = VisionConfig(image_size=16, patch_size=8, width=8, layers=1, heads=2, mlp_width=8)
    vision = VisionTransformer(sizes)
    for number, tensor in enumerate(vision.parameters()):
        tensor.set_value(np.random.default_rng(number).standard_normal(tensor.shape).astype("float32"))
    return FeatureStore(place, vision)


def _read_features(name: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        next(path.parent.glob(name)).write_bytes(path.read_bytes())
        found = _store(path.parent).of(PIXELS)
        assert found[np.arange(len(found))].shape == (3, 5, 8)

    return read


def _safetensors(place: Path) -> bytes:
    from imageclef_vqa.checkpoints.layers import save_weights

    save_weights(place / "file.safetensors", {"a": np.ones((2, 3), "float32"), "b": np.ones(4, "float16")}, {"x": "y"})
    return (place / "file.safetensors").read_bytes()


def _pth(place: Path) -> bytes:
    write_pth(place / "file.pth", {"a": np.ones((2, 3), "float32"), "b": np.ones(4, "float32")})
    return (place / "file.pth").read_bytes()


def _convert(path: Path) -> None:
    for tensor in open_source(path).tensors.values():
        tensor.bits()


def _preset_file(name: str) -> Callable[[Path], bytes]:
    return lambda _: (find_preset("tiny").folder / name).read_bytes()


def _words(_: Path) -> bytes:
    return b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n##c\n"


def _command_line(place: Path) -> bytes:
    write_dataset(place / "data" / "development", 4)
    (place / "gt.json").write_text(json.dumps([record("image0")]))
    (place / "file").write_text("x")
    return json.dumps(["--help"]).encode()


def _weights_place(place: Path) -> bytes:
    _safetensors(place)
    (place / "file.safetensors").rename(place / "w.safetensors")
    _pth(place)
    (place / "file.pth").rename(place / "w.pth")
    shutil.copytree(find_preset("tiny").folder, place / "weights")
    return _command_line(place)


def _run_command(words: list[str]) -> None:
    os.environ["COLUMNS"] = "80"
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    raise SystemExit(done.exit_code)


READERS = [
    Reader("gt.json", _labels, read_labels, weight=4),
    Reader("qa.jsonl", _questions, lambda path: read_qa(path, labelled=True), weight=2),
    Reader("predictions_1.json", _sentences, _read_sentences, "predictions_1.json", weight=2),
    Reader("Parquet", _parquet, _read_parquet, "rows.parquet", weight=2),
    Reader("test_image_ids.txt", _test_folder, lambda path: read_test_ids(path.parent), "test_image_ids.txt"),
    Reader("medvqa.toml", _settings, _read_settings, "medvqa.toml", weight=4),
    Reader("a recipe", _recipe, lambda path: choose_recipe(2, recipe=str(path)), "recipe.toml", weight=3),
    Reader("predictions", _predictions, read_predictions, weight=2),
    Reader("run.csv", _run_file(".csv"), _parse, "run.csv", weight=2),
    Reader("run.json", _run_file(".json"), _parse, "run.json", weight=2),
    Reader("run.zip", _run_file(".zip"), _parse, "run.zip", weight=2),
    Reader("a manifest", _manifest, lambda path: read_manifest(path.parent / "run.csv"), "run.csv.manifest.json"),
    Reader("a record", lambda _: _json(Record(command="x", files={"a": "b"}, inputs={})),
           lambda path: read_record(path.parent / "val.jsonl"), "val.jsonl.record.json"),
    Reader("split.json", _split, lambda path: read_split(path, read_dataset(path.parent / "data")), "split.json"),
    Reader("config.json of a stage", _stage_config, lambda path: read_history(path.parent), "config.json"),
    Reader("vocabulary.json", lambda _: _json(learn_vocabulary([(5, ("Red",))])), _model_of(Vocabulary)),
    Reader("calibration.json", _calibration, _model_of(Calibration)),
    Reader("log.jsonl", _log, lambda path: Log(path).records(), "log.jsonl"),
    Reader("the journal of predict", _batch, _read_journal, "000000.json", weight=3, sealed=_sealed_batch),
    Reader("a saved state", _state, lambda path: TrainingFolder(path.parent, "").load_state(3), "state.safetensors"),
    Reader("the trainer's state", _trainer_state, _read_state, weight=2),
    Reader("published figures", _published, read_published, "figures.json"),
    Reader("a table of Kvasir-VQA", _kvasir, lambda path: read_kvasir(path, path.parent / "images"), "k.csv"),
    Reader("a JPEG", _picture("JPEG"), _look, "a.jpg"),
    Reader("a PNG", _picture("PNG"), _look, "a.png"),
    Reader("a PNG of 16 bits", _picture("PNG", "I;16"), _look, "a.png", weight=0.5),
    Reader("the index of images", _index, _read_index, weight=0.5),
    Reader("cached pixels", _pixels, _read_cached_pixels, weight=0.5, sealed=_sealed_pixels),
    Reader("the index of features", _features("*.jsonl"), _read_features("*.jsonl"), weight=0.5),
    Reader("features", _features("*.f16"), _read_features("*.f16"), weight=0.5),
    Reader("safetensors", _safetensors, lambda path: (read_weights(path), read_metadata(path)), "w.safetensors"),
    Reader("a .pth", _pth, _convert, "w.pth", weight=2),
    Reader("config.json of weights", _preset_file("config.json"), lambda path: read_folder_config(path.parent),
           "config.json"),
    Reader("vocab.txt", _words, lambda path: WordPieceTokenizer(path, 100), "vocab.txt", weight=0.3),
    Reader("spiece.model", _preset_file("spiece.model"), Tokenizer, "spiece.model", weight=0.5),
    Reader("log.jsonl of a stage", _history, lambda path: read_history(path.parent), "log.jsonl"),
    Reader("config.json of an expert", _expert, lambda path: read_config(path.parent), "config.json"),
    Reader("an index of weights", _index_of_weights, lambda path: open_source(path.parent), "m.safetensors.index.json"),
    WorkspaceFile("a file of a workspace", _workspace, lambda _: None, weight=0.6),
    CommandLine("the command line", _command_line, _run_command, weight=0.8),
    OtherCommands("demo, doctor and weights", _weights_place, _run_command, weight=0.3),
]  # fmt: skip
