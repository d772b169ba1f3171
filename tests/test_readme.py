"""What the README and the guides show exists: commands with their options, links, settings, and Python."""

import json
import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest
from small_dataset import write_dataset
from trained import write_run
from typer.main import get_command
from typer.testing import CliRunner

from imageclef_vqa import ascend
from imageclef_vqa.cli import app
from imageclef_vqa.cli.settings import check_settings
from imageclef_vqa.workspace import Workspace

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.md"))}
BLOCK = re.compile(r"```(\w*)\n(.*?)```", flags=re.DOTALL)
BLOCKS = BLOCK.findall(README)
BLOCKS_OF: dict[str, list[str]] = defaultdict(list)
for kind, block in BLOCKS:
    BLOCKS_OF[kind].append(block)


def typed(text):
    """The commands in shell blocks and in backticks of a Markdown file; ellipses and forms of use are left out."""
    blocks = BLOCK.findall(text)
    lines = [line for kind, block in blocks if kind == "sh" for line in block.splitlines()]
    found = [part for line in lines for part in re.findall(r"medvqa [^&|]*", line) if not line.startswith("python -m")]
    found += re.findall(r"`(medvqa [^`]*)`", BLOCK.sub("", text))
    commands = {part.split("#")[0].strip() for part in found}
    return {each for each in commands if not re.search(r"COMMAND|--version|--help|--install", each)}


TYPED = sorted({command for text in (README, *GUIDES.values()) for command in typed(text)})


def test_the_two_set_up_commands_come_first():
    assert BLOCKS[0][1].splitlines() == ["pip install . && medvqa demo", "pip install '.[dev]' && pytest"]


def test_the_readme_is_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_the_readme_shows_every_command():
    shown = {word for each in re.findall(r"`([^`]*)`", README) for word in re.findall(r"^[\w-]+", each)}
    assert set(get_command(app).commands) <= shown


@pytest.mark.parametrize("path", [ROOT / "README.md", *GUIDES], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_exist(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target
    for name in re.findall(r"\b(?:examples|tests|imageclef_vqa)/[\w./-]*\w", text):
        assert (ROOT / name).exists(), name


def test_the_contents_name_every_guide():
    contents = GUIDES[ROOT / "examples" / "README.md"]
    linked = {(ROOT / "examples" / target).resolve() for target in re.findall(r"\]\(([^)]+)\)", contents)}
    assert set(GUIDES) - {ROOT / "examples" / "README.md"} <= linked


@pytest.mark.parametrize("line", TYPED)
def test_every_command_of_the_readmes_exists_with_its_options(line, monkeypatch):
    monkeypatch.setattr(ascend, "plugin", Path)  # as where there are NPUs
    _, name, *arguments = shlex.split(line)
    command = get_command(app).commands[name]
    if hasattr(command, "commands"):  # a group, as `medvqa weights convert`
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if not arguments:  # only named, as in a sentence
        return
    context = command.make_context(name, arguments, resilient_parsing=False)
    assert context.params


SETTINGS = [*BLOCKS_OF["toml"], (ROOT / "examples" / "medvqa.toml").read_text(encoding="utf-8")]


def test_there_are_settings_to_accept():
    assert len(SETTINGS) >= 2


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_of_the_readme_are_accepted(tmp_path, settings):
    (tmp_path / "medvqa.toml").write_text(settings, encoding="utf-8")
    commands = get_command(app).commands
    tables = check_settings(tmp_path, commands)
    assert tables
    Workspace.at(tmp_path)
    for name in tables:
        arguments = ["--stage", "1"] if name == "finetune" else []
        with get_command(app).make_context("medvqa", [name]) as context:
            made = commands[name].make_context(name, ["-w", str(tmp_path), *arguments], parent=context)
        assert {key: str(made.params[key]) for key in tables[name]} == {
            key: str(value) for key, value in tables[name].items()
        }


def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    """With few pictures, as Jupyter would run it: every cell in one namespace."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for cell in json.loads((ROOT / "examples/notebooks/first_run.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace("images=60, test=10", "images=16, test=2")
            exec(compile(source, "first_run.ipynb", "exec"), namespace)
    assert (tmp_path / "first-run/run.csv").is_file()
    assert 0 < namespace["scores"].mean <= 1


def test_the_card_of_a_run_has_its_scores_with_intervals(tmp_path):
    write_dataset(tmp_path / "data/development", count=8)
    workspace = Workspace.at(tmp_path)
    write_run(workspace, seed=0)
    lines = [f"{each} -w {tmp_path}".split() for each in ("card main", "predict --device cpu", "score", "card")]
    before, _, _, after = (CliRunner().invoke(app, line).output for line in lines)
    assert "scores are missing" in before
    assert re.search(r"\| validation, 2 \| [01]\.\d{3} \| ", after), after
    assert "0 of them separated by this split" in after


def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    """In a workspace with a trained run and its packaged answers."""
    assert BLOCKS_OF["python"]
    write_dataset(tmp_path / "data/development", count=8)
    write_dataset(tmp_path / "data/test", count=2)
    workspace = Workspace.at(tmp_path)
    write_run(workspace, seed=0)
    for command in ("predict --device cpu", "package --force"):
        done = CliRunner().invoke(app, [*command.split(), "-w", str(tmp_path)])
        assert done.exit_code == 0, done.output
    monkeypatch.chdir(tmp_path)
    for block in BLOCKS_OF["python"]:
        exec(compile(block.replace("X.jpg", "image0.jpg"), "README.md", "exec"), {})
