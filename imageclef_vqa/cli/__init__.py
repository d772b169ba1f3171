"""The command line: one thin file per command. Nothing heavy is imported for `--help`."""

from imageclef_vqa.cli.app import app, main

__all__ = ["app", "main"]
