"""Hostile files, names and machines: every command ends with an error in words, and nothing else is touched."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hostile import bound_by_permissions, program, run, seconds, small_disk
from PIL import Image
from small_dataset import record, write_dataset
from torch_files import pickled, write_pth
from trained import write_run
from typer.testing import CliRunner

import imageclef_vqa
from imageclef_vqa import devices, files, inputs
from imageclef_vqa.checkpoints.layers import save_weights
from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, read_dataset, reading
from imageclef_vqa.data.images import as_rgb, open_image
from imageclef_vqa.environment import interpreter, library_import
from imageclef_vqa.errors import FileError, MedvqaError
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.locks import run_writer, sole_writer
from imageclef_vqa.training.tracking import open_tracker
from imageclef_vqa.workspace import Workspace

PACKAGE = Path(imageclef_vqa.__file__).parent


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data/development", 4)
    return tmp_path


def medvqa(*words):
    with seconds(20):
        return CliRunner().invoke(app, list(words))


def refused(*words, code=1):
    done = medvqa(*words)
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "\x1b" not in done.output
    return done.output


# Reading


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("split", "data/development/gt.json"),
        ("split", "medvqa.toml"),
        ("check run.csv --ids ids.txt", "ids.txt"),
        ("score run.csv --gold gold.json", "gold.json"),
        ("finetune --stage 1 --recipe r.toml --device cpu", "r.toml"),
        ("weights show w.safetensors", "w.safetensors"),
        ("weights show w.pth", "w.pth"),
    ],
)
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_what_is_no_file_is_refused_at_once(workspace, words, name, kind):
    Path("run.csv").write_text("ImageID,QuestionID,Question,Answer\nimage0,4,Is there text?,Yes\n")
    Path(name).unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(name)
    elif kind == "a device":
        Path(name).symlink_to("/dev/zero")
    else:
        Path(name).mkdir()
    if kind == "a folder" and name.startswith("w."):
        return  # weights may be a folder
    assert f"cannot read {name}: it is {kind}, not a file" in refused(*words.split())


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_picture_that_is_no_file_is_refused_at_once(workspace, kind):
    picture = Path("data/development/images/image1.jpg")
    picture.unlink()
    os.mkfifo(picture) if kind == "pipe" else picture.symlink_to("/dev/zero")
    why = {"pipe": "it is a pipe, not a file", "device": "a link that leads out of the folder"}
    assert why[kind] in refused("split")
    with pytest.raises(FileError, match="it is a device, not a file"), inputs.open_input(Path("/dev/zero")):
        pass


def test_a_file_larger_than_any_of_its_kind_is_not_read_to_its_end(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(inputs.LARGEST + 1)
    with pytest.raises(FileError, match="larger than 256 MiB"):
        inputs.read_bytes(tmp_path / "large")


def test_permissions_are_named_and_nothing_is_called_damaged(workspace):
    before = bound_by_permissions()
    make_split(read_dataset(workspace / "data/development"), val=0.25).write(workspace / "work/split.json")
    (workspace / "medvqa.toml").write_text("")
    (workspace / "run.csv").write_text("x")
    (workspace / "work/cache").mkdir()
    for words, name in (
        ("split", "data/development/gt.json"),
        ("split", "data/development/images"),
        ("split", "medvqa.toml"),
        ("score", "work/split.json"),
        ("split", "work/cache"),
        ("status", "work"),
    ):
        mode = stat.S_IMODE((workspace / name).stat().st_mode)
        (workspace / name).chmod(0)
        done = run(*words.split(), cwd=workspace, before=before)
        (workspace / name).chmod(mode)
        assert done.returncode == 1, (words, name, done.stdout, done.stderr)
        assert "permission denied" in done.stderr, (words, name, done.stderr)
        assert not any(word in done.stderr for word in ("Traceback", "damaged")), done.stderr


def test_more_folds_than_images_are_refused_before_they_are_made(workspace):
    assert "4 images do not fill 1000000 folds" in refused("split", "--folds", "1000000")


def test_records_without_images_cost_one_look_at_the_folder(workspace, monkeypatch):
    looks, look = [], reading.images_by_id
    monkeypatch.setattr(reading, "images_by_id", lambda images: looks.append(images) or look(images))
    records = [record(f"absent{number}") for number in range(300)]
    Path("data/development/gt.json").write_text(json.dumps(records))
    assert "absent0.jpg: there is no such file" in refused("split")
    assert len(looks) == 1


def test_grey_of_16_bits_keeps_its_brightness():
    with BytesIO() as file:
        Image.fromarray(np.full((8, 8), 89 * 257, np.uint16)).save(file, "PNG")
        image = open_image(file.getvalue())
        assert np.asarray(as_rgb(image)).mean() == 89


def test_batches_of_a_journal_that_nobody_could_have_written_are_answered_again(tmp_path):
    for answers in (
        5,
        [5],
        [[]],
        [[[]]],
        [[[["Red"], 0.5]]] * 3,
        [[[[["Red"], 2.0]]]],
        [[[[[], 0.5]]]],
        [[[[["a"], 0.0]]]],
    ):
        text = json.dumps(answers)
        journal = Journal(tmp_path, "key", batch=1, questions=[1])
        files.write_text(tmp_path / "000000.json", f"{inputs.hashlib.sha256(text.encode()).hexdigest()}\n{text}")
        assert journal.missing == [0], answers
    journal.add(0, [[((("Red",), 0.5),)]])
    assert (journal.missing, list(journal.read())) == ([], [[((("Red",), 0.5),)]])


# Settings

WRONG = [
    ("[data]\ndevelopment = 5", "[data] development: input should be a valid string, not 5"),
    ("[split]\nval = [0.1]", "[split] val: input should be a valid number, not [0.1]"),
    ("[split]\nseed = 1.5", "[split] seed: input should be a valid integer, not 1.5"),
    ("[finetune]\nfreeze_vision = 1", "[finetune] freeze_vision: input should be a valid boolean, not 1"),
    ('[finetune]\nprecision = "fp8"', "[finetune] precision: input should be 'auto'"),
    ("[predict]\nrun = [1]", "[predict] run.0: input should be a valid string, not 1"),
    ('[plan]\nstage = "7"', "[plan] stage: input should be '1', '2' or 'predict'"),
    ('[check]\nedition = "gi-1999"', "[check] edition:"),
    ("[score]\nplotz = 1", "[score] plotz: unknown; there are"),
    (f"[data]\ntest = '{'a' * 5000}'", "[data] test: string should have at most 4096 characters"),
    ('[data]\ntest = "a\\u0000b"', "[data] test: string should match pattern"),
    (f"[split]\nseed = {'9' * 10_000}", "not TOML"),
    (f"[split]\nseed = 0x{'f' * 10_000}", "an integer of more than 64 bits"),
    (f"a = {'[' * 3000}", "nested too deeply"),
    ("#" * 70_000, "larger than 0.0625 MiB"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_every_command_checks_every_table_of_the_settings(workspace, settings, message):
    Path("medvqa.toml").write_text(settings)
    for words in (["split"], ["runs"], ["score"]):
        assert message in refused(*words, code=1 if "#" in settings else 2)


def test_settings_may_begin_with_a_byte_order_mark(workspace):
    Path("medvqa.toml").write_bytes(b"\xef\xbb\xbf[split]\nval = 0.5\n")
    assert medvqa("split").exit_code == 0
    assert len(json.loads(Path("work/split.json").read_bytes())["validation"][0]) == 2


@pytest.mark.parametrize(
    "line", [f"epochs = 0x{'f' * 5000}", f"epochs = {'[' * 3000}", "epochs = '\x00'", "epochs = nan"]
)
def test_a_recipe_is_refused_in_words(workspace, line):
    Path("r.toml").write_text(f"[stage2]\n{line}\n")
    assert "r.toml" in refused(*["finetune", "--stage", "2", "--recipe", "r.toml", "--device", "cpu"], code=2)


# Writing


@pytest.mark.parametrize(
    "words", ["predict --images data --out", "package --out", "score run.csv --gold gt.json --report"]
)
def test_output_replaces_no_device_pipe_or_link(workspace, words):
    Path("victim").write_text("mine")
    Path("run.csv").write_text("x")
    suffix = {"predict": ".jsonl", "package": ".csv", "score": ".html"}[words.split()[0]]
    link, pipe, folder = (Path(name).with_suffix(suffix) for name in ("link", "pipe", "folder"))
    link.symlink_to("victim")
    os.mkfifo(pipe)
    folder.mkdir()
    for path, kind in ((link, "a link"), (pipe, "a pipe"), (folder, "a folder")):
        assert f"cannot write {path}: it is {kind}, not a file" in refused(*words.split(), str(path))
    assert Path("victim").read_text() == "mine"
    with pytest.raises(FileError, match="it is a link, not a file"):
        files.write_text(link, "x")
    with pytest.raises(FileError, match="cannot write /dev/full: it is a device, not a file"):
        files.write_text(Path("/dev/full"), "x")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_locks_and_logs_follow_no_link(tmp_path):
    victim, work = tmp_path / "victim", tmp_path / "work"
    victim.write_text("mine")
    work.mkdir()
    for make in (Path.symlink_to, Path.hardlink_to):
        for write in (lambda: sole_writer(work).__enter__(), lambda: files.append_text(work / ".lock", "x")):
            make(work / ".lock", victim)
            with pytest.raises(
                FileError, match=r"cannot write .*\.lock: (it is a link|the same file has another name)"
            ):
                write()
            (work / ".lock").unlink()
    (tmp_path / "visualdl").symlink_to(work)
    with (
        pytest.raises(FileError, match="it is a link, not a folder"),
        open_tracker("visualdl", tmp_path, "run"),
    ):
        pass
    assert victim.read_text() == "mine"


def test_left_overs_of_killed_writers_are_removed_and_those_of_living_ones_are_not(tmp_path):
    run, cache = tmp_path / "work/main", tmp_path / "work/cache"
    for folder in (run, cache):
        folder.mkdir(parents=True)
        (folder / ".images.npz.abcd1234.part").write_text("half")
        (folder / ".stage2.abcd1234.part").mkdir()
        (folder / ".mine.part").write_text("not ours")
    with files.atomic_write(cache / "whole") as file:
        file.write("whole")
        file.flush()
        with run_writer(run):
            left = sorted(path.name for path in (*run.iterdir(), *cache.iterdir()) if path.suffix == ".part")
            assert len(left) == 3, left  # the open one, and those with other names
            assert left.count(".mine.part") == 2
    assert (cache / "whole").read_text() == "whole"


def test_a_full_disk_is_named_and_the_split_before_is_whole():
    with small_disk("300k") as disk:
        write_dataset(disk / "data/development", 4)
        (disk / "work").mkdir()
        (disk / "work/split.json").write_text("old")
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
        done = CliRunner().invoke(app, ["split", "-w", str(disk)])
        assert done.exit_code == 1, done.output
        assert f"the disk at {disk} is full\nfree some space; what was finished before is whole" in done.output
        assert (disk / "work/split.json").read_text() == "old"
        assert not list(disk.rglob("*.part"))


# Printing

EVIL = "a\x1b]0;owned\x07\x9b31m\u202eb"


def test_what_comes_from_files_cannot_control_the_terminal(workspace):
    (workspace / "labels").mkdir()
    write_dataset(workspace / "x", 1)
    Path("x/gt.json").write_text(json.dumps([record("image0", q5=[EVIL])]))
    save_weights(Path("w.safetensors"), {EVIL: np.ones(3, "float32")}, {})
    write_pth(Path("w.pth"), {"a": np.ones(3, "float32")}, pickled({}).replace(b"u.", f"c{EVIL}\nb\nu.".encode()))
    rows = {"ids": [EVIL], "check": [["ImageID", "Question", "Answer"], [EVIL, EVIL, EVIL]]}
    Path("run.csv").write_text("\n".join(",".join(row) for row in rows["check"]))
    Path("ids.txt").write_text(EVIL)
    Path("medvqa.toml").write_text("")
    outputs = [
        medvqa("weights", "show", "w.safetensors").output,
        medvqa("weights", "show", "w.safetensors", "--json").output,
        medvqa("weights", "show", "w.pth").output,
        medvqa("check", "run.csv", "--ids", "ids.txt").output,
        medvqa("check", EVIL).output,
        medvqa(EVIL).output,
        medvqa("split", "--by", EVIL).output,
        medvqa("score", "run.csv", "--gold", "x/gt.json").output,
    ]
    Path("medvqa.toml").write_text(f"[split]\nby = {json.dumps(EVIL)}\n")
    outputs.append(medvqa("split").output)
    for output in outputs:
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(output), output
    assert "\\u001b]0;owned" in outputs[0]
    assert json.loads(outputs[1])


def test_output_is_escaped_where_it_cannot_be_encoded(workspace):
    for words in (["--help"], ["split", "--val", "0.5"], ["runs"]):
        done = run(*words, cwd=workspace, PYTHONIOENCODING="ascii")
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        assert done.stdout.isascii()
    assert "\\u2192" in run("--help", cwd=workspace, PYTHONIOENCODING="latin-1").stdout


def test_a_closed_pipe_changes_no_exit_code_and_a_full_disk_does(workspace):
    def ending(redirection):
        command = [*program("plan", "--preset", "tiny"), redirection]
        shell = ["bash", "-c", f'set -o pipefail; "${{@:1:$#-1}}" {redirection}', "x", *command]
        done = subprocess.run(
            shell, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
        )
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
        return done.returncode, done.stderr

    assert ending("| true") == (0, "")
    assert ending(">&- 2>&-") == (0, "")
    assert ending("> /dev/full") == (
        1,
        "error: cannot write standard output: No space left on device\nfiles were written nevertheless\n",
    )


# Processes

MARK = "import pathlib; pathlib.Path('executed').write_text(__name__)\n"


def test_new_interpreters_import_nothing_from_the_current_folder(tmp_path):
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        folder.mkdir()
    for name in ("runpy", "numpy", "imageclef_vqa", "json", "started", "multiprocessing", "threading", "types"):
        (here / f"{name}.py").write_text(MARK)
    (other / "started.py").write_text("import sys, os\nprint(sys.argv[1:], os.getcwd())\n")
    (other / "spawning.py").write_text(
        "import multiprocessing, os, sys\n"
        "sys.path[:] = [each for each in sys.path if each != os.getcwd()]\n"
        "from imageclef_vqa import environment\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    with environment.in_no_folder() as folder:\n"
        "        queue = context.SimpleQueue()\n"
        "        process = context.Process(target=os.chdir, args=(folder,))\n"
        "        process.start()\n"
        "    process.join()\n"
        "    print(process.exitcode, os.getcwd())\n"
    )
    settings = os.environ | {"PYTHONPATH": f"{other}:{PACKAGE.parent}"}
    done = subprocess.run(interpreter("started", "a", "b"), cwd=here, env=settings, capture_output=True, text=True)
    assert done.stdout == f"['a', 'b'] {here}\n", done.stderr
    done = subprocess.run(
        [sys.executable, str(other / "spawning.py")], cwd=here, env=settings, capture_output=True, text=True
    )
    assert done.stdout == f"0 {here}\n", done.stderr
    assert not (here / "executed").exists()


def test_every_new_interpreter_is_started_that_way():
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("environment.py", "rehearsal.py"):  # the rehearsal runs a file, whose folder comes first
            assert "sys.executable" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("variable", ["PADDLE_LOCAL_SIZE", "PADDLE_TRAINERS_NUM"])
@pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 5000])
def test_a_variable_of_the_launcher_that_is_no_number_is_named(monkeypatch, variable, text):
    from imageclef_vqa.environment import set_environment
    from imageclef_vqa.training.parallel import Processes

    monkeypatch.setenv(variable, text)
    with pytest.raises(MedvqaError, match=f"the environment variable {variable} is '.*', not a number"):
        set_environment() if variable == "PADDLE_LOCAL_SIZE" else Processes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_130_and_no_part_of_a_file(workspace, number):
    code = (
        "import os, sys\n"
        "from imageclef_vqa import files\n"
        "finish = files._finish\n"
        f"files._finish = lambda *both: os.kill(os.getpid(), {int(number)}) or finish(*both)\n"
        "sys.argv = ['medvqa', 'split']\n"
        "from imageclef_vqa.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=workspace)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "interrupted; finished work is kept, and the same command continues from there\n"
    assert not [path for path in workspace.rglob("work/**/*") if path.is_file() and path.name != ".lock"]


WATCHED = """
import os, sys
seen, writing = set(), os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
changing = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        seen.add(f"{event} {details[1:]}")
    if isinstance(details[0] if details else 0, int):
        return
    if event in changing or event == "open" and (details[2] or 0) & writing:
        place = os.path.abspath(os.fsdecode(details[0]))
        if not f"{place}/".startswith((os.getcwd() + "/", os.environ["XDG_CACHE_HOME"], "/dev/")):
            seen.add(f"{event} {place}")
sys.addaudithook(watch)
from imageclef_vqa.cli import app
for line in sys.argv[1:]:
    try: app(line.split())
    except SystemExit as end: assert end.code == 0, line
print("SEEN", sorted(seen))
"""


OFFLINE = [
    "predict --device cpu --devices 0",
    "route --device cpu --expert classical",
    *("score --plots plots", "package", "check run.csv", "status"),
]


def test_a_chain_connects_nowhere_and_writes_beneath_workspace_and_cache_only(tmp_path):
    workspace = Workspace.at(tmp_path / "workspace")
    write_dataset(workspace.development, 8)
    write_dataset(workspace.test, 2)
    write_run(workspace, seed=0)
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir(mode=0o555)
    cache.mkdir()
    isolated = (
        ["unshare", "-n"] if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0 else []
    )
    settings = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "TMPDIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*isolated, *bound_by_permissions(), sys.executable, "-c", WATCHED, *OFFLINE],
        cwd=workspace.root,
        env={name: os.environ[name] for name in ("PATH",)} | settings | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("SEEN []\n"), done.stdout[-2000:] + done.stderr[-3000:]
    assert not list(home.iterdir())


def test_paddle_takes_no_signal_from_the_program(monkeypatch):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        devices.prepare("cpu", seed=0)
        with library_import():  # as PaddleNLP does when it is imported
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_files_from_outside_are_opened_in_one_place():
    own = {"inputs.py", "files.py", "environment.py", "machine.py", "devices.py", "ascend_software.py"}  # of the system
    own |= {"rehearsal_runner.py", "wheel.py"}  # of this package
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name not in own and "importlib.resources" not in text and "from importlib import resources" not in text:
            found = re.findall(
                r"\.read_bytes\(\)|\.read_text\(|(?<![.\w])open\(\w+, \"r|\.open\((?:\"r|encoding|newline|\))", text
            )
            assert not found or "qformer.read_text" in text, (path, found)
