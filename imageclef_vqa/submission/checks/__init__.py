"""What must hold before a run is written, all findings at once, each with its remedy; and the organisers' own verdict.

The organisers published a checker in 2023 (`verify_task_1_submission.py`). It takes the first id of the list, requires
the three keys in its records and each of the 18 question ids once (ids of the segmentation task are allowed), and ends.
It looks at no other image and at no answer, and compares the id list only with itself, so every check is ours. Its exit
code is always 0, except that unexpected JSON ends in a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.editions import QUESTIONS, SEGMENTATION_IDS
from imageclef_vqa.errors import printable
from imageclef_vqa.submission.checks.coverage import check_coverage, check_ids, check_order, check_untrained
from imageclef_vqa.submission.checks.distributions import (
    check_arity,
    check_consistency,
    check_constant,
    check_drift,
    check_swaps,
)
from imageclef_vqa.submission.checks.wording import check_case, check_strings, check_vocabulary
from imageclef_vqa.submission.run import COLUMNS, Finding, PairAnswers, RunAnswers, arrange

CHECKS = (
    check_ids,
    check_coverage,
    check_order,
    check_strings,
    check_vocabulary,
    check_arity,
    check_constant,
    check_drift,
    check_swaps,
    check_consistency,
    check_untrained,
)
_NOT_JSON = "it reads only JSON and ends with a traceback on anything else"


def check_run(run: RunAnswers) -> list[Finding]:
    """The findings of all checks, errors first."""
    run, findings = check_case(run)
    findings += [found for check in CHECKS for found in check(run)]
    return sorted(findings, key=lambda found: found.severity)


class Verdict(BaseModel):
    """What the organisers' checker says, and the checks of ours whose errors it misses."""

    model_config = ConfigDict(frozen=True)

    accepts: bool
    says: str
    missed: tuple[str, ...]

    def __str__(self) -> str:
        if not self.accepts:
            return f"The organisers' own checker would refuse it: {self.says}."
        missed = f", and misses {', '.join(self.missed)}" if self.missed else ""
        return f"The organisers' own checker would accept it: it {self.says}{missed}."


def organisers_verdict(
    content: Any, image_ids: Sequence[str], findings: Sequence[Finding], *, instead: PairAnswers | None = None
) -> Verdict:
    """The verdict of the organisers' checker.

    Args:
        content: the JSON of the run; None if it is not JSON.
        image_ids: the test list.
        findings: of our checks.
        instead: the answers of a run that is not JSON, to judge as JSON.
    """
    if content is None and instead:
        first = {pair: answers for pair, answers in instead.items() if pair[0] in image_ids[:1]}
        as_json = organisers_verdict(arrange(first, []), image_ids, findings)
        misses = f", and miss {', '.join(as_json.missed)}" if as_json.missed else ""
        would = "accept" if as_json.accepts else "refuse"
        says = f"{_NOT_JSON}; it would {would} the same answers as JSON{misses}"
        return Verdict(accepts=False, says=says, missed=as_json.missed)
    try:
        fault = _fault(content, image_ids)
    except (KeyError, TypeError, IndexError) as error:
        fault = f"it ends with a traceback ({type(error).__name__}: {error})"
    if fault:
        return Verdict(accepts=False, says=printable(fault), missed=())
    missed = dict.fromkeys(found.check for found in findings if found.severity == "error")
    says = f"looks at 1 image of {len(image_ids):,} and at no answer"
    return Verdict(accepts=True, says=says, missed=tuple(missed))


def _fault(content: Any, image_ids: Sequence[str]) -> str | None:
    if content is None:
        return _NOT_JSON
    if not image_ids:
        return None
    image_id = image_ids[0]
    left = [*(question.id for question in QUESTIONS), *SEGMENTATION_IDS]
    for record in content[image_id]:
        if any(key not in record for key in COLUMNS[1:]):
            return "a record of the first image lacks a key"
        if record["QuestionID"] not in left:
            return f"{image_id} contains the invalid question_id {record['QuestionID']!r:.40}"
        left.remove(record["QuestionID"])
    missing = [question_id for question_id in left if question_id not in SEGMENTATION_IDS]
    return f"question IDs {missing} are missing from {image_id}" if missing else None
