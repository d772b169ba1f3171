"""`medvqa explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imageclef_vqa.cli.console import echo, note, print_json, print_table
from imageclef_vqa.cli.options import AnswersOption, DeviceOption, JsonOption, RunsOption, WorkspaceOption
from imageclef_vqa.errors import UsageError, counted
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.explanations.explanation import Explanation

_SHOWN = 3  # alternatives
_SET = 22  # columns for a set of answers, so that 80 are enough
_WORTH_SAYING = 0.01  # of a map's weight


def explain(
    image: Annotated[
        Path | None, typer.Argument(help="An image file, JPEG or PNG; not with --rows.", show_default=False)
    ] = None,
    question: Annotated[
        str | None,
        typer.Argument(
            help="Number, text, or a part of the text that no other question has; any text for open questions.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture with the heat map (.png); with --rows, the lines (.jsonl).")
    ] = None,
    method: Annotated[
        Literal["combined", "rollout", "gradient", "occlusion"], typer.Option(help="How the heat map is made.")
    ] = "combined",
    task: Annotated[
        Literal["2"] | None,
        typer.Option(help="Write the lines of the challenge's second task; needs --rows and --out."),
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="The test rows in their original order (qa.jsonl), images/ beside them.")
    ] = None,
    answers: AnswersOption = None,
    device: DeviceOption = "auto",
    run: RunsOption = None,
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Explain an answer: alternatives, confidence, a heat map, and what else the model states about the image."""
    if task is not None or rows is not None:
        if rows is None or out is None or image is not None:
            raise UsageError("the second task needs: --task 2 --rows FILE --out submission_2.jsonl, and no image")
        _explain_rows(rows, out, method, answers, device, run or ["main"], workspace, as_json)
        return
    if image is None or question is None:
        raise UsageError("name an image and a question", remedy='medvqa explain IMAGE "Is there a polyp?"')
    import imageclef_vqa as vqa

    found = vqa.explain(
        image,
        question,
        method=method,
        out=out,
        workspace=workspace,
        run=run or ["main"],
        answers=answers,
        device=device,
        notify=note,
    )
    if as_json:
        print_json(_as_json(found) | {"out": None if out is None else str(out)})
        return
    _print(found, Workspace.at(workspace))
    if out is not None:
        echo(f"{out}: the picture with the heat map")


def _explain_rows(
    rows: Path,
    out: Path,
    method: str,
    answers: str | None,
    device: str,
    run: list[str],
    workspace: Path,
    as_json: bool,
) -> None:
    from imageclef_vqa.cli.findings import print_findings
    from imageclef_vqa.pipeline.explain_rows import explain_rows

    done = explain_rows(
        rows, out, method=method, workspace=workspace, run=run, answers=answers, device=device, notify=note
    )
    if as_json:
        findings = [finding.model_dump() for finding in done.findings]
        print_json({"out": str(done.file), "rows": done.rows, "images": done.images, "findings": findings})
        return
    print_findings(done.findings)
    echo(f"{done.file}: {counted(done.rows, 'explanation')} of answers about {counted(done.images, 'image')}, checked.")


def _print(found: Explanation, workspace: Workspace) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from imageclef_vqa.explanations.picture import place_of_peak

    echo(found.text)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("question", max_width=51)
    table.add_column("answer", max_width=None if found.question_id is None else _SET)  # or a sentence
    table.add_column("probability", justify="right", no_wrap=True)
    for index, (answers, probability) in enumerate(found.answers[: _SHOWN + 1]):
        shown = found.question if index == 0 else "  or"
        table.add_row(shown, "; ".join(answers), f"{probability:.3f}", style="bold" if index == 0 else "dim")
    table.add_section()
    for fact in found.facts[1:]:
        table.add_row(fact.asked, "; ".join(fact.answers), f"{fact.probability:.3f}")
    print_table(table)
    for rule in found.contradictions:
        echo(f"contradiction: training labels keep the rule {rule}")
    around = f"; {found.around:.0%} of its weight is around the field of view, where it is dimmed"
    peak = place_of_peak(found.heatmap)
    echo(f"heat map ({found.method}): highest at {peak}{around * (found.around >= _WORTH_SAYING)}")
    if not found.model.startswith("blip2"):
        echo(f"{found.model} gave this answer; the heat map shows what speaks for it in BLIP-2")
    if not found.checked:
        note("the answers are not checked against each other: that needs the development set and its split")
    if not found.calibrated:
        note(f"these probabilities are not calibrated: `{workspace.typed('medvqa predict')}` does it")


def _as_json(found: Explanation) -> dict[str, Any]:
    from imageclef_vqa.explanations.picture import place_of_peak

    broken = [
        {
            "question_id": rule.question,
            "answer": rule.answer,
            "then_question_id": rule.then_question,
            "then_answers": list(rule.then_answer),
            "held": rule.held,
            "seen": rule.seen,
        }
        for rule in found.contradictions
    ]
    facts = [
        {
            "question_id": None if fact.question is None else fact.question.id,
            "question": fact.asked,
            "answers": list(fact.answers),
            "values": list(fact.values),
            "probability": fact.probability,
            "trained": fact.trained,
        }
        for fact in found.facts
    ]
    return {
        "image": found.image,
        "question_id": found.question_id,
        "question": found.question,
        "answers": [{"answers": list(answers), "probability": probability} for answers, probability in found.answers],
        "confidence": found.confidence,
        "calibrated": found.calibrated,
        "model": found.model,
        "method": found.method,
        "heatmap": [[round(float(value), 4) for value in row] for row in found.heatmap],
        "around": found.around,
        "peak": place_of_peak(found.heatmap),
        "text": found.text,
        "facts": facts,
        "contradictions": broken,
        "checked": found.checked,
    }
