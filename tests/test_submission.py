import csv
import hashlib
import json
import signal
import stat
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageclef_vqa import files, inputs
from imageclef_vqa.editions import GI_2025, QUESTIONS, learn_vocabulary
from imageclef_vqa.errors import DataError, MedvqaError, UsageError
from imageclef_vqa.submission import (
    RunAnswers,
    arrange,
    check_run,
    hashes,
    make_manifest,
    manifest_path,
    parse_run,
    read_run,
    team_zip,
    write_run,
)
from imageclef_vqa.submission.formats import WRITERS, as_strings, csv_format, zip_format

IDS = [f"cl8k2u1pm1dw70832{number:08d}" for number in range(12)]
COLOURS, PLACES = ("Pink", "Red", "White"), ("Center", "Upper-left", "Upper-right")


def labels():
    """Each of a question's first two known answers, half of the time; colours and places as sets."""
    for question in QUESTIONS:
        for number in range(20):
            if question.id in (5, 10):
                yield question.id, (COLOURS if question.id == 5 else PLACES)[: 2 + number % 2]
            else:
                yield question.id, (question.known[number % 2],)


VOCABULARY = learn_vocabulary(labels())


def answers():
    """A valid run: every answer is one that training holds, and no question has but one answer."""
    sets = {question.id: [members for members, _ in VOCABULARY[question.id].sets] for question in QUESTIONS}
    return {
        (image_id, question.id): sets[question.id][index % len(sets[question.id])]
        for index, image_id in enumerate(IDS)
        for question in QUESTIONS
    }


def check(run, ids=IDS, vocabulary=VOCABULARY):
    return check_run(RunAnswers(run, ids, vocabulary))


def answers_in(content, suffix):
    """The answers of a run file; faults are raised."""
    parsed = parse_run(content, "run", suffix)
    parsed.refuse()
    return parsed.answers


def only(findings):
    (finding,) = findings
    return finding


def test_a_valid_run_has_no_findings():
    assert check(answers()) == []


def without(*pairs):
    return {pair: given for pair, given in answers().items() if pair not in pairs}


def with_answer(question_id, *given, image_id=IDS[7]):
    return {**answers(), (image_id, question_id): given}


ERRORS = {
    "missing-image": ({p: a for p, a in answers().items() if p[0] != IDS[11]}, "1 of 12 test images are not answered"),
    "missing-answer": (without((IDS[1], 17)), f"{IDS[1]}, question 17"),
    "unknown-image": ({**answers(), ("stranger", 0): ("Colonoscopy",)}, "stranger"),
    "extension": ({**answers(), (f"{IDS[0]}.jpg", 0): ("Colonoscopy",)}, f"{IDS[0]}.jpg"),
    "empty": (with_answer(4, " "), f"{IDS[7]}, question 4"),
    "repeated": (with_answer(5, "Pink", "Pink"), "1 answer names a member twice"),
    "formula": (with_answer(0, "=1+1"), "begins like a spreadsheet's formula"),
    "encoding": (with_answer(0, "Colono\0scopy"), "holds a NUL"),
    "vocabulary": (with_answer(0, "colonoscopy"), "'colonoscopy', spelt 'Colonoscopy' in training"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_is_found_wherever_it_stands(name):
    run, message = ERRORS[name]
    found = {finding.check: finding for finding in check(run)}
    assert found[name].severity == "error"
    assert message in str(found[name])


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "  =", "\u200b@", "\ufeff+"]
)
def test_a_spreadsheets_formula_is_an_error_even_in_the_vocabulary(start):
    vocabulary = learn_vocabulary([*labels(), (0, (f"{start}1",))])
    assert "formula" in {f.check for f in check(with_answer(0, f"{start}1"), vocabulary=vocabulary)}
    assert "formula" not in {f.check for f in check(with_answer(16, "< 5mm"))}


def test_all_findings_come_at_once_errors_first():
    run = {pair: ("Pink",) if pair[1] == 5 else given for pair, given in without((IDS[1], 17)).items()}
    findings = check(run | {(IDS[2], 0): ("Endoscopy",)})
    assert [finding.severity for finding in findings] == ["error"] * 3 + ["warning"]
    assert {finding.check for finding in findings} == {"missing-answer", "vocabulary", "arity", "constant"}


def test_one_value_where_training_has_many_is_a_warning_with_both_means():
    run = {pair: ("Center",) if pair[1] == 10 and pair[0] != IDS[0] else given for pair, given in answers().items()}
    finding = only(check(run))
    assert finding.severity == "warning"
    assert "question 10: you answer 1.1 values on average, the training labels 2.5" in str(finding)


def test_a_question_answered_alike_for_all_images_is_a_warning():
    finding = only(check({pair: ("Yes",) if pair[1] == 4 else given for pair, given in answers().items()}))
    assert "question 4: all 12 answers are 'Yes', 50% in training" in str(finding)


def test_an_untrained_question_is_a_warning():
    vocabulary = learn_vocabulary(label for label in labels() if label[0] != 6)
    assert "6: What color is the anatomical landmark?" in str(only(check(answers(), vocabulary=vocabulary)))


def test_an_id_that_could_leave_a_folder_is_an_error():
    bad = "../etc"
    run = {(bad if image_id == IDS[0] else image_id, q): given for (image_id, q), given in answers().items()}
    assert only(check(run, ids=[bad, *IDS[1:]])).check == "record"


def test_a_run_needs_all_questions_of_an_image_in_order():
    shuffled = sorted(answers(), key=lambda pair: (IDS.index(pair[0]), -pair[1] if pair[0] == IDS[3] else pair[1]))
    finding = only(check({pair: answers()[pair] for pair in shuffled}))
    assert (finding.check, finding.examples) == ("question-order", (IDS[3],))


def test_images_stand_in_the_order_of_the_list_and_questions_by_id(tmp_path):
    shuffled = dict(sorted(answers().items(), reverse=True))
    write_run(tmp_path / "run.json", shuffled, IDS)
    content = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert list(content) == IDS
    assert [entry["QuestionID"] for entry in content[IDS[0]]] == list(range(18))
    assert content[IDS[0]][10]["Answer"] == ["Center", "Upper-left"]
    assert content[IDS[0]][9]["Question"] == "How many instrumnets are in the image?"


def test_a_csv_has_one_row_per_answer_and_sets_in_one_cell(tmp_path):
    write_run(tmp_path / "run.csv", answers(), IDS)
    with (tmp_path / "run.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 18
    assert rows[5] == {
        "ImageID": IDS[0],
        "QuestionID": "5",
        "Question": "What color is the abnormality?",
        "Answer": "Pink; Red",
    }


def test_the_zip_holds_one_run_under_task1_and_is_the_same_each_time(tmp_path):
    for name in ("one.zip", "other.zip"):
        write_run(tmp_path / name, answers(), IDS)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "one.zip").namelist() == ["task1/run.json"]


text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), min_size=1, max_size=12)
awkward = st.sampled_from(["a,b", 'say "x"', "two\nlines", "a; b", "; ", '["a"]', "Grün", "息肉", "< 5mm", " ", "a;"])
cells = st.lists(text | awkward, min_size=1, max_size=4, unique=True).map(tuple)
pairs = st.tuples(st.sampled_from(IDS), st.integers(0, 17))


@given(st.dictionaries(pairs, cells, min_size=1, max_size=20))
def test_every_format_reads_back_what_was_written(run):
    for name in ("csv", "json", "zip"):
        assert answers_in(WRITERS[name](arrange(run, IDS)), f".{name}") == run


@given(st.dictionaries(pairs, cells, min_size=1, max_size=20))
def test_answers_as_strings_and_later_editions_read_back_too(run):
    for name in ("json", "zip"):
        parsed = parse_run(WRITERS[name](as_strings(arrange(run, IDS))), "run", f".{name}")
        assert (parsed.form, parsed.as_lists()) == ("string", run)
    later = parse_run(WRITERS["predictions"](arrange(run, IDS, GI_2025)), "run", ".json", GI_2025)
    assert (later.faults, later.answers) == ([], run)


@given(st.dictionaries(pairs, cells, min_size=1, max_size=20), st.randoms())
def test_the_order_of_answers_in_memory_does_not_change_a_file(run, random):
    shuffled = list(run.items())
    random.shuffle(shuffled)
    for write in WRITERS.values():
        assert write(arrange(dict(shuffled), IDS)) == write(arrange(run, IDS))


def test_a_full_disk_leaves_the_old_run_whole(tmp_path):
    """In a process whose files may have 4 KiB: the kernel refuses the rest of the new run."""
    write_run(tmp_path / "run.csv", answers(), IDS)
    before = (tmp_path / "run.csv").read_bytes()
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from imageclef_vqa.submission import read_run, write_run\n"
        "from imageclef_vqa.errors import MedvqaError\n"
        "run = Path(sys.argv[1])\n"
        "answers = read_run(run)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_run(run, answers, [])\n"
        "except MedvqaError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run.csv")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(files.__file__).parents[1])
    assert "cannot write" in done.stdout, done.stderr
    assert (tmp_path / "run.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]


def test_a_crash_while_writing_leaves_the_old_run_whole(tmp_path, monkeypatch):
    path = tmp_path / "run.csv"
    path.write_text("the old run")

    def killed(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_run(path, answers(), IDS)
    assert path.read_text() == "the old run"
    assert [each.name for each in tmp_path.iterdir()] == ["run.csv"]


def test_the_hash_of_a_file_is_that_of_all_its_bytes(tmp_path):
    content = bytes(range(256)) * 8193  # two blocks and a part of one
    (tmp_path / "file").write_bytes(content)
    assert inputs.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    with pytest.raises(MedvqaError, match=r"cannot read .*absent: there is no such file"):
        inputs.sha256(tmp_path / "absent")


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_kill_while_writing_leaves_the_old_run_whole(tmp_path, step):
    write_run(tmp_path / "run.csv", answers(), IDS)
    before = (tmp_path / "run.csv").read_bytes()
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from imageclef_vqa.submission import read_run, write_run\n"
        "run = Path(sys.argv[1])\n"
        "answers = read_run(run)\n"
        "answers.popitem()\n"
        f"os.{step} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_run(run, answers, [])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run.csv")]
    done = subprocess.run(command, capture_output=True, cwd=Path(files.__file__).parents[1])
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / "run.csv").read_bytes() == before
    write_run(tmp_path / "run.csv", without((IDS[11], 17)), IDS)  # what the kill left behind hinders nobody
    assert (tmp_path / "run.csv").read_bytes() != before


STOPPED = """
import errno, os, signal, sys
from pathlib import Path
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import write_together
place, how, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def before(function):
    def stopped(*words, **named):
        global left
        left -= 1
        if left < 0 and how == "stop": os.kill(os.getpid(), signal.SIGKILL)
        if left < 0 and function is fsync: raise OSError(errno.ENOSPC, "No space left on device")
        return function(*words, **named)
    return stopped
fsync = os.fsync
for name in ("fsync", "chmod", "replace", "unlink", "open"): setattr(os, name, before(getattr(os, name)))
try: write_together({place / "run.csv": b"new", place / "run.csv.manifest.json": b"of new"})
except MedvqaError as error: print(error)
"""


@pytest.mark.parametrize("how", ["stop", "full"])
def test_wherever_writing_is_interrupted_run_and_manifest_belong_together(tmp_path, how):
    run, manifest = tmp_path / "run.csv", tmp_path / "run.csv.manifest.json"
    seen = set()
    for left in range(20):
        run.write_bytes(b"old")
        manifest.write_bytes(b"of old")
        command = [sys.executable, "-c", STOPPED, str(tmp_path), how, str(left)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(files.__file__).parents[1])
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        beside = manifest.read_bytes() if manifest.exists() else None
        assert beside in (b"of " + run.read_bytes(), None)
        if "is full" in done.stdout:
            assert (run.read_bytes(), beside) == (b"old", b"of old")
        seen.add((done.returncode, run.read_bytes()))
    assert (0, b"new") in seen
    assert ((-signal.SIGKILL if how == "stop" else 0), b"old") in seen


def test_a_run_that_reads_back_differently_from_disk_leaves_the_old_run_and_manifest(tmp_path, monkeypatch):
    for name in ("run.csv", "run.csv.manifest.json"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(files, "read_bytes", lambda path, largest: b"something else")
    with pytest.raises(MedvqaError, match="does not hold what was written to it"):
        files.write_together({tmp_path / "run.csv": b"new", tmp_path / "run.csv.manifest.json": b"new"})
    assert [(tmp_path / name).read_text() for name in ("run.csv", "run.csv.manifest.json")] == ["old", "old"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_that_does_not_read_back_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "run.csv"
    path.write_text("the old run")
    monkeypatch.setitem(WRITERS, "csv", lambda layout: csv_format.write(layout)[:-20])
    with pytest.raises(MedvqaError, match="does not read back"):
        write_run(path, answers(), IDS)
    assert path.read_text() == "the old run"


def test_an_unknown_suffix_or_half_a_character_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"run\.txt: runs are written as \.csv, \.json, \.zip"):
        write_run(tmp_path / "run.txt", answers(), IDS)
    with pytest.raises(MedvqaError, match="cannot be written as UTF-8"):
        write_run(tmp_path / "run.csv", with_answer(0, "\ud800"), IDS)
    assert list(tmp_path.iterdir()) == []


HEADER = "ImageID,QuestionID,Question,Answer\n"
ROW = "a,4,Is there text?,Yes\n"
BAD_CSV = {
    b"\xff\xfeI\x00m\x00": "line 1: not UTF-8",
    b"": "row 1: columns are , not ImageID, QuestionID, Question, Answer",
    b"ImageID,Question,Answer\n": "row 1: columns are ImageID, Question, Answer",
    (HEADER + ROW + "a,4,Is there text?\n").encode(): "row 3: 3 columns, not 4",
    (HEADER + ROW + ROW).encode(): "row 3: a, question 4 is already answered (row 2)",
    (HEADER + ROW.replace("4", "18")).encode(): "row 2: QuestionID is 18, not 0 to 17",
    (HEADER + ROW.replace("4", "four")).encode(): "row 2: QuestionID is 'four', not 0 to 17",
    (HEADER + ROW.replace("4", "3")).encode(): "row 2: question 3 is 'Is there a green/black box artefact?'",
    (HEADER + 'a,4,Is there text?,"[1, 2]"\n').encode(): "row 2: Answer is '[1, 2]'; answers are lists of strings",
    (HEADER + ',4,Is there text?,"Yes\n').encode(): "unexpected end of data",
    (HEADER + f"a,4,Is there text?,{'x' * 140_000}\n").encode(): "field larger than field limit",
}


@pytest.mark.parametrize("content", BAD_CSV, ids=list(BAD_CSV.values()))
def test_an_invalid_csv_is_refused_with_its_row(content):
    with pytest.raises(DataError) as refusal:
        answers_in(content, ".csv")
    assert BAD_CSV[content] in str(refusal.value)


ENTRY = '{"QuestionID": 4, "Question": "Is there text?", "Answer": ["Yes"]}'


def image_with(answer):
    return '{"a": [' + ENTRY.replace('"Answer": ["Yes"]', answer) + "]}"


BAD_JSON = {
    "{": "not JSON",
    "[" * 200_000: "not JSON",
    "[]": "not an object of images",
    '{"a": [' + "{}, " * 100 + "{}]}": "a: 101 answers, an image has 18",
    '{"a": 1}': "a: not a list of answers",
    '{"a": [1]}': "a, answer 1: not an object of QuestionID, Question, Answer",
    f'{{"a": [{ENTRY}], "a": []}}': "'a' stands twice in one object",
    f'{{"a": [{ENTRY}, {ENTRY}]}}': "a, answer 2: a, question 4 is already answered",
    f'{{"a": [{ENTRY.replace("4", "true")}]}}': "QuestionID is True",
    image_with('"Answer": 3'): "Answer is 3; answers are lists of strings",
}


@pytest.mark.parametrize("content", BAD_JSON, ids=list(BAD_JSON.values()))
def test_an_invalid_json_is_refused_with_its_location(content):
    with pytest.raises(DataError) as refusal:
        answers_in(content.encode(), ".json")
    assert BAD_JSON[content] in str(refusal.value)


def test_all_faults_of_a_file_come_at_once():
    with pytest.raises(DataError) as refusal:
        answers_in((HEADER + "a,x,y,z\n" * 30).encode(), ".csv")
    assert len(refusal.value.problems) == 21
    assert refusal.value.problems[-1] == "… and 10 more"


def test_a_byte_order_mark_an_alias_and_a_bare_string_are_read():
    run = "ImageID,QuestionID,Question,Answer\na,9,How many instruments are in the image?,1\n\n"
    assert answers_in(run.encode("utf-8-sig"), ".csv") == {("a", 9): ("1",)}
    joined = image_with('"Answer": "Pink; Red"')
    assert answers_in(joined.encode(), ".json") == {("a", 4): ("Pink; Red",)}


def packed(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, **options)
    return path


def symbolic_link():
    link = zipfile.ZipInfo("task1/run.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return link


RUN = f'{{"a": [{ENTRY}]}}'
BAD_ZIPS = {
    "leads out of the archive": {"../run.json": RUN},
    "'/run.json': leads out": {"/run.json": RUN},
    "is a symbolic link": {symbolic_link(): "/etc/passwd"},
    "is an archive within the archive": {"task1/run.zip": b"PK"},
    "is neither .json nor .csv": {"task1/run.txt": b"PK"},
    "'__MACOSX/task1/._run.json': was added by the system": {"task1/run.json": RUN, "__MACOSX/task1/._run.json": "x"},
    "holds a.json, b.json": {"a.json": RUN, "b.json": RUN},
    "holds nothing": {"task1/": ""},
    "holds 30 files": {f"{number}.json": RUN for number in range(30)},
    "task1/run.json: not JSON": {"task1/run.json": "{"},
}


@pytest.mark.parametrize("message", BAD_ZIPS)
def test_an_invalid_archive_is_refused_with_the_reason(tmp_path, message):
    with pytest.raises(DataError) as refusal:
        read_run(packed(tmp_path / "run.zip", BAD_ZIPS[message]))
    assert message in str(refusal.value)


def test_a_bomb_is_refused_whatever_its_header_says(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_format, "LARGEST", 10_000)
    bomb = packed(tmp_path / "run.zip", {"task1/run.json": "[" * 1_000_000})
    with pytest.raises(DataError, match="too large for a run"):
        read_run(bomb)
    content = bomb.read_bytes().replace((1_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    bomb.write_bytes(content)
    with pytest.raises(DataError):
        read_run(bomb)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content):
    for suffix in (".csv", ".json", ".zip"):
        for prefix in (b"", HEADER.encode(), b"PK\x03\x04"):
            with suppress(DataError):
                answers_in(prefix + content, suffix)


def test_a_run_in_an_archive_reads_as_the_run(tmp_path):
    write_run(tmp_path / "run.zip", answers(), IDS)
    assert read_run(tmp_path / "run.zip") == answers()


def test_a_teams_zip_is_named_as_the_organisers_ask():
    assert team_zip("wsq4747") == "wsq4747_clef2023_medvqa.zip"
    with pytest.raises(UsageError, match="letters, digits"):
        team_zip("../team")


def test_the_manifest_has_the_hash_of_the_run_and_no_path_of_the_machine(tmp_path):
    run, inside = tmp_path / "run.csv", tmp_path / "work" / "split.json"
    write_run(run, answers(), IDS)
    inside.parent.mkdir()
    inside.write_text("{}")

    def manifest():
        return make_manifest(
            run.name,
            run.read_bytes(),
            images=12,
            answers=216,
            fold="test",
            command="medvqa package --out run.csv",
            seed=0,
            data={"test": "f00d"},
            inputs=hashes([inside, tmp_path / "absent"], tmp_path),
            answers_from={"run": "main", "artefact": "predictions/test", "digest": "cafe"},
            scores=None,
            findings=check(without((IDS[0], 0))),
        )

    before = manifest()
    assert manifest_path(run) == tmp_path / "run.csv.manifest.json"
    assert list(before["inputs"]) == ["work/split.json"]
    assert before["findings"][0]["check"] == "missing-answer"
    assert str(tmp_path) not in json.dumps(before)
    write_run(run, with_answer(4, "Yes", image_id=IDS[0]), IDS)
    assert manifest()["run"]["sha256"] != before["run"]["sha256"]
