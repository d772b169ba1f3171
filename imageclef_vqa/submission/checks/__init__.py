"""What must hold before a run is written. All findings are reported at once, each with its remedy.

The organisers' own checker looks at the first image and never at an answer, so every check is ours.
"""

from __future__ import annotations

from imageclef_vqa.submission.checks.consistency import check_consistency
from imageclef_vqa.submission.checks.coverage import check_coverage, check_ids, check_order
from imageclef_vqa.submission.checks.distributions import (
    check_arity,
    check_constant,
    check_drift,
    check_swaps,
    check_untrained,
)
from imageclef_vqa.submission.checks.wording import check_strings, check_vocabulary
from imageclef_vqa.submission.findings import Finding
from imageclef_vqa.submission.run import RunAnswers

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


def check_run(run: RunAnswers) -> list[Finding]:
    """The findings of all checks, errors first."""
    return sorted((found for check in CHECKS for found in check(run)), key=lambda found: found.severity)
