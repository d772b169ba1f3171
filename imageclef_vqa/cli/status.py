"""`medvqa status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageclef_vqa.cli.console import echo, print_json, print_table
from imageclef_vqa.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.tree import Tree

    from imageclef_vqa.pipeline.status import RunStatus

_COLOURS = {"fresh": "green", "missing": "dim"}


def status(
    run: Annotated[str | None, typer.Option(help="Name of the run.", show_default="all runs")] = None,
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what the workspace holds, what is stale and why, and the next command."""
    from imageclef_vqa.pipeline.status import status as read_status

    found = read_status(workspace, run)
    if as_json:
        print_json({"runs": [_as_json(each) for each in found]})
        return
    for each in found:
        print_table(_tree(each))
        echo(f"next: `{each.next}`")


def _as_json(found: RunStatus) -> dict[str, Any]:
    artefacts = [{"name": each.name, "status": each.status, "reasons": each.reasons} for each in found.artefacts]
    return {"run": found.run, "artefacts": artefacts, "next": found.next}


def _tree(found: RunStatus) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(found.run)
    width = max(len(each.name) for each in found.artefacts)
    for each in found.artefacts:
        line = Text.assemble(f"{each.name:<{width}}  ", (each.status, _COLOURS.get(each.status, "red")))
        branch = tree.add(line)
        for reason in each.reasons:
            branch.add(Text(reason))
    return tree
