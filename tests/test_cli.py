"""How every command begins and ends: help without Paddle, honest exit codes, nothing half-written."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from imageclef_vqa.cli.commands import NAMES
from typer.testing import CliRunner

from imageclef_vqa import devices
from imageclef_vqa.cli import app
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.submission import write_run
from imageclef_vqa.training import launch

LONG = ("split", "finetune", "predict", "route", "score", "package", "check", "demo")
WITHOUT_PADDLE = "import sys; sys.modules['paddle'] = sys.modules['paddlenlp'] = None; "


def medvqa(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "imageclef_vqa", *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.mark.parametrize("name", ["", *NAMES, "import kvasir-vqa"])
def test_help_needs_no_paddle_and_nothing_heavy(name):
    arguments = [*name.split(), "--help"]
    code = (
        f"{WITHOUT_PADDLE}from imageclef_vqa.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'PIL', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_scoring_a_file_for_a_script_loads_neither_pictures_nor_tables_nor_starts_threads(tmp_path):
    row = {"Question": QUESTIONS[4].text, "AnswerType": "Yes/No", "Answer": ["Yes"]}
    (tmp_path / "gt.json").write_text(json.dumps([{"ImageID": "img1", "Labels": [row]}]))
    write_run(tmp_path / "run.csv", {("img1", 4): ("Yes",)}, ["img1"])
    code = (
        f"{WITHOUT_PADDLE}from imageclef_vqa.cli import app\n"
        "try: app(['score', 'run.csv', '--gold', 'gt.json', '--json'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "unused = {'PIL', 'rich', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not unused, unused\n"
        "import os, threadpoolctl\n"
        "assert [each['num_threads'] for each in threadpoolctl.threadpool_info()] == [1]\n"
        "assert 'OPENBLAS_NUM_THREADS' not in os.environ"
    )
    unset = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=unset)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["global"]["exact_set"] == 1.0


def test_a_command_imports_no_other_one():
    code = (
        "import sys\n"
        "from imageclef_vqa.cli import app\n"
        "try: app(['score', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"others = {{f'imageclef_vqa.cli.{{name}}' for name in {NAMES}}} - {{'imageclef_vqa.cli.score'}}\n"
        "assert not others & set(sys.modules), others & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("typed", "meant"), [("scor", "'score'"), ("weights sho", "'show'")])
def test_a_mistyped_command_is_corrected_once(typed, meant):
    done = medvqa(*typed.split())
    assert done.returncode == 2
    assert meant in done.stderr
    assert done.stderr.count("Did you mean") == 1


def test_the_commands_stand_in_the_order_in_which_they_are_typed():
    assert NAMES[:6] == ("split", "finetune", "predict", "route", "score", "package")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["finetune", "--stage", "3"], 2, "Invalid value for '--stage'"),
        (["finetune", "--stage", "1", "--preset", "huge"], 2, "no preset is called 'huge'; there are: tiny"),
        (["split", "--run", "x"], 2, "--run"),
        (["predict", "--run", "../x"], 2, "a name of letters, digits"),
        (["split"], 1, "data/development/images: there is no such folder"),
        (["finetune", "--stage", "2", "--device", "tpu"], 2, "use cpu, gpu, gpu:<i>, npu, npu:<i> or auto"),
    ],
)
def test_a_mistake_is_told_in_words(tmp_path, arguments, code, message):
    done = medvqa(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_that_is_not_there_is_named_with_what_to_install(tmp_path):
    done = medvqa("finetune", "--stage", "2", "--device", "npu", cwd=tmp_path)
    assert done.returncode == 1
    assert "no device npu:0 here; Paddle" in done.stderr
    assert "paddle-custom-npu" in done.stderr
    assert "CANN" in done.stderr
    assert "set_env.sh" in done.stderr


COMPUTING = (
    "finetune --stage 2",
    "finetune --stage 1 --devices 0,1",
    "predict",
    "predict --devices 0,1",
    "route",
    "ask nowhere.jpg 3",
    "demo",
)


@pytest.mark.parametrize("line", COMPUTING)
def test_that_an_npu_is_not_there_is_told_before_anything_is_done(tmp_path, monkeypatch, line):
    monkeypatch.delenv("CUSTOM_DEVICE_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "available_devices", lambda: pytest.fail("Paddle was imported"))
    monkeypatch.setattr(launch, "launch", lambda *_: pytest.fail("processes were started"))
    result = CliRunner().invoke(app, [*line.split(), "--device", "npu:3"])
    assert result.exit_code == 1
    assert "no device npu:3 here" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", [*COMPUTING, "doctor"])
@pytest.mark.parametrize("name", ["tpu", "NPU", "npu:", "npu:-1", "npu:01", "npu:1e3", "cpu:0", "gpu 0", ""])
def test_what_no_device_is_called_is_a_mistake_of_usage(line, name):
    result = CliRunner().invoke(app, [*line.split(), "--device", name])
    assert result.exit_code == 2
    assert "use cpu, gpu, gpu:<i>, npu, npu:<i> or auto" in result.output


def test_settings_in_the_workspace_are_defaults_of_options(tmp_path):
    (tmp_path / "medvqa.toml").write_text('[split]\nval = 7.0\n[data]\ndevelopment = "elsewhere"\n')
    assert "--val 7" in medvqa("split", cwd=tmp_path).stderr
    assert "elsewhere/images: there is no such folder" in medvqa("split", "--val", "0.1", cwd=tmp_path).stderr


def test_one_value_in_the_settings_is_enough_for_an_option_that_may_be_repeated(tmp_path):
    for settings in ('fold = "tset"', 'fold = ["val", "tset"]'):
        (tmp_path / "medvqa.toml").write_text(f"[predict]\n{settings}\n")
        assert "--fold tset: use val or test or train" in medvqa("predict", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[split]\nvall = 0.1", "[split] has no option vall"),
        ("[splt]\nval = 0.1", "no command is called splt"),
        ("[data]\nplace = 'x'", "[data] knows development and test, not place"),
        ("val = 0.1", "every key belongs to a table"),
        ("[split", "medvqa.toml"),
    ],
)
def test_a_mistake_in_the_settings_is_told_in_words(tmp_path, settings, message):
    (tmp_path / "medvqa.toml").write_text(settings)
    done = medvqa("split", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_ends_a_command_with_130_and_leaves_no_part_of_a_file(tmp_path, name):
    """The signal arrives as soon as the command touches the workspace."""
    arguments = {"finetune": ["--stage", "1"], "check": ["run.csv"], "demo": ["--keep", str(tmp_path / "demo")]}.get(
        name, []
    )
    if name == "demo":
        code = (
            "import os, signal\n"
            "from imageclef_vqa import synthetic\n"
            "def interrupted(*a, **k): os.kill(os.getpid(), signal.SIGINT)\n"
            "synthetic.write_synthetic_dataset = interrupted\n"
        )
    else:
        code = (
            "import os, signal, imageclef_vqa.workspace as w\n"
            "at = w.Workspace.at.__func__\n"
            "def interrupted(*a, **k): os.kill(os.getpid(), signal.SIGINT); return at(*a, **k)\n"
            "w.Workspace.at = classmethod(interrupted)\n"
        )
    code += f"import sys; sys.argv = {['medvqa', name, *arguments]!r}\nfrom imageclef_vqa.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ctrl_c_while_paddle_is_imported_waits_until_it_is():
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'paddle.base': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from imageclef_vqa import devices\n"
        "try: devices.prepare('cpu', seed=0)\n"
        "except KeyboardInterrupt: print(hasattr(sys.modules['paddle'], 'Tensor'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    done = medvqa("split", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot write" in done.stderr


def test_a_place_that_cannot_be_written_is_named_even_to_root(tmp_path):
    (tmp_path / "work").write_text("a file where a folder should be")
    done = medvqa("split", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot write work" in done.stderr


def test_a_second_run_while_one_is_writing_is_told_who_writes(tmp_path):
    (tmp_path / "work").mkdir()
    with (tmp_path / "work" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4242")
        lock.flush()
        done = medvqa("split", cwd=tmp_path)
    assert done.returncode == 1
    assert "work is being written by process 4242" in done.stderr


def test_the_program_has_two_names():
    scripts = Path(sys.executable).parent
    for name in ("medvqa", "imageclef-vqa"):
        if not (scripts / name).exists():
            pytest.skip("the package is not installed in this environment")
        done = subprocess.run([scripts / name, "--version"], capture_output=True, text=True)
        assert done.stdout.startswith("medvqa ")
