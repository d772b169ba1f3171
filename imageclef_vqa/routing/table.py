"""What `medvqa route` shows."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from imageclef_vqa.routing.evidence import BLIP2, Estimate
from imageclef_vqa.routing.route import Routed

NONE = "–"


def routing_table(routed: Routed) -> Table:
    """Question by question: BLIP-2 and the rival that came closest, with 95% intervals (per cent), who answers and why.

    The last column is the rival's gain with its 95% interval, which must lie above 0: in accuracy, shrunken towards
    the mean of the questions; marked "overall", in the quadratic score of all questions together.
    """
    title = f"Routing by {routed.images} validation images (exact sets, %)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("id", justify="right", no_wrap=True)  # no questions: the numbers need the room of 80 columns
    for heading in (BLIP2, "best rival", "", "by"):
        table.add_column(heading, no_wrap=True)
    table.add_column("rival's gain")
    for decision in routed.decisions:
        rival = decision.rival or decision.model
        table.add_row(
            str(decision.question_id),
            _cell(decision.accuracies.get(BLIP2)),
            rival if rival != BLIP2 else NONE,
            _cell(decision.accuracies.get(rival) if rival != BLIP2 else None),
            decision.model,
            decision.reason,
        )
    return table


def summary_lines(routed: Routed) -> list[str]:
    """What came of it, and how far to believe it."""
    lines = []
    for shares in dict.fromkeys(tuple(each.shares.items()) for each in routed.decisions if each.shares):
        lines.append("blend: " + ", ".join(f"{name} {share:.2f}" for name, share in shares))
    if routed.blip2 is not None and routed.routed is not None:
        lines.append(
            f"mean of these questions on the validation images: BLIP-2 {routed.blip2:.3f}, routed {routed.routed:.3f}"
        )
    if routed.policy == "evidence" and routed.routed is not None:
        fair = "" if routed.cross_fitted is None else f"; decided by other images, it is {routed.cross_fitted:.3f}"
        lines.append(f"these images also decided, so the routed figure flatters{fair}")
    return lines


def as_json(routed: Routed) -> dict[str, Any]:
    """All of it for scripts."""
    return {
        "policy": routed.policy,
        "experts": routed.experts,
        "images": routed.images,
        "decisions": [
            {
                "question_id": decision.question_id,
                "model": decision.model,
                "reason": decision.reason,
                "rival": decision.rival,
                "shares": decision.shares,
                "accuracies": {name: vars(estimate) for name, estimate in decision.accuracies.items()},
            }
            for decision in routed.decisions
        ],
        "accuracy": {"blip2": routed.blip2, "routed": routed.routed, "routed_cross_fitted": routed.cross_fitted},
        "files": {fold: str(path) for fold, path in routed.files.items()},
        "replaced": routed.replaced,
        "seconds": round(routed.seconds, 3),
    }


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return NONE
    return f"{100 * estimate.value:.0f} [{100 * estimate.low:.0f},{100 * estimate.high:.0f}]"
