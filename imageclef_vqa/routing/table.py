"""What `medvqa route` shows."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from imageclef_vqa.routing.evidence import Estimate
from imageclef_vqa.routing.route import Routed


def routing_table(routed: Routed) -> Table:
    """Question by question: accuracies with 95% intervals (per cent), who answers, and why.

    The last column is the best rival's shrunken gain over BLIP-2 with its 95% interval; it answers if that is above 0.
    """
    models = list(dict.fromkeys(model for decision in routed.decisions for model in decision.accuracies))
    title = f"Routing by {routed.images} validation images (exact sets, %)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("id", justify="right", no_wrap=True)  # no questions: the numbers need the room of 80 columns
    for heading in (*models, "by"):
        table.add_column(heading, no_wrap=True)
    table.add_column("best rival, gain")
    for decision in routed.decisions:
        table.add_row(
            str(decision.question_id),
            *(_cell(decision.accuracies.get(model)) for model in models),
            decision.model,
            decision.reason,
        )
    return table


def summary_lines(routed: Routed) -> list[str]:
    """What came of it, and how far to believe it."""
    lines = []
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
        "images": routed.images,
        "decisions": [
            {
                "question_id": decision.question_id,
                "model": decision.model,
                "reason": decision.reason,
                "accuracies": {name: vars(estimate) for name, estimate in decision.accuracies.items()},
            }
            for decision in routed.decisions
        ],
        "accuracy": {"blip2": routed.blip2, "routed": routed.routed, "routed_cross_fitted": routed.cross_fitted},
        "files": {fold: str(path) for fold, path in routed.files.items()},
        "replaced": routed.replaced,
        "expert_reused": routed.reused,
        "seconds": round(routed.seconds, 3),
    }


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.0f} [{100 * estimate.low:.0f},{100 * estimate.high:.0f}]"
