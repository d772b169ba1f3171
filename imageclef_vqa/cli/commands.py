"""The commands in the order in which a competitor types them, each imported and built when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from keyword import iskeyword

import click
import typer
from typer.main import get_group

NAMES = (
    *("split", "finetune", "predict", "route", "score", "package"),
    *("check", "ask", "runs", "baseline", "plan", "doctor", "demo", "weights", "import"),
)


class Commands(Mapping[str, click.Command]):
    """All commands by name. But for --help one is wanted, and to build them all takes 0.06 s."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in NAMES:
            raise KeyError(name)
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@lru_cache
def _command(name: str) -> click.Command:
    """What the module of that name holds under that name: a function, or a `Typer` with commands of its own."""
    word = f"{name}_" if iskeyword(name) else name
    member = getattr(import_module(f"imageclef_vqa.cli.{word}"), word)
    alone = typer.Typer(suggest_commands=False, rich_markup_mode=None)  # as the program's own
    if isinstance(member, typer.Typer):
        alone.add_typer(member, name=name)
    else:
        alone.command(name)(member)
    return get_group(alone).commands[name]
