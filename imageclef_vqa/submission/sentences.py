"""`predictions_1.json`, the run of an edition with open questions: its rows, its header, and what is wrong with a file.

    {"submission_info": {...}, "public_scores": {...}, "predictions": [{index, img_id, question, answer}, …],
     "total_time": s, "time_per_item": s, "memory_used_mb": …, "model_memory_mb": …, "gpu_name": …, "debug": {...}}

This is what the organisers' `submission_task1.py` writes. Nothing in a file is trusted before it is checked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from imageclef_vqa.submission.run import Finding, error, printable

SUBMISSION_INFO = (
    *("Participant_Names", "Affiliations", "Contact_emails", "Team_Name", "Country", "Notes_to_organizers"),
)
PUBLIC_SCORES = ("bleu", "rouge1", "rouge2", "rougeL", "meteor")
MEASURES = ("total_time", "time_per_item", "memory_used_mb", "model_memory_mb")
FIELDS = ("submission_info", "public_scores", "predictions", *MEASURES, "gpu_name", "debug")
ROW = ("index", "img_id", "question", "answer")
LARGEST = 1 << 26  # bytes; 16,000 rows take 4 MiB
_SYNTAX = "the file may be cut off or edited by hand: `medvqa package` writes it"


class SentenceRow(NamedTuple):
    """One row of a run, and a text that locates it."""

    where: str
    number: int
    image_id: str
    question: str
    answer: str


@dataclass
class SentenceRun:
    """What was read of a file: rows that can be used, the other fields, and what is wrong with the file itself."""

    rows: list[SentenceRow] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    total: int = 0  # rows in the file, usable or not


def write_sentences(rows: Sequence[tuple[str, str, str]], header: Mapping[str, Any]) -> bytes:
    """The file with `rows` of image id, question and answer, one to a line, and the fields of `header` around them."""
    listed = ",\n".join(
        json.dumps({"index": index, "img_id": image_id, "question": question, "answer": answer}, ensure_ascii=False)
        for index, (image_id, question, answer) in enumerate(rows)
    )
    parts = [
        f'"predictions": [\n{listed}\n]'
        if name == "predictions"
        else f"{json.dumps(name)}: {json.dumps(header[name], ensure_ascii=False, allow_nan=False)}"
        for name in FIELDS
    ]
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def read_sentences(content: bytes) -> SentenceRun:
    """As much of a file as can be read, with all that is wrong with it."""
    run = SentenceRun()
    if len(content) > LARGEST:
        run.findings.append(error("size", ["the file"], f"over {LARGEST >> 20} MiB, too large for a run", _SYNTAX))
        return run
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            repeated.append(Counter(name for name, _ in items).most_common(1)[0][0])
        return found

    try:
        loaded = json.loads(content.decode("utf-8"), object_pairs_hook=pairs)
    except UnicodeDecodeError as fault:
        run.findings.append(error("text", [f"byte {fault.start}"], "not UTF-8 text", "save the file as UTF-8"))
        return run
    except (ValueError, RecursionError) as fault:
        message = str(fault) if isinstance(fault, ValueError) else "nested too deeply"
        run.findings.append(error("syntax", [message], "not JSON", _SYNTAX))
        return run
    if repeated:
        run.findings.append(
            error("duplicate-key", repeated, "a key stands twice in an object, and readers keep one", _SYNTAX)
        )
    if not isinstance(loaded, dict) or not isinstance(loaded.get("predictions"), list):
        remedy = f"write an object with {', '.join(FIELDS)}"
        run.findings.append(error("structure", ["the file"], "not an object with a list of predictions", remedy))
        return run
    run.header = {name: value for name, value in loaded.items() if name != "predictions"}
    run.total = len(loaded["predictions"])
    if not run.total:
        run.findings.append(error("empty", ["predictions"], "the file answers no row", "`medvqa package` writes a run"))
    _read_rows(loaded["predictions"], run)
    return run


def _read_rows(rows: Sequence[Any], run: SentenceRun) -> None:
    shapes, forms, empty = [], [], []
    for number, row in enumerate(rows):
        where = f"prediction {number}"
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("img_id", "question")):
            shapes.append(where)
            continue
        if type(row.get("index")) is not int:
            shapes.append(f"{where}: index is {row.get('index')!r:.40}")
        answer = row.get("answer")
        if not isinstance(answer, str):
            forms.append(f"{where} ({printable(row['img_id'])[:60]}): {answer!r:.60}")
            continue
        if not answer.strip():
            empty.append(f"{where} ({printable(row['img_id'])[:60]})")
        index = row["index"] if type(row.get("index")) is int else number
        run.rows.append(SentenceRow(where, index, row["img_id"], row["question"], answer))
    if shapes:
        remedy = f"a row has {', '.join(ROW)}: a whole number and three strings"
        run.findings.append(error("structure", shapes, "rows of another shape", remedy))
    if forms:
        run.findings.append(error("answer-form", forms, "answers that are no strings", "write each as one string"))
    if empty:
        run.findings.append(error("empty", empty, "answers are empty", "answer each row with a sentence"))
