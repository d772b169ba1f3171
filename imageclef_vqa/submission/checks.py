"""What must hold before a run is written, over the whole of it: every finding at once, each with its remedy.

The organisers' own checker looks at the first image alone and never at an answer, so nothing is left to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from imageclef_vqa.submission.consistency import check_consistency
from imageclef_vqa.submission.coverage import check_coverage, check_ids, check_order
from imageclef_vqa.submission.distributions import check_arity, check_constant, check_drift, check_untrained
from imageclef_vqa.submission.findings import Finding, errors_in, finding, number
from imageclef_vqa.submission.records import Submission, arrange
from imageclef_vqa.submission.run import Run
from imageclef_vqa.submission.swaps import check_swaps
from imageclef_vqa.submission.wording import check_strings, check_vocabulary

_OF_FILES = (check_ids, check_coverage, check_order)
_OF_ANSWERS = (
    check_strings,
    check_vocabulary,
    check_arity,
    check_constant,
    check_drift,
    check_swaps,
    check_consistency,
    check_untrained,
)


def check_run(run: Run) -> list[Finding]:
    """All findings, errors first. Where no check finds an error, the records' own contract is held to as well."""
    findings = [found for check in (*_OF_FILES, *_OF_ANSWERS) for found in check(run)]
    if not errors_in(findings) and not run.faulty:
        findings += _contract(run)
    return sorted(findings, key=lambda found: found.severity)


def _contract(run: Run) -> Iterator[Finding]:
    try:
        Submission.model_validate(arrange(run.answers, run.image_ids))
    except ValidationError as error:
        places = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        message = f"{number(len(places), 'record breaks', 'records break')} the format"
        yield finding("error", "record", places, message, "mend them by hand")
