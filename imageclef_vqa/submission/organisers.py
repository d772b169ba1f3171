"""What the organisers' own checker would say of a run, and how little that proves.

Its rules, re-stated from the script that the organisers published in 2023 (`verify_task_1_submission.py`): it takes
the first id of the list, asks that its records have the three keys and that their ids are the 18 questions (those of
the segmentation task may be there, too), each once, and returns. It tests the id list against itself, looks at no
other image and at no answer, ends with exit code 0 whatever it finds, and with a traceback where JSON is not as meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.editions import QUESTIONS, SEGMENTATION_IDS
from imageclef_vqa.submission.findings import Finding, printable
from imageclef_vqa.submission.records import COLUMNS, PairAnswers, arrange

_NO_JSON = "it reads JSON alone, and ends with a traceback on anything else"


class Verdict(BaseModel):
    """What their checker says, and the checks of ours whose errors it misses."""

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
    """Their verdict on a run, and what of `findings` it misses.

    Args:
        content: the run's JSON as it was loaded; None if it is no JSON.
        instead: where it is none, its answers, for what they would say of those as JSON.
    """
    if content is None and instead:
        first = {pair: answers for pair, answers in instead.items() if pair[0] in image_ids[:1]}
        then = organisers_verdict(arrange(first, []), image_ids, findings)
        blind = f", and miss {', '.join(then.missed)}" if then.missed else ""
        would = f"accept{blind}" if then.accepts else "refuse, too"
        return Verdict(accepts=False, says=f"{_NO_JSON}; the same answers as JSON it would {would}", missed=then.missed)
    try:
        fault = _fault(content, image_ids)
    except (KeyError, TypeError, IndexError) as error:
        fault = f"it ends with a traceback ({type(error).__name__}: {error})"
    if fault:
        return Verdict(accepts=False, says=printable(fault), missed=())
    missed = dict.fromkeys(found.check for found in findings if found.severity == "error")
    looked = f"looks at 1 image of {len(image_ids):,} and at no answer"
    return Verdict(accepts=True, says=looked, missed=tuple(missed))


def _fault(content: Any, image_ids: Sequence[str]) -> str | None:
    if content is None:
        return _NO_JSON
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
