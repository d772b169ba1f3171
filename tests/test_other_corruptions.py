"""`medvqa check`: corruptions beyond the forty of examples/checks, and no error for true answers."""

import csv
import html
import io
import json
import sys
import warnings
import zipfile
from random import Random

import pytest
from runs import IDS, TRAINING, answers, image_id, layout, write_knowledge
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.editions import QUESTIONS

UTF16_CHECK = "columns" if sys.version_info >= (3, 11) else "syntax"  # before, the csv module reads no NUL
HEADER = ("ImageID", "QuestionID", "Question", "Answer")


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    return write_knowledge(tmp_path_factory.mktemp("knowledge"))


def check(path, *options):
    """Exit code and findings by check, errors before warnings of the same check."""
    result = CliRunner().invoke(app, ["check", str(path), "--workspace", str(path.parent), "--json", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    findings: dict[str, dict] = {}
    for each in json.loads(result.stdout)["findings"]:
        findings.setdefault(each["check"], each)
    return result.exit_code, findings


def rows():
    return [
        [image, str(entry["QuestionID"]), entry["Question"], "; ".join(entry["Answer"])]
        for image, entries in layout().items()
        for entry in entries
    ]


def table(change=lambda row, place: row, header=HEADER, **options):
    """The run as CSV, each row changed."""
    text = io.StringIO()
    changed = [change(row, place) for place, row in enumerate(rows())]
    csv.writer(text, **{"lineterminator": "\n", **options}).writerows([header, *changed] if header else changed)
    return text.getvalue().encode()


def cells(change):
    """The run as CSV, each answer's cell changed."""
    return table(lambda row, place: [*row[:3], change(row[3])])


def one_cell(content, question_id):
    """The run as CSV, one cell of the eighth image replaced."""
    return table(lambda row, place: [*row[:3], content if place == 7 * 18 + question_id else row[3]])


def record(question_id, **changes):
    run = layout()
    run[IDS[7]][question_id].update(changes)
    return json.dumps(run).encode()


def every(change):
    return json.dumps({i: [change(entry) for entry in entries] for i, entries in layout().items()}).encode()


def exchanged(one, other):
    run = layout()
    for entries in run.values():
        entries[one]["Answer"], entries[other]["Answer"] = entries[other]["Answer"], entries[one]["Answer"]
    return json.dumps(run).encode()


def archive(*members, compression=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w", compression) as file:
        warnings.simplefilter("ignore")
        for name, text in members:
            file.writestr(name, text)
    return content.getvalue()


def with_a_gap():
    """A sound archive, with bytes between its file and its directory."""
    sound = archive(("task1/run.json", RUN))
    directory, end = sound.rfind(b"PK\1\2"), sound.rfind(b"PK\5\6")
    start = (directory + 100).to_bytes(4, "little")
    return sound[:directory] + b"#" * 100 + sound[directory : end + 16] + start + sound[end + 20 :]


RUN = json.dumps(layout())
CSV = table()
YES_NO = {"Yes": "No", "No": "Yes"}
CORRUPTIONS = {
    "two byte order marks.csv": (b"\xef\xbb\xbf" * 2 + CSV, "byte-order-mark", "CSV readers take it for text"),
    "the header again.csv": (CSV.replace(b"\n", b"\n" + CSV.partition(b"\n")[0] + b"\n", 1), "question-id", "'Questio"),
    "the file twice.csv": (CSV + CSV, "duplicate", "is already answered (row 2)"),
    "an empty line first.csv": (b"\n" + CSV, "columns", "an empty line comes first"),
    "a comment first.csv": (b"# mine\n" + CSV, "columns", "columns are # mine"),
    "a comma too many.csv": (table(lambda row, _: [*row, ""], (*HEADER, "")), "columns", "one column too many, ''"),
    "pandas' index.csv": (table(lambda row, n: [str(n), *row], ("", *HEADER)), "columns", "one column too many, ''"),
    "a confidence.csv": (table(lambda row, _: [*row, "1"], (*HEADER, "p")), "columns", "one column too many, 'p'"),
    "JSON by another name.csv": (RUN.encode(), "columns", "this is JSON: name it .json"),
    "CSV by another name.json": (CSV, "syntax", "this is CSV: name it .csv"),
    "Python's own.json": (str(layout()).encode(), "syntax", "json.dump writes JSON"),
    "a line each.json": (
        "\n".join(json.dumps({i: e}) for i, e in layout().items()).encode(),
        "syntax",
        "a run is one object",
    ),
    "a comma at the end.json": (RUN[:-1].encode() + b",}", "syntax", "Expecting property name"),
    "labels.json": (json.dumps([{"ImageID": "a", "Labels": []}]).encode(), "structure", "these are labels"),
    "UTF-16 without a mark.csv": (CSV.decode().encode("utf-16-le"), UTF16_CHECK, "as UTF-16 has them"),
    "UTF-32.csv": (CSV.decode().encode("utf-32"), "text", "UTF-32"),
    "numbers with zeros.csv": (table(lambda row, _: [row[0], row[1].zfill(2), *row[2:]]), "question-id", "'00'"),
    "numbers as floats.csv": (table(lambda row, _: [row[0], f"{row[1]}.0", *row[2:]]), "question-id", "'0.0'"),
    "numbers from one.csv": (table(lambda row, _: [row[0], str(int(row[1]) + 1), *row[2:]]), "question-text", "which"),
    "a number that is true.json": (record(1, QuestionID=True), "question-id", "QuestionID is True"),
    "counts as floats.csv": (cells(lambda cell: f"{cell}.0" if cell.isdigit() else cell), "vocabulary", "'1.0'"),
    "a count with a zero.csv": (one_cell("01", 8), "vocabulary", "'01'"),
    "an impossible count.csv": (one_cell("99", 8), "vocabulary", "'99'"),
    "blanks behind commas.csv": (
        table(lambda row, _: [*row[:2], f" {row[2]}", f" {row[3]}"]),
        "question-text",
        "differently from the data",
    ),
    "blanks doubled.csv": (cells(lambda cell: cell.replace(" ", "  ")), "vocabulary", "spelt 'Not relevant'"),
    "what is missing.csv": (one_cell("nan", 5), "vocabulary", "'nan', as programs write what is missing"),
    "HTML.csv": (cells(html.escape), "vocabulary", "as HTML writes '<'"),
    "the model's own.csv": (one_cell("Yes</s>", 4), "vocabulary", "with the model's own '</s>'"),
    "encoded twice.csv": (
        cells(lambda cell: cell.replace("-", "–").encode().decode("cp1252")),
        "characters",
        "LATIN SMALL LETTER A WITH CIRCUMFLEX",
    ),
    "lower case.csv": (cells(str.lower), "vocabulary", "question 0: 'colonoscopy' for 'Colonoscopy'"),
    "plural.csv": (cells(lambda cell: cell.replace("Polyp", "Polyps")), "vocabulary", "'Polyps', nearly 'Polyp'"),
    "Python's lists.csv": (cells(lambda cell: str(cell.split("; "))), "answer-form", "answers are lists of strings"),
    "a semicolon at the end.csv": (cells(lambda cell: f"{cell}; "), "empty", "answers are empty"),
    "commas for semicolons.csv": (cells(lambda cell: cell.replace("; ", ", ")), "joined", "several in one string"),
    "yes for no.json": (
        every(lambda entry: {**entry, "Answer": [YES_NO.get(answer, answer) for answer in entry["Answer"]]}),
        "vocabulary",
        "'Yes'",
    ),
    "two questions' answers.json": (exchanged(10, 11), "contradiction", "contradict each other"),
    "two numbers' answers.json": (exchanged(8, 9), "contradiction", "contradict each other"),
    "another image's again.json": (
        (RUN[:-1] + f', "{IDS[3]}": {json.dumps(layout()[IDS[4]])}}}').encode(),
        "duplicate",
        f"'{IDS[3]}' stands twice",
    ),
    "lists in strings.json": (
        every(lambda entry: {**entry, "Answer": json.dumps(entry["Answer"])}),
        "answer-form",
        "are lists within a string",
    ),
    "an answer twice.json": (
        RUN.replace('"Answer": ["Yes"]', '"Answer": ["No"], "Answer": ["Yes"]', 1).encode(),
        "duplicate",
        "'Answer' stands twice",
    ),
    "rows by question.csv": (
        CSV.partition(b"\n")[0] + b"\n" + b"".join(sorted(CSV.splitlines(True)[1:], key=lambda r: r.split(b",")[1])),
        "torn-image",
        "do not stand together",
    ),
    "half a million images.csv": (
        (",".join(HEADER) + "\n" + "".join(f"i{n},4,Is there text?,Yes\n" for n in range(400_000))).encode(),
        "size",
        "over 120,000 answers, too many for a run",
    ),
    "empty lines.csv": ((",".join(HEADER) + "\n" * 3_000_000).encode(), "size", "over 1,000,000 lines"),
    "wrong throughout.csv": (table(lambda row, _: [row[0], "x", *row[2:]]), "unread", "the rest was not read"),
    "a folder deeper.zip": (archive(("task1/x/run.json", RUN)), "archive-folder", "task1/x/run.json"),
    "a hidden file.zip": (archive(("task1/.run.json", RUN)), "archive", "is hidden"),
    "a name with an escape.zip": (archive(("task1/\x1b[2Jrun.json", RUN)), "archive", "not every system can hold"),
    "a name without an end.zip": (archive((f"task1/{'a' * 9000}.json", RUN)), "archive", "not every system can hold"),
    "another compression.zip": (
        archive(("task1/run.json", RUN), compression=zipfile.ZIP_LZMA),
        "archive",
        "not every program unpacks",
    ),
    "something before.zip": (b"#!/bin/sh\n" + archive(("task1/run.json", RUN)), "archive", "before or behind"),
    "something behind.zip": (archive(("task1/run.json", RUN)) + b"x" * 50, "archive", "before or behind"),
    "another archive before.zip": (
        archive(("task1/run.json", "{}")) + archive(("task1/run.json", RUN)),
        "archive",
        "or within it",
    ),
    "something within.zip": (with_a_gap(), "archive", "or within it"),
    "another folder.zip": (archive(("task1/run.json", RUN), ("task2/", "")), "archive", "a folder without the run"),
    "a dot before task1.zip": (archive(("./task1/run.json", RUN)), "archive-folder", "./task1/run.json"),
    "a device of Windows.zip": (archive(("task1/con.json", RUN)), "archive", "not every system can hold"),
    "a formula in full width.csv": (one_cell("＝1+1", 5), "formula", "'＝1+1'"),
    "a formula behind a blank.csv": (one_cell(" =1+1", 5), "formula", "' =1+1'"),
    "a zip within.zip": (archive(("task1/run.json", archive(("a", "b")))), "text", "but a zip archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_corruption_is_found_by_its_check(tmp_path, knowledge, name):
    content, expected, said = CORRUPTIONS[name]
    (tmp_path / name).write_bytes(content)
    code, findings = check(tmp_path / name, *knowledge)
    assert code == 1
    assert expected in findings, findings
    assert findings[expected]["remedy"]
    assert said in f"{findings[expected]['message']} {findings[expected]['examples']}"


def test_a_run_in_lower_case_is_one_finding(tmp_path, knowledge):
    (tmp_path / "run.csv").write_bytes(CORRUPTIONS["lower case.csv"][0])
    _, findings = check(tmp_path / "run.csv", *knowledge)
    assert list(findings) == ["vocabulary"]
    assert findings["vocabulary"]["count"] > 500


def test_a_set_larger_than_any_label_is_an_error_if_there_are_many_labels(tmp_path):
    options = write_knowledge(tmp_path)
    labels = json.loads((tmp_path / "gt.json").read_text())
    many = [{**each, "ImageID": f"{each['ImageID']}{copy}"} for copy in range(3) for each in labels]
    (tmp_path / "run.json").write_bytes(
        record(5, Answer=["Pink", "Red", "White", "Yellow", "Orange", "Purple", "Grey"])
    )
    for records, expected in ((labels, set()), (many, {"arity"})):
        (tmp_path / "gt.json").write_text(json.dumps(records))
        code, findings = check(tmp_path / "run.json", *options)
        assert (code, set(findings) - {"vocabulary"}) == (int(bool(expected)), expected)


def honest(numbers):
    """A run of true answers."""
    return {
        image_id(n): [
            {"QuestionID": q.id, "Question": q.text, "Answer": list(given)}
            for q, given in zip(QUESTIONS, answers(n).values(), strict=True)
        ]
        for n in numbers
    }


@pytest.mark.parametrize("labelled", [1, 3, 10, 40, 150])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_true_answers_cause_no_error_with_few_labels(tmp_path, labelled, share):
    random = Random(labelled)
    records = [
        {
            "ImageID": image_id(number),
            "Labels": [
                {"Question": q.text, "AnswerType": q.answer_type, "Answer": list(TRAINING[number][q.id])}
                for q in QUESTIONS
                if random.random() < share
            ],
        }
        for number in random.sample(range(150), labelled)
    ]
    run = honest(range(600, 660))
    (tmp_path / "gt.json").write_text(json.dumps([each for each in records if each["Labels"]] or records))
    (tmp_path / "ids.txt").write_text("\n".join(run))
    (tmp_path / "run.json").write_text(json.dumps(run))
    options = ["--gold", str(tmp_path / "gt.json"), "--ids", str(tmp_path / "ids.txt")]
    code, findings = check(tmp_path / "run.json", *options)
    assert code == 0, [each for each in findings.values() if each["severity"] == "error"]


def test_nothing_is_reported_missing_from_a_file_that_was_not_read_to_its_end(tmp_path, knowledge):
    (tmp_path / "run.csv").write_bytes(table(lambda row, place: row if place < 18 else [row[0], "x", *row[2:]]))
    assert set(check(tmp_path / "run.csv", *knowledge)[1]) == {"question-id", "unread"}


def test_sets_in_another_order_are_a_warning_for_questions_whose_labels_keep_one(tmp_path, knowledge):
    (tmp_path / "run.json").write_bytes(every(lambda entry: {**entry, "Answer": entry["Answer"][::-1]}))
    code, findings = check(tmp_path / "run.json", *knowledge)
    assert (code, list(findings)) == (0, ["member-order"])
    assert "question 5" not in str(findings)  # colours keep none
    assert findings["member-order"]["severity"] == "warning"


def test_empty_lines_between_rows_are_a_warning_and_at_the_end_nothing(tmp_path, knowledge):
    (tmp_path / "run.csv").write_bytes(CSV.replace(b"\n", b"\n\n"))
    code, findings = check(tmp_path / "run.csv", *knowledge)
    assert (code, {name: each["count"] for name, each in findings.items()}) == (0, {"empty-lines": 1080})
    (tmp_path / "run.csv").write_bytes(CSV + b"\n\n")
    assert check(tmp_path / "run.csv", *knowledge) == (0, {})


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_of_other_programs_pass(tmp_path, knowledge, compression):
    """With folders, a comment, a descriptor behind the data as in a stream, and an extra field."""

    class Stream(io.RawIOBase):
        content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data)
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", compression) as file:
        file.writestr("task1/", "")
        file.writestr("task1/answers.json", RUN)
        file.comment = b"of our team"
    name = tmp_path / "us_clef2023_medvqa.zip"
    name.write_bytes(stream.content)
    assert zipfile.ZipFile(name).infolist()[1].flag_bits & 8
    assert check(name, *knowledge) == (0, {})


def test_lists_in_the_cells_of_a_csv_are_read_as_lists(tmp_path, knowledge):
    (tmp_path / "run.csv").write_bytes(cells(lambda cell: json.dumps(cell.split("; "))))
    assert check(tmp_path / "run.csv", *knowledge) == (0, {})


def test_the_verdict_on_a_csv_is_that_on_the_same_answers_as_json(tmp_path, knowledge):
    (tmp_path / "run.csv").write_bytes(one_cell("colonoscopy", 0))
    output = CliRunner().invoke(app, ["check", str(tmp_path / "run.csv"), *knowledge]).output
    assert "it would accept the same answers as JSON, and miss vocabulary." in output
