"""What commands say besides their result: notes for people, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer


def note(message: str) -> None:
    """Something that a person who watches wants to know; nothing where standard error is no terminal."""
    if sys.stderr.isatty():
        typer.secho(message, dim=True, err=True)


def print_json(content: Any) -> None:
    """The result for scripts: JSON alone."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
