"""`medvqa check`: forty corruptions of a valid run, unreadable files, and valid runs."""

import csv
import io
import json
import os
import stat
import warnings
import zipfile
from pathlib import Path

import pytest
from corruptions import CORRUPTIONS
from runs import IDS, layout, write_knowledge
from typer.testing import CliRunner

from imageclef_vqa.cli import app

HEADER = ("ImageID", "QuestionID", "Question", "Answer")
GUIDE = Path(__file__).parents[1] / "examples" / "checks" / "README.md"


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    return write_knowledge(tmp_path_factory.mktemp("knowledge"))


def check(path, *options):
    """Exit code and parsed output of `medvqa check`."""
    result = CliRunner().invoke(app, ["check", str(path), "--workspace", str(path.parent), "--json", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout) if result.stdout.startswith("{") else result.output


def check_content(tmp_path, content, name="run.json", *options):
    (tmp_path / name).write_bytes(content)
    return check(tmp_path / name, *options)


def test_a_valid_run_has_no_finding(tmp_path, knowledge):
    code, content = check_content(tmp_path, json.dumps(layout()).encode(), "run.json", *knowledge)
    assert (code, content["findings"]) == (0, [])
    assert content["organisers"]["accepts"]


@pytest.fixture(scope="module")
def results(knowledge, tmp_path_factory):
    """What `medvqa check` makes of each corruption."""
    folder = tmp_path_factory.mktemp("corruptions")
    return {each.name: check_content(folder, each.corrupt(), "run.json", *knowledge) for each in CORRUPTIONS}


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=[each.name for each in CORRUPTIONS])
def test_each_corruption_is_found_by_its_check(results, corruption):
    code, content = results[corruption.name]
    assert code == 1
    errors = {each["check"]: each for each in content["findings"] if each["severity"] == "error"}
    assert corruption.check in errors, errors
    found = errors[corruption.check]
    assert corruption.message in f"{found['message']} ({'; '.join(found['examples'])})"
    assert found["remedy"]
    assert found["count"] >= len(found["examples"]) >= 1


def table(results):
    """The table of the guide, from what is found now."""
    rows = ["| corruption | `medvqa check` says | organisers' checker |", "|---|---|---|"]
    for corruption in CORRUPTIONS:
        _, content = results[corruption.name]
        verdict = "accepts" if content["organisers"]["accepts"] else "ends with a traceback"
        rows.append(f"| {corruption.name} | `{corruption.check}` | {verdict} |")
    return "\n".join(rows)


def test_the_table_in_the_guide_is_true(results):
    found = table(results)
    assert len(CORRUPTIONS) == len({each.name for each in CORRUPTIONS}) == 40
    assert found.count("| accepts |") == 38
    assert found in GUIDE.read_text(encoding="utf-8")


def as_csv(delimiter=",", end="\n", header=HEADER):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerows([header] if header else [])
    for image_id, entries in layout().items():
        writer.writerows((image_id, e["QuestionID"], e["Question"], "; ".join(e["Answer"])) for e in entries)
    return text.getvalue()


def archive(*members):
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # two members of one name
        for name, text in members:
            file.writestr(name, text)
    return content.getvalue()


def link():
    member = zipfile.ZipInfo("task1/run.json")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


RUN = json.dumps(layout())
HOPELESS = {
    "an empty file.json": (b"", "syntax", "the file is empty"),
    "an empty file.csv": (b"", "columns", "the file is empty"),
    "no image.json": (b"{}", "empty", "the file holds no answer"),
    "a header alone.csv": (",".join(HEADER).encode() + b"\n", "empty", "the file holds no answer"),
    "a list.json": (b"[]", "structure", "not an object of images"),
    "null.json": (b"null", "structure", "not an object of images"),
    "a later edition.json": (b'{"predictions": []}', "structure", "--edition gi-2025"),
    "deeply nested.json": (b"[" * 1_000_000, "syntax", "nested too deeply"),
    "nested objects.json": (b'{"a":' * 100_000, "syntax", "nested too deeply"),
    "an endless number.json": (RUN.replace('ID": 3', 'ID": ' + "1" * 10**6, 1).encode(), "question-id", "not 0 to 17"),
    "no number.json": (RUN.replace('["Yes"]', "NaN", 1).encode(), "syntax", "not JSON: NaN"),
    "too large.json": (b" " * (17 << 20), "size", "over 16 MiB"),
    "a byte order mark.json": (b"\xef\xbb\xbf" + RUN.encode(), "byte-order-mark", "byte order mark"),
    "Latin 1.json": (RUN.replace("Pink", "Pinké", 1).encode() + b"\xe9", "text", "not UTF-8"),
    "a workbook.csv": (b"PK\x03\x04\xff\xfe", "text", "a spreadsheet's own file"),
    "semicolons.csv": (as_csv(";").encode(), "columns", "separated by semicolons"),
    "tabs.csv": (as_csv("\t").encode(), "columns", "separated by tabs"),
    "no header.csv": (as_csv(header=()).encode(), "columns", "the header is missing"),
    "columns swapped.csv": (as_csv(header=(*HEADER[1::-1], *HEADER[2:])).encode(), "columns", "are in the order"),
    "cut off.csv": (as_csv().encode()[:20_000], "cells", "row"),
    "a stray quote.csv": (as_csv().replace(",Yes", ',"Yes', 1).encode(), "syntax", "never closed"),
    "a stray comma.csv": (as_csv().replace(",Yes", ",Yes,No", 1).encode(), "cells", "5 columns, not 4"),
    "old line ends.csv": (as_csv(end="\r").encode(), "line-ends", "not followed by a line feed"),
    "no suffix.txt": (RUN.encode(), "kind", ".csv, .json or .zip"),
    "two runs.zip": (archive(("task1/a.json", RUN), ("task1/b.json", RUN)), "archive", "task1/a.json, task1/b.json"),
    "one name twice.zip": (archive(("task1/a.json", RUN), ("task1/a.json", RUN)), "archive", "stands twice"),
    "no task1.zip": (archive(("run.json", RUN)), "archive-folder", "task1/"),
    "leading out.zip": (archive(("../run.json", RUN)), "archive", "'../run.json': leads out of the archive"),
    "a link.zip": (archive((link(), "/etc/passwd")), "archive", "'task1/run.json': is a symbolic link"),
    "nested.zip": (archive(("task1/a.zip", archive(("a.json", RUN)))), "archive", "'task1/a.zip': is an archive"),
    "a bomb.zip": (archive(("task1/run.json", b" " * (40 << 20))), "archive", "a decompression bomb"),
    "macOS.zip": (archive(("task1/a.json", RUN), ("__MACOSX/._a.json", "")), "archive", "'__MACOSX/._a.json'"),
    "cut off.zip": (archive(("task1/run.json", RUN))[:2000], "archive", "not a sound zip archive"),
    "my team_clef2023_medvqa.zip": (archive(("task1/run.json", RUN)), "zip-name", "<team>_clef2023_medvqa.zip"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOPELESS)
def test_an_unreadable_file_gets_a_finding_with_the_reason(tmp_path, knowledge, name):
    content, expected, said = HOPELESS[name]
    code, found = check_content(tmp_path, content, name, *knowledge)
    assert code == 1
    errors = {each["check"]: each for each in found["findings"] if each["severity"] == "error"}
    assert said in f"{errors[expected]['message']} {errors[expected]['examples']} {errors[expected]['remedy']}"


@pytest.mark.parametrize("name", [name for name, (_, expected, _) in HOPELESS.items() if expected == "archive"])
def test_score_refuses_the_same_archives_by_name(tmp_path, knowledge, name):
    (tmp_path / name).write_bytes(HOPELESS[name][0])
    result = CliRunner().invoke(app, ["score", str(tmp_path / name), "--gold", knowledge[1]])
    assert result.exit_code == 1
    assert HOPELESS[name][2] in result.output
    assert name in result.output


def test_a_folder_a_missing_file_and_a_pipe_are_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name in (tmp_path, tmp_path / "absent.csv", tmp_path / "pipe.csv"):
        code, output = check(name)
        assert (code, str(name) in output) == (1, True)


def test_a_csv_from_windows_and_a_run_of_strings_get_one_warning_and_no_error(tmp_path, knowledge):
    code, content = check_content(tmp_path, as_csv(end="\r\n").encode(), "run.csv", *knowledge)
    assert (code, [each["check"] for each in content["findings"]]) == (0, ["line-ends"])
    strings = {i: [{**e, "Answer": "; ".join(e["Answer"])} for e in entries] for i, entries in layout().items()}
    code, content = check_content(tmp_path, json.dumps(strings).encode(), "run.json", *knowledge)
    assert (code, [each["check"] for each in content["findings"]]) == (0, ["answer-form"])


def test_test_images_of_a_single_kind_cause_no_error(tmp_path, knowledge):
    for kind in range(3):
        part = dict(list(layout().items())[kind::3])
        (tmp_path / "part.txt").write_text("\n".join(part))
        options = [*knowledge[:2], "--ids", str(tmp_path / "part.txt")]
        assert check_content(tmp_path, json.dumps(part).encode(), "run.json", *options)[0] == 0


def test_without_labels_and_ids_the_file_and_the_answers_of_the_competition_are_checked(tmp_path):
    code, content = check_content(tmp_path, RUN.encode())
    assert (code, content["findings"], content["labels"], content["ids"]) == (0, [], None, None)
    for name in ("an answer in another case", "a set in one string", "a number that is no string", "an empty list"):
        corruption = next(each for each in CORRUPTIONS if each.name == name)
        _, content = check_content(tmp_path, corruption.corrupt())
        assert corruption.check in [each["check"] for each in content["findings"]]


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path, knowledge):
    run = layout()
    run["\x1b[2Jid"] = run.pop(IDS[7])
    (tmp_path / "run.json").write_text(json.dumps(run))
    result = CliRunner().invoke(app, ["check", str(tmp_path / "run.json"), *knowledge])
    assert "\x1b" not in result.output
    assert "\\x1b[2Jid" in result.output


def test_control_characters_do_not_reach_the_terminal_with_the_organisers_verdict(tmp_path):
    first, *others = layout().items()
    (tmp_path / "run.json").write_text(json.dumps({"\x1b[2J\u202e": first[1][:17], **dict(others)}))
    code, content = check(tmp_path / "run.json")
    assert (code, content["organisers"]["says"]) == (1, "question IDs [17] are missing from \\u001b[2J\\u202e")


def test_the_verdict_names_what_the_organisers_checker_would_miss(tmp_path, knowledge):
    run = layout()
    run[IDS[7]] = []
    (tmp_path / "run.json").write_text(json.dumps(run))
    output = CliRunner().invoke(app, ["check", str(tmp_path / "run.json"), *knowledge]).output
    assert "would accept it: it looks at 1 image of 60 and at no answer, and misses structure" in output
    run[IDS[0]].pop()
    (tmp_path / "run.json").write_text(json.dumps(run))
    output = CliRunner().invoke(app, ["check", str(tmp_path / "run.json"), *knowledge]).output
    assert f"would refuse it: question IDs [17] are missing from {IDS[0]}" in output
