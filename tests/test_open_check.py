"""`medvqa check` on `predictions_1.json`: each corruption of a table is found, and nothing in a valid file."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imageclef_vqa.cli import app

COLOURS = ("pink", "red", "white", "yellow", "pink and red", "red, pink and white")
PLACES = ("center", "upper-left", "lower-right", "center and upper-center")


def asked(images, first=0):
    """Five questions about each image with answers that differ from image to image."""
    rows = []
    for number in range(first, first + images):
        polyps = number % 3
        answers = {
            "What color is the abnormality?": f"The abnormality is {COLOURS[number % 6]} in color.",
            "Where is the abnormality located?": f"The abnormality is in the {PLACES[number % 4]} of the image.",
            "How many polyps are visible?": f"There are {polyps} polyps." if polyps else "There are no polyps.",
            "Is there text in the image?": "Yes, the image contains text." if number % 2 else "No",
            "What procedure is it?": ("Colonoscopy", "A gastroscopy procedure")[number % 2],
        }
        rows += [{"img_id": f"cl8k{number:021d}", "question": q, "answer": a} for q, a in answers.items()]
    return rows


TEST = asked(24, first=100)


def content():
    """A valid file; a new one for each call."""
    measures = dict.fromkeys(("total_time", "time_per_item", "memory_used_mb", "model_memory_mb"), 1.5)
    team = ("Participant_Names", "Affiliations", "Contact_emails", "Team_Name", "Country", "Notes_to_organizers")
    return {
        "submission_info": dict.fromkeys(team, "someone@somewhere.org"),
        "public_scores": dict.fromkeys(("bleu", "rouge1", "rouge2", "rougeL", "meteor"), 0.5),
        "predictions": [{"index": index, **row} for index, row in enumerate(TEST)],
        **measures,
        "gpu_name": "none",
        "debug": {"packages": {}, "system": {}},
    }


def rows(change):
    def corrupt(run):
        run["predictions"] = change(run["predictions"])

    return corrupt


def fields(only=None, **changes):
    """Change fields of the rows, or of those that `only` says: each to a value or by a function of the old one."""

    def changed(row):
        return row | {name: new(row[name]) if callable(new) else new for name, new in changes.items()}

    return rows(lambda given: [changed(row) if only is None or only(row) else row for row in given])


def answers(change, only=None):
    return fields(only, answer=change)


def numbered(given):
    return [row | {"index": index} for index, row in enumerate(given)]


def shifted(by):
    def shift(given):
        return [row | {"answer": given[(at + by) % len(given)]["answer"]} for at, row in enumerate(given)]

    return rows(shift)


def slipped_from(start):
    """From row `start` on, each answer stands one row below its question."""

    def slip(given):
        texts = [row["answer"] for row in given]
        texts.insert(start, texts.pop())
        return [row | {"answer": text} for row, text in zip(given, texts, strict=True)]

    return rows(slip)


def shuffled(run):
    texts = [row["answer"] for row in run["predictions"]]
    random.Random(0).shuffle(texts)
    for row, text in zip(run["predictions"], texts, strict=True):
        row["answer"] = text


def third(row):
    return row["index"] == 3


CORRUPTIONS = {
    "a row is missing": (rows(lambda given: numbered(given[:50] + given[51:])), "missing"),
    "the end is missing": (rows(lambda given: given[:-5]), "missing"),
    "a row twice": (rows(lambda given: numbered([*given, given[3]])), "duplicate"),
    "another order": (rows(lambda given: numbered(given[::-1])), "order"),
    "two rows exchanged": (rows(lambda given: numbered([given[1], given[0], *given[2:]])), "order"),
    "indices from 1": (fields(index=lambda index: index + 1), "index"),
    "an index is text": (fields(third, index="0"), "structure"),
    "no img_id": (rows(lambda given: [{"index": 0, "question": "?", "answer": "Yes"}, *given[1:]]), "structure"),
    "ids with an extension": (fields(img_id=lambda name: name + ".jpg"), "image-id"),
    "an unknown id": (fields(third, img_id="cl0"), "image-id"),
    "another image's rows": (fields(lambda row: row["index"] < 5, img_id=TEST[-1]["img_id"]), "duplicate"),
    "questions in lower case": (fields(question=str.lower), "question-text"),
    "questions of 2023": (fields(question="Have all polyps been removed?"), "edition"),
    "an empty answer": (answers(" ", third), "empty"),
    "an answer is null": (answers(None, third), "answer-form"),
    "an answer is a number": (answers(3, third), "answer-form"),
    "answers are lists": (answers(lambda text: [text]), "answer-form"),
    "cut after 20 characters": (answers(lambda text: text[:20]), "truncated"),
    "cut after five words": (answers(lambda text: " ".join(text.split()[:5])), "truncated"),
    "one answer is cut": (answers(lambda text: text[:-15], lambda row: row["index"] == 1), "truncated"),
    "no full stops": (answers(lambda text: text.rstrip(".")), "truncated"),
    "an end token": (answers(lambda text: text + "</s>", third), "special-token"),
    "padding": (answers(lambda text: "<pad>" + text), "special-token"),
    "a chat token": (answers(lambda text: text + "<|im_end|>", third), "special-token"),
    "the prompt's role": (answers(lambda text: "assistant: " + text), "special-token"),
    "a picture's token": (answers(lambda text: "<image>" + text, third), "special-token"),
    "the question instead": (fields(third, answer=TEST[3]["question"]), "echo"),
    "a loop": (answers("upper-left, " * 9 + "center.", third), "repetition"),
    "HTML": (answers(lambda text: text + " &amp; more.", third), "html"),
    "wrong encoding": (answers("The patientâ€™s colon.", third), "characters"),
    "line breaks": (answers(lambda text: text + "\nYes", third), "blanks"),
    "lower case": (answers(str.lower), "case"),
    "as in closed editions": (answers("pink; red", lambda row: row["index"] % 3 == 0), "edition-spelling"),
    "one answer for all": (answers("There are no polyps."), "constant"),
    "answers one row down": (shifted(-1), "shifted"),
    "answers one row up": (shifted(1), "shifted"),
    "answers one row down from the middle on": (slipped_from(60), "shifted"),
    "answers of other rows": (shuffled, "shuffled"),
    "upper case": (answers(str.upper), "case"),
    "quotes": (answers(lambda text: f'"{text}"'), "punctuation"),
    "two full stops": (answers(lambda text: text + "."), "punctuation"),
    "a refusal": (answers("I'm sorry, as an AI model I cannot see this.", third), "no-answer"),
    "invisible signs": (answers(lambda text: "\u200b" + text, third), "alphabet"),
    "a Cyrillic letter": (answers(lambda text: text + " о", third), "alphabet"),
    "half a character": (answers(lambda text: text + "\ud83d", third), "alphabet"),
    "each answer twice": (
        rows(lambda given: [row | {"answer": given[row["index"] // 2 * 2]["answer"]} for row in given]),
        "repeated",
    ),
    "no rows": (rows(lambda given: []), "empty"),
    "the device is a number": (lambda run: run.update(gpu_name=4), "fields"),
    "no team": (lambda run: run.pop("submission_info"), "fields"),
    "a team without a name": (lambda run: run["submission_info"].update(Team_Name=""), "team"),
    "a placeholder": (lambda run: run["submission_info"].update(Country="Your country"), "team"),
    "no address": (lambda run: run["submission_info"].update(Contact_emails="somebody"), "team"),
    "percentages": (lambda run: run["public_scores"].update(bleu=59.4), "public-scores"),
    "a score beyond any float": (lambda run: run["public_scores"].update(bleu=10**400), "public-scores"),
    "a score is missing": (lambda run: run["public_scores"].pop("meteor"), "public-scores"),
    "a negative time": (lambda run: run.update(total_time=-1), "measures"),
    "a field too many": (lambda run: run.update(extra=1), "fields"),
    "no list of rows": (lambda run: run.update(predictions={}), "structure"),
}
MILD = ("line breaks", "a field too many")


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, made in (("train.jsonl", asked(60)), ("test.jsonl", TEST)):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in made))


def check(run):
    Path("run.json").write_text(run if isinstance(run, str) else json.dumps(run), encoding="utf-8")
    options = ["--edition", "medico-2026", "--development", "train.jsonl", "--ids", "test.jsonl", "--json"]
    result = CliRunner().invoke(app, ["check", "run.json", *options])
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, json.loads(result.stdout)["findings"]


def test_a_valid_file_has_no_finding():
    assert check(content()) == (0, [])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_found(name):
    corrupt, expected = CORRUPTIONS[name]
    run = content()
    corrupt(run)
    code, findings = check(run)
    assert expected in [each["check"] for each in findings], findings
    assert code == (0 if name in MILD else 1)
    assert all(each["remedy"] for each in findings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "syntax"),
        (json.dumps(content())[:-40], "syntax"),
        (json.dumps(content()).replace('"gpu_name"', '"predictions": [], "gpu_name"'), "duplicate-key"),
        ("[" * 100_000, "syntax"),
        ("[]", "structure"),
    ],
)
def test_a_file_that_is_no_run_is_named_as_such(text, expected):
    assert [each["check"] for each in check(text)[1]][:1] == [expected]


def test_the_sample_of_the_organisers_script_is_known(monkeypatch):
    from imageclef_vqa.editions import edition

    small = edition.Sample(rows=100, seed=42)
    monkeypatch.setattr(edition, "EDITIONS", {"medico-2026": edition.replace(edition.MEDICO_2026, sample=small)})
    import numpy as np

    order = np.random.default_rng(42).permutation(len(TEST))[:100]
    run = content()
    run["predictions"] = numbered([run["predictions"][at] for at in order])
    assert check(run) == (0, [])
