"""The repository that the organisers run: the template's two sections, the wheel, and the rehearsal of the script."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from small_open import write_open_dataset
from submission_template import TEMPLATE

from imageclef_vqa.data import read_dataset
from imageclef_vqa.editions import MEDICO_2026
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.pipeline.rehearsal import compare, rehearse
from imageclef_vqa.pipeline.submission import loading_section
from imageclef_vqa.submission.sentences import PUBLIC_SCORES, SUBMISSION_INFO, write_sentences
from imageclef_vqa.submission.template import SCRIPT, fill_template, find_template, missing_patterns, read_template
from imageclef_vqa.submission.wheel import pack

TEAM = dict.fromkeys(SUBMISSION_INFO, "someone@somewhere.org")
PARTS = read_template(TEMPLATE, "template")
LOADING = f"SUBMISSION_INFO = {TEAM!r}\nBATCH_SIZE = 2\n"
ANSWERING = 'answers = [f\'{each["question"]} {each["image"].size[0]}\' for each in exs]\n'


@pytest.fixture
def rows(tmp_path):
    """Six rows of two pictures, 96 pixels wide, and the answers of `ANSWERING` to them."""
    write_open_dataset(tmp_path / "data", 2)
    dataset = read_dataset(tmp_path / "data")
    listed = [
        {"img_id": each.image_id, "question": asked.text, "answer": each.answers[row][0], "image": str(each.image)}
        for each in dataset.examples
        for row, asked in each.questions.items()
    ]
    return listed, [f"{row['question']} 96" for row in listed]


def repository(folder, script):
    folder.mkdir()
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    return folder


def test_a_filled_template_keeps_every_other_line_and_the_indentation():
    script = fill_template(PARTS, LOADING, ANSWERING)
    assert "".join(PARTS) == TEMPLATE
    assert read_template(script, "script").fixed == PARTS.fixed
    assert f"\n    {ANSWERING}" in script
    compile(script, SCRIPT, "exec")
    assert missing_patterns(script, MEDICO_2026.private_set) == []
    assert len(missing_patterns(script.replace("seed=42", "seed=43"), MEDICO_2026.private_set)) == 1


@pytest.mark.parametrize("line", ["EDIT SECTION 1", "END OF DETAILS", "EDIT SECTION 2", "END OF ANSWER"])
def test_a_template_without_its_marks_is_refused(line):
    damaged = "".join(each for each in TEMPLATE.splitlines(keepends=True) if line not in each)
    with pytest.raises(MedvqaError, match="0 lines with"):
        read_template(damaged, "template")


def test_without_the_organisers_package_a_template_must_be_named(monkeypatch, tmp_path):
    monkeypatch.setattr("imageclef_vqa.submission.template.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="no template of medico-2026"):
        find_template("medico-2026", None)
    with pytest.raises(UsageError, match="no such file"):
        find_template("medico-2026", tmp_path / "none.py")


def test_the_section_of_details_names_the_team_and_loads_the_model():
    scope = {}
    lines = loading_section(TEAM | {"Team_Name": "a 'b' \"c\""}, "org/name").splitlines()
    exec("\n".join(line for line in lines if "load_submission" not in line), scope)
    assert scope["SUBMISSION_INFO"]["Team_Name"] == "a 'b' \"c\""
    assert scope["BATCH_SIZE"] > 0
    assert "submitted = load_submission('org/name', beside=__file__)" in lines


def test_a_rehearsal_runs_the_script_to_its_end_and_compares_its_file(tmp_path, rows):
    folder = repository(tmp_path / "repository", fill_template(PARTS, LOADING, ANSWERING))
    done = rehearse(folder, PARTS, MEDICO_2026.private_set, *rows)
    assert done.rows == 6
    assert set(done.scores) == {"bleu", "rouge1", "rouge2", "rougeL", "meteor"}
    assert [path.name for path in folder.iterdir()] == [SCRIPT]  # it runs in a copy


def test_other_answers_than_ours_fail_the_rehearsal(rows):
    listed, answers = rows
    order = np.random.default_rng(42).permutation(6)
    written = [(listed[at]["img_id"], listed[at]["question"], answers[at]) for at in order]
    measures = dict.fromkeys(("total_time", "time_per_item", "memory_used_mb", "model_memory_mb"), 1)
    header = {"submission_info": TEAM, "public_scores": dict.fromkeys(PUBLIC_SCORES, 0.5), **measures}
    content = write_sentences(written, header | {"gpu_name": "cpu", "debug": {}})
    assert compare(content, listed, answers).rows == 6
    with pytest.raises(MedvqaError, match=r"not those of the run:\nrow \d: the script says .* 96', the run 'another'"):
        compare(content, listed, [*answers[:-1], "another"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("+= [", "+= list("), "lines outside the two sections differ"),
        (lambda text: text.replace("BATCH_SIZE = 2", "BATCH_SIZE = 2\nraise SystemExit('no model')"), "no model"),
        (lambda text: text.replace("BATCH_SIZE = 2", "BATCH_SIZE = 2\n" + _CONNECT), "a rehearsal has no network"),
    ],
)
def test_a_script_that_would_be_refused_fails_its_rehearsal(tmp_path, rows, change, message):
    folder = repository(tmp_path / "repository", change(fill_template(PARTS, LOADING, ANSWERING)))
    with pytest.raises(MedvqaError, match=message):
        rehearse(folder, PARTS, MEDICO_2026.private_set, *rows)


_CONNECT = "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/')\n"


def test_a_wheel_holds_files_metadata_and_their_hashes():
    name, content = pack("1.2", {"imageclef_vqa/__init__.py": b"x = 1\n"}, {"METADATA": "Name: imageclef-vqa\n"})
    assert name == "imageclef_vqa-1.2-py3-none-any.whl"
    assert pack("1.2", {"imageclef_vqa/__init__.py": b"x = 1\n"}, {"METADATA": "Name: imageclef-vqa\n"})[1] == content
    with zipfile.ZipFile(BytesIO(content)) as wheel:
        assert wheel.testzip() is None
        record = wheel.read("imageclef_vqa-1.2.dist-info/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in record} == set(wheel.namelist())
    assert record[0].startswith("imageclef_vqa/__init__.py,sha256=")
    assert record[0].endswith(",6")
    assert Path(name).suffix == ".whl"
