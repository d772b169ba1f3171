"""The command line: one thin file per command. Paddle and data are imported inside the commands, not for `--help`."""

from imageclef_vqa.cli.app import app, main

__all__ = ["app", "main"]
