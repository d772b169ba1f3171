"""The program: its commands in the order of use, and how each of them ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from imageclef_vqa import __version__
from imageclef_vqa.cli.adopt import adopt
from imageclef_vqa.cli.ask import ask
from imageclef_vqa.cli.baseline import baseline
from imageclef_vqa.cli.card import card
from imageclef_vqa.cli.check import check
from imageclef_vqa.cli.command import Command, Group
from imageclef_vqa.cli.console import echo, escaped_usage_errors
from imageclef_vqa.cli.demo import demo
from imageclef_vqa.cli.doctor import doctor
from imageclef_vqa.cli.explain import explain
from imageclef_vqa.cli.finetune import finetune
from imageclef_vqa.cli.import_ import import_
from imageclef_vqa.cli.package import package
from imageclef_vqa.cli.plan import plan
from imageclef_vqa.cli.predict import predict
from imageclef_vqa.cli.process import INTERRUPTED, interruptible, open_streams
from imageclef_vqa.cli.route import route
from imageclef_vqa.cli.runs import runs
from imageclef_vqa.cli.score import score
from imageclef_vqa.cli.split import split
from imageclef_vqa.cli.status import status
from imageclef_vqa.cli.weights import weights
from imageclef_vqa.errors import MedvqaError, program, system_errors_explained
from imageclef_vqa.progress import show_progress
from imageclef_vqa.training.launch import QuickExit

CHAIN = (split, finetune, predict, route, score, package)
TOOLS = (status, check, ask, explain, runs, adopt, card, baseline, plan, doctor, demo)
GROUPS = {"weights": weights, "import": import_}


class _Program(Group):
    """Turns a `MedvqaError` into a message, and an interruption into exit code 130."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _errors_printed():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _errors_printed():
            return super().invoke(ctx)


@contextmanager
def _errors_printed() -> Iterator[None]:
    try:
        with system_errors_explained(), escaped_usage_errors():
            yield
    except KeyboardInterrupt:
        echo("interrupted; finished work is kept, and the same command continues from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except MedvqaError as error:
        echo("error: ", fg="red", bold=True, err=True, nl=False)
        echo(error, err=True, start=7)
        raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=_Program,
    name="medvqa",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From the organisers' files to a MEDVQA-GI submission: split → finetune → predict → route → score → package.",
)


def _version(wanted: bool) -> None:
    if wanted:
        echo(f"{program()} {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    show_progress()


for function in CHAIN:
    app.command(cls=Command)(function)
for function in TOOLS:
    app.command(cls=Command, rich_help_panel="Tools")(function)
for name, group in GROUPS.items():
    app.add_typer(group, name=name, rich_help_panel="Weights and other data sets")


def main() -> None:
    """Run the program; Ctrl-C before a command has begun ends it with exit code 130, too."""
    leaving = QuickExit()
    open_streams()
    with interruptible():
        try:
            app(prog_name=program())
        except KeyboardInterrupt:
            leaving.code = INTERRUPTED
            raise SystemExit(INTERRUPTED) from None
        except SystemExit as done:
            leaving.code = done.code
            raise
