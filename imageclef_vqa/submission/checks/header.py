"""Checks of the fields around the rows of `predictions_1.json`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from imageclef_vqa.submission.run import Finding, error, is_number, warning
from imageclef_vqa.submission.sentences import FIELDS, MEASURES, PUBLIC_SCORES, SUBMISSION_INFO

_PLACEHOLDER = re.compile(r"^\s*(?:your |todo|tbd|xxx|<.*>|\[.*\]|\.\.\.|name\b.*\bhere|n/a$)", re.IGNORECASE)
_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")
_TEAM = "fill in [team] in medvqa.toml, and write the run again with `medvqa package`"


def check_header(header: Mapping[str, Any]) -> Iterator[Finding]:
    """Fields that are missing, unknown, or hold what they cannot mean."""
    if missing := [name for name in FIELDS if name != "predictions" and name not in header]:
        yield error("fields", missing, "fields are missing", "`medvqa package` writes all of them")
    if unknown := [name for name in header if name not in FIELDS]:
        yield warning("fields", unknown, "fields that the organisers' file does not have", "leave them out")
    if "submission_info" in header:
        yield from _check_info(header["submission_info"])
    if "public_scores" in header:
        yield from _check_scores(header["public_scores"])
    wrong, unmeasured = [], []
    for name in MEASURES:
        value = header.get(name, 0)
        if value is None:
            unmeasured.append(name)
        elif not is_number(value) or value < 0:
            wrong.append(f"{name} is {value!r:.40}")
    if wrong:
        yield error("measures", wrong, "times and memory that are no numbers from 0", "write seconds and MiB")
    if unmeasured:
        yield warning(
            "measures", unmeasured, "times or memory that were not measured", "`medvqa predict` measures them"
        )
    if not isinstance(header.get("gpu_name", ""), str | None):
        yield error("fields", ["gpu_name"], "gpu_name is no text", "it is the name of the device")
    if "debug" in header and not isinstance(header["debug"], dict):
        yield error("fields", ["debug"], "debug is no object", "it holds packages and system")


def _check_info(info: Any) -> Iterator[Finding]:
    if not isinstance(info, dict):
        yield error("team", ["submission_info"], "it is no object", _TEAM)
        return
    mails = info.get("Contact_emails")
    if isinstance(mails, list) and all(isinstance(each, str) for each in mails):
        info = info | {"Contact_emails": ", ".join(mails)}
    lacking = [name for name in SUBMISSION_INFO if not isinstance(info.get(name), str) or not info[name].strip()]
    lacking = [name for name in lacking if name != "Notes_to_organizers" or name not in info]  # notes may be empty
    if lacking:
        yield error("team", lacking, "entries about the team are missing or empty", _TEAM)
    placeholders = [
        f"{name}: {value!r:.60}"
        for name, value in info.items()
        if isinstance(value, str) and _PLACEHOLDER.search(value)
    ]
    if placeholders:
        yield error("team", placeholders, "entries about the team are placeholders", _TEAM)
    mail = info.get("Contact_emails")
    if isinstance(mail, str) and mail.strip() and not placeholders and not _EMAIL.search(mail):
        yield error("team", [f"Contact_emails: {mail!r:.60}"], "no address of e-mail", _TEAM)


def _check_scores(scores: Any) -> Iterator[Finding]:
    if not isinstance(scores, dict):
        yield error("public-scores", ["public_scores"], "they are no object", "`medvqa package` computes them")
        return
    values = {name: scores.get(name) for name in PUBLIC_SCORES}
    unknown = [name for name, value in values.items() if name in scores and value is None]
    wrong = [
        f"{name} is {value!r:.40}"
        for name, value in values.items()
        if name not in unknown and not (is_number(value) and 0 <= value <= 1)
    ]
    if wrong:
        remedy = "write each as a number from 0 to 1; percentages are no scores"
        yield error("public-scores", wrong, "scores that are missing or not from 0 to 1", remedy)
    if unknown:
        message = "scores are unknown: the test rows have no gold answers here"
        yield warning("public-scores", unknown, message, "the organisers' script computes them when it runs")
