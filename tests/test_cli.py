"""How every command starts and ends: help without Paddle, exit codes, no half-written files."""

import fcntl
import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from click.testing import Result
from rich.table import Column, Table
from typer.main import get_command
from typer.testing import CliRunner

from imageclef_vqa import __version__, cli, devices
from imageclef_vqa.__main__ import main as start
from imageclef_vqa.cli import app, console
from imageclef_vqa.cli.command import PANELS
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import PROGRAMS, UsageError
from imageclef_vqa.submission import write_run
from imageclef_vqa.training import launch

LONG = ("split", "finetune", "predict", "route", "score", "package", "check", "demo")
COMMANDS = get_command(app).commands
WITHOUT_PADDLE = "import sys; sys.modules['paddle'] = sys.modules['paddlenlp'] = None; "
PAGES = [
    [],
    *([name] for name in COMMANDS),
    *([name, sub] for name, each in COMMANDS.items() for sub in getattr(each, "commands", ())),
]


def medvqa(*arguments: str, cwd: Path | None = None) -> Result:
    """The program in this process, in the folder `cwd`."""
    with pytest.MonkeyPatch.context() as patch:
        if cwd is not None:
            patch.chdir(cwd)
        return CliRunner().invoke(app, arguments)


def test_help_needs_no_paddle_and_nothing_heavy():
    code = (
        f"{WITHOUT_PADDLE}from imageclef_vqa.cli import app\n"
        f"for page in {PAGES!r}:\n"
        "    try: app([*page, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0, page\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'PIL', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == len(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_help_is_not_cut_off(page):
    shown = {
        width: CliRunner().invoke(app, [*page, "--help"], env={"COLUMNS": width, "TERM": "dumb"}).output
        for width in ("80", "120")
    }
    assert "…" not in shown["80"] + shown["120"]
    unfolded = "".join(shown["120"].replace("│", "").split())
    command = get_command(app)
    for name in page:
        command = command.commands[name]
    for parameter in command.params:
        assert "".join(parameter.help.split()) in unfolded, parameter.name


@pytest.mark.parametrize("width", ["26", "60"])
def test_a_table_that_a_narrow_terminal_would_cut_is_printed_row_by_row(monkeypatch, capsys, width):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as at a terminal
    monkeypatch.setenv("COLUMNS", width)
    table = Table("stage", Column("chosen on val", no_wrap=True), Column("test", no_wrap=True), title="run", box=None)
    table.add_row("1", "2: loss 8.745")
    table.add_row("2", "3: exact 0.903", "0.870")
    console.print_table(table)
    shown = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "…" not in shown
    assert shown.count("chosen on val") == (2 if width == "26" else 1)
    for text in ("run", "2: loss 8.745", "3: exact 0.903", "0.870"):
        assert text in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= int(width)


def test_columns_that_would_have_no_width_are_printed_row_by_row(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    table = Table(Column("preset", no_wrap=True), "peak", "time", "ratio")
    table.add_row("vit-g-t5-base", "30.3 GB", "13.9 min", "4.7")
    console.print_table(table)
    shown = " ".join(re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).split())
    assert shown == "preset vit-g-t5-base; peak 30.3 GB; time 13.9 min; ratio 4.7"


@pytest.mark.parametrize(("width", "lines"), [("200", 1), ("30", 3)])
def test_lines_are_wrapped_at_a_terminal_unless_they_are_verbatim(monkeypatch, capsys, width, lines):
    monkeypatch.setenv("COLUMNS", width)
    text = "error: no preset is called 'nope'; there are: vit-g-t5-base, vit-g-t5-3b"
    for terminal, verbatim, expected in ((True, False, lines), (True, True, 1), (False, False, 1)):
        monkeypatch.setattr("sys.stdout.isatty", lambda terminal=terminal: terminal)
        console.echo(text, verbatim=verbatim)
        shown = capsys.readouterr().out
        assert shown.count("\n") == expected
        assert " ".join(shown.split()) == text
        assert verbatim or not terminal or max(map(len, shown.splitlines())) <= int(width)


def test_every_name_in_a_panel_is_an_option():
    for name, panels in PANELS.items():
        options = {parameter.name for parameter in COMMANDS[name].params}
        assert {each for names in panels.values() for each in names.split()} <= options


def test_long_help_is_in_panels():
    for name in ("finetune", "predict", "route", "score", "package", "plan"):
        panels = [getattr(parameter, "rich_help_panel", None) for parameter in COMMANDS[name].params]
        assert max(panels.count(panel) for panel in panels) <= 12, name


@pytest.mark.parametrize("program", ["medvqa", "imageclef-vqa"])
def test_the_shell_completes_commands_under_both_names(program):
    completing = {f"_{program.replace('-', '_').upper()}_COMPLETE": "complete_bash"}
    words = {"COMP_WORDS": f"{program} fine", "COMP_CWORD": "1"}
    code = f"import sys; sys.argv = [{program!r}]; from imageclef_vqa.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | completing | words
    )
    assert done.stdout.split() == ["finetune"], done.stderr


@pytest.mark.parametrize("program", ["medvqa", "imageclef-vqa"])
def test_hints_name_the_program_as_it_was_called(tmp_path, monkeypatch, program):
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/{program}"])
    monkeypatch.chdir(tmp_path)
    assert f"`{program} finetune --stage 1`" in CliRunner().invoke(app, ["runs"]).output
    assert (
        f"`{program} package --out run.csv` makes one"
        in CliRunner().invoke(app, ["package", "--verify", "run.csv"]).output
    )
    (tmp_path / "medvqa.toml").write_text("[split]\nvall = 0.1")
    refused = CliRunner().invoke(app, ["split"]).output
    assert f"`{program} split --help`" in refused
    assert "medvqa.toml: [split]" in refused
    assert CliRunner().invoke(app, ["--version"]).output == f"{program} {__version__}\n"


def test_all_output_goes_through_the_functions_that_name_the_program():
    for file in Path(cli.__file__).parent.glob("*.py"):
        if file.name != "console.py":
            assert not re.search(r"typer\.s?echo|typer\.secho|\bprint\(", file.read_text(encoding="utf-8")), file.name


@pytest.mark.parametrize(
    ("arguments", "settings", "new"),
    [
        ("package --profile gi-2025", "", "--profile has a new name: --edition"),
        ("check run.csv --profile=gi-2025", "", "--profile has a new name: --edition"),
        ("route --expert linear", "", "--expert linear has a new name: --expert classical"),
        ("package", '[package]\nprofile = "gi-2025"', "medvqa.toml: [package] --profile has a new name: --edition"),
        ("route", '[route]\nexpert = ["linear"]', "[route] --expert linear has a new name: --expert classical"),
    ],
)
def test_an_old_option_or_key_is_refused_with_its_new_name(tmp_path, monkeypatch, arguments, settings, new):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medvqa.toml").write_text(settings)
    done = CliRunner().invoke(app, arguments.split())
    assert done.exit_code == 2
    assert new in done.output


def test_scoring_a_file_needs_no_paddle(tmp_path):
    row = {"Question": QUESTIONS[4].text, "AnswerType": "Yes/No", "Answer": ["Yes"]}
    (tmp_path / "gt.json").write_text(json.dumps([{"ImageID": "img1", "Labels": [row]}]))
    write_run(tmp_path / "run.csv", {("img1", 4): ("Yes",)}, ["img1"])
    code = (
        f"{WITHOUT_PADDLE}from imageclef_vqa.cli import app\n"
        "try: app(['score', 'run.csv', '--gold', 'gt.json', '--json'])\n"
        "except SystemExit as end: assert end.code == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["global"]["exact_set"] == 1.0


@pytest.mark.parametrize(("typed", "meant"), [("scor", "'score'"), ("weights sho", "'show'")])
def test_a_mistyped_command_is_corrected(typed, meant):
    done = medvqa(*typed.split())
    assert done.exit_code == 2
    assert meant in done.stderr


def test_the_chain_stands_first_in_the_order_of_use():
    shown = CliRunner().invoke(app, ["--help"]).output
    chain = ["split", "finetune", "predict", "route", "score", "package", "check"]
    lines = [shown.index(f"│ {name} ") for name in chain]
    assert lines == sorted(lines)


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
    assert done.exit_code == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_that_is_not_there_is_named_with_what_to_install(tmp_path):
    done = medvqa("finetune", "--stage", "2", "--device", "npu", cwd=tmp_path)
    assert done.exit_code == 1
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


@pytest.mark.parametrize("name", ["tpu", "NPU", "npu:", "npu:-1", "npu:01", "npu:1e3", "cpu:0", "gpu 0", ""])
def test_what_is_no_device_name_is_refused(name):
    with pytest.raises(UsageError, match=r"use cpu, gpu, gpu:<i>, npu, npu:<i> or auto"):
        devices.check_name(name)
    with pytest.raises(UsageError, match=r"use cpu, gpu, gpu:<i>, npu, npu:<i> or auto"):
        devices.check_device(name)


@pytest.mark.parametrize("name", ["auto", "cpu", "gpu", "npu", "gpu:0", "npu:12"])
def test_a_device_name_is_taken(name):
    assert devices.check_name(name) == name


@pytest.mark.parametrize("line", ["ask nowhere.jpg 3", "doctor"])
def test_a_command_refuses_what_is_no_device_name(line):
    result = CliRunner().invoke(app, [*line.split(), "--device", "tpu"])
    assert result.exit_code == 2
    assert "use cpu, gpu, gpu:<i>, npu, npu:<i> or auto" in result.output


def test_settings_in_the_workspace_are_defaults_of_options(tmp_path):
    (tmp_path / "medvqa.toml").write_text('[split]\nval = 7.0\n[data]\ndevelopment = "elsewhere"\n')
    assert "--val 7" in medvqa("split", cwd=tmp_path).stderr
    assert "elsewhere/images: there is no such folder" in medvqa("split", "--val", "0.1", cwd=tmp_path).stderr


def test_one_value_in_the_settings_is_enough_for_an_option_that_may_be_repeated(tmp_path):
    for settings in ('fold = "tset"', 'fold = ["val", "tset"]'):
        (tmp_path / "medvqa.toml").write_text(f"[predict]\n{settings}\n")
        assert "'tset' is not one of val, test, train" in medvqa("predict", cwd=tmp_path).stderr


def test_keys_of_the_settings_are_spelled_as_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medvqa.toml").write_text("[runs]\njson = true\n")
    assert json.loads(CliRunner().invoke(app, ["runs"]).output) == {"runs": []}


def test_the_edition_of_the_data_is_that_of_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.csv").write_text("")
    (tmp_path / "medvqa.toml").write_text('[data]\nedition = "gi-1999"\n')
    for command in ("check run.csv", "package"):
        refused = CliRunner().invoke(app, command.split())
        assert refused.exit_code == 2
        assert "gi-1999" in refused.output
    (tmp_path / "medvqa.toml").write_text('[data]\nedition = "gi-2025"\n')
    assert CliRunner().invoke(app, ["check", "run.csv", "--edition", "gi-2023"]).exit_code == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[split]\nvall = 0.1", "[split] vall: unknown; there are workspace, val, folds"),
        ("[splt]\nval = 0.1", "no command is called splt"),
        ("[data]\nplace = 'x'", "[data] place: unknown; there are development, test, edition"),
        ("val = 0.1", "every key belongs to a table"),
        ("[split", "medvqa.toml"),
    ],
)
def test_a_mistake_in_the_settings_is_told_in_words(tmp_path, settings, message):
    (tmp_path / "medvqa.toml").write_text(settings)
    done = medvqa("split", cwd=tmp_path)
    assert done.exit_code == 2
    assert message in done.stderr


INTERRUPTED = """
import os, signal, sys
from imageclef_vqa import synthetic
from imageclef_vqa.cli import main
from imageclef_vqa.workspace import Workspace
at = Workspace.at.__func__
def interrupted(*words, **options):
    os.kill(os.getpid(), signal.SIGINT)
    return at(*words)
Workspace.at = classmethod(interrupted)
synthetic.write_synthetic_dataset = interrupted
for line in sys.argv[1:]:
    sys.argv = ["medvqa", *line.split()]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a command that ends takes no second signal
    try:
        main()
    except SystemExit as done:
        print(done.code)
"""


def test_ctrl_c_ends_a_command_with_130_and_leaves_no_part_of_a_file(tmp_path):
    """The signal arrives as soon as the command touches the workspace; in one process, since most of it is imports."""
    words = {"finetune": "--stage 1", "check": "run.csv", "demo": "--keep demo"}
    command = [sys.executable, "-c", INTERRUPTED, *(f"{name} {words.get(name, '')}" for name in LONG)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["130"] * len(LONG), done.stderr
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


def test_a_place_that_cannot_be_written_is_named_even_to_root(tmp_path):
    (tmp_path / "data/development/images").mkdir(parents=True)
    (tmp_path / "work").write_text("a file where a folder should be")
    done = medvqa("split", cwd=tmp_path)
    assert done.exit_code == 1
    assert "cannot write work" in done.stderr


def test_a_second_run_while_one_is_writing_is_told_who_writes(tmp_path):
    (tmp_path / "data/development/images").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    with (tmp_path / "work" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4242")
        lock.flush()
        done = medvqa("split", cwd=tmp_path)
    assert done.exit_code == 1
    assert "work is being written by process 4242" in done.stderr


def test_the_program_has_two_names():
    scripts = {each.name: each.load() for each in distribution("imageclef-vqa").entry_points}
    assert scripts == dict.fromkeys(PROGRAMS, start)


def test_python_m_runs_the_program_under_the_name_that_is_always_its_own(tmp_path):
    done = subprocess.run([sys.executable, "-m", "imageclef_vqa", "runs"], capture_output=True, text=True, cwd=tmp_path)
    assert "`imageclef-vqa finetune --stage 1`" in done.stdout
