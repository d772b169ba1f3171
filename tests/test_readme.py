"""What the README tells a reader to type exists, and its demo block runs."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from imageclef_vqa import ascend
from imageclef_vqa.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
SHELL = [line.removeprefix("$ ") for kind, block in BLOCKS if kind in ("sh", "console") for line in block.splitlines()]
PAPER = (Path(__file__).parents[1] / "examples" / "paper" / "README.md").read_text(encoding="utf-8")
QUOTED = [line.split("#")[0].strip("` ") for line in re.findall(r"^medvqa .*$|`medvqa [^`]*`", PAPER, flags=re.M)]
TYPED = sorted({part.split("#")[0].strip() for line in SHELL for part in re.findall(r"medvqa [^&|]*", line)})


def test_the_two_set_up_commands_come_first():
    assert BLOCKS[0][1].splitlines() == ["pip install . && medvqa demo", "pip install '.[dev]' && pytest"]


@pytest.mark.parametrize("line", sorted({*TYPED, *QUOTED}))
def test_every_command_of_the_readmes_exists_with_its_options(line, monkeypatch):
    monkeypatch.setattr(ascend, "plugin", Path)  # as where there are NPUs
    _, name, *arguments = shlex.split(line)
    command = get_command(app).commands[name]
    if hasattr(command, "commands"):  # a group, as `medvqa weights convert`
        command, arguments = command.commands[arguments[0]], arguments[1:]
    context = command.make_context(name, arguments, resilient_parsing=False)
    assert context.params


def test_settings_of_the_readme_are_accepted(tmp_path):
    from imageclef_vqa.cli.options import check_settings

    for kind, block in BLOCKS:
        if kind == "toml":
            (tmp_path / "medvqa.toml").write_text(block, encoding="utf-8")
            check_settings(tmp_path, get_command(app).commands)


def test_python_of_the_readme_runs():
    for kind, block in BLOCKS:
        if kind == "python":
            exec(compile(block, "README.md", "exec"), {})
    assert sys.version_info >= (3, 10)
