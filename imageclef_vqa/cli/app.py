"""The program, and how every command of it ends."""

from __future__ import annotations

import gc
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from imageclef_vqa import __version__
from imageclef_vqa.cli.commands import Commands
from imageclef_vqa.errors import MedvqaError


class _Program(TyperGroup):
    """Turns what a user can mend into a message, and an interruption into exit code 130."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": Commands()})

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.secho("interrupted; what was finished is kept, the same command goes on from there", err=True)
            raise typer.Exit(130) from None
        except MedvqaError as error:
            typer.secho("error: ", fg="red", bold=True, err=True, nl=False)
            typer.echo(error, err=True)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=_Program,
    no_args_is_help=True,
    add_completion=False,
    suggest_commands=False,  # Click does
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich would double the time that --help takes
    help="MEDVQA-GI, from the official files to a submission: split → finetune → predict → route → score → package.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medvqa {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run `medvqa`; a Ctrl-C before a command has begun ends it as one within does."""
    # Pydantic would look for plug-ins of its own in every package that is installed: 0.05 s, where there are 130.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        gc.freeze()  # the process ends: a last search for cycles among all that was imported takes 0.1 s, for nothing
