"""What routing led to, as a table, as sentences and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from imageclef_vqa.routing.decisions import Policy
from imageclef_vqa.routing.evidence import BLIP2, Decision

NONE = "–"


@dataclass(frozen=True)
class Routed:
    """The decisions, and the files that `medvqa route` wrote.

    `blip2` and `routed` are mean accuracies on the `images` held-out images, over the questions with gold answers.
    These images also decided; `cross_fitted` is the accuracy where other images decide. None without gold answers.
    `replaced` counts the answers that changed, by fold.
    """

    policy: Policy
    experts: tuple[str, ...]
    decisions: tuple[Decision, ...]
    blip2: float | None
    routed: float | None
    cross_fitted: float | None
    images: int
    files: dict[str, Path]
    replaced: dict[str, int]
    seconds: float


def routing_table(routed: Routed) -> Table:
    """Accuracies of BLIP-2 and of the best rival for each question, the difference, who answers, and the evidence.

    The evidence is an interval that must lie above 0 for the rival: of the difference, shrunken towards the mean of the
    questions, or, marked "overall", of the gain in the quadratic score of all questions together.
    """
    title = f"Routing by {routed.images} validation images (exact sets)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("id", justify="right", no_wrap=True)  # without the text, to fit into 80 columns
    for heading in (BLIP2, "best rival", "", "gain", "model"):
        table.add_column(heading, no_wrap=True)
    table.add_column("evidence")
    for decision in routed.decisions:
        own = decision.accuracies.get(BLIP2)
        rival = decision.accuracies.get(decision.rival) if decision.rival not in (None, BLIP2) else None
        table.add_row(
            str(decision.question_id),
            f"{own.value:.3f}" if own else NONE,
            decision.rival or decision.model if decision.model != BLIP2 or rival else NONE,
            f"{rival.value:.3f}" if rival else NONE,
            f"{rival.value - own.value:+.3f}" if rival and own else NONE,
            decision.model,
            decision.reason,
        )
    return table


def summary_lines(routed: Routed) -> list[str]:
    """The blend's shares, mean accuracies, and how far these can be trusted."""
    lines = []
    for shares in dict.fromkeys(tuple(each.shares.items()) for each in routed.decisions if each.shares):
        lines.append("blend: " + ", ".join(f"{name} {share:.2f}" for name, share in shares))
    if routed.blip2 is not None and routed.routed is not None:
        figures = f"BLIP-2 {routed.blip2:.3f}, routed {routed.routed:.3f}"
        lines.append(f"mean accuracy of these questions on the validation images: {figures}")
    if routed.policy == "evidence" and routed.routed is not None:
        fair = "" if routed.cross_fitted is None else f"; cross-fitted: {routed.cross_fitted:.3f}"
        lines.append(f"the routed figure is too high, because these images also decided{fair}")
    return lines


def as_json(routed: Routed) -> dict[str, Any]:
    """All of it as JSON values."""
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
