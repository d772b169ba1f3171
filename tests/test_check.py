"""`medvqa check`: forty corruptions of a valid run, files that are hardly runs, and runs that are right."""

import json
from pathlib import Path

import pytest
from corruptions import CORRUPTIONS
from runs import layout, write_knowledge
from typer.testing import CliRunner

from imageclef_vqa.cli import app

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    return write_knowledge(tmp_path_factory.mktemp("knowledge"))


def check(path, *options):
    """Exit code and parsed output of `medvqa check`."""
    result = CliRunner().invoke(app, ["check", str(path), "--workspace", str(path.parent), "--json", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout) if result.stdout.startswith("{") else result.output


def spoilt(tmp_path, content, name="run.json", *options):
    (tmp_path / name).write_bytes(content)
    return check(tmp_path / name, *options)


def test_a_valid_run_has_no_finding(tmp_path, knowledge):
    code, content = spoilt(tmp_path, json.dumps(layout()).encode(), "run.json", *knowledge)
    assert (code, content["findings"]) == (0, [])
    assert content["organisers"]["accepts"]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=[each.name for each in CORRUPTIONS])
def test_each_corruption_is_found_for_what_it_is(tmp_path, knowledge, corruption):
    code, content = spoilt(tmp_path, corruption.spoil(), "run.json", *knowledge)
    assert code == 1
    errors = {each["check"]: each for each in content["findings"] if each["severity"] == "error"}
    assert corruption.check in errors, errors
    found = errors[corruption.check]
    assert corruption.said in f"{found['message']} ({'; '.join(found['examples'])})"
    assert found["remedy"]
    assert found["count"] >= len(found["examples"]) >= 1


def table(knowledge, folder):
    """The README's table, from what is found now."""
    rows = ["| corruption | `medvqa check` says | organisers' checker |", "|---|---|---|"]
    for corruption in CORRUPTIONS:
        _, content = spoilt(folder, corruption.spoil(), "run.json", *knowledge)
        verdict = "accepts" if content["organisers"]["accepts"] else "ends with a traceback"
        rows.append(f"| {corruption.name} | `{corruption.check}` | {verdict} |")
    return "\n".join(rows)


def test_the_table_in_the_readme_is_true(tmp_path, knowledge):
    found = table(knowledge, tmp_path)
    assert len(CORRUPTIONS) == len({each.name for each in CORRUPTIONS}) == 40
    assert found.count("| accepts |") == 38
    assert found in README.read_text(encoding="utf-8")
