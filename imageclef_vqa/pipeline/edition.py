"""The edition of a workspace."""

from __future__ import annotations

from imageclef_vqa.data.qa import QA_FILE
from imageclef_vqa.editions import Edition, find_edition
from imageclef_vqa.errors import UsageError
from imageclef_vqa.workspace import Workspace


def edition_of(workspace: Workspace, name: str | None = None) -> Edition:
    """The edition called `name`, by default that of the workspace.

    Raises:
        UsageError: there is none, or its kind of questions is not that of the development set.
    """
    edition = find_edition(name or workspace.edition)
    if (folder := workspace.development).is_dir():
        open_ = (folder / QA_FILE).exists()
        if open_ != edition.open and any((folder / each).exists() for each in (QA_FILE, "gt.json")):
            asks, has = ("open", "gt.json") if edition.open else ("closed", QA_FILE)
            raise UsageError(
                f"edition {edition.name} asks {asks} questions, and {workspace.shown(folder)} holds {has}",
                remedy="name the edition of these data with --edition, or as edition under [data] in medvqa.toml",
            )
    return edition


def refuse_open(workspace: Workspace, what: str, instead: str | None = None) -> None:
    """Refuse a step that closed questions only have.

    Raises:
        UsageError: the workspace has open questions; `instead` says what can be done.
    """
    if edition_of(workspace).open:
        raise UsageError(f"open questions: {what} is not supported", remedy=instead)
