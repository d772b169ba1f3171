"""What runs of closed and of open questions have in common before they are written."""

from __future__ import annotations

from pathlib import Path

from imageclef_vqa.errors import MedvqaError, counted
from imageclef_vqa.submission import Finding, errors_in, manifest_path
from imageclef_vqa.workspace import Workspace


class PreparedRun:
    """A run that is checked and not written yet: its `target` in `workspace`, and the `findings` of all checks."""

    workspace: Workspace
    target: Path
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return errors_in(self.findings)

    @property
    def manifest(self) -> Path:
        return manifest_path(self.target)

    def check_errors(self, *, force: bool) -> None:
        """Before the run is written.

        Raises:
            MedvqaError: checks found errors, and `force` is false.
        """
        if self.errors and not force:
            raise MedvqaError(
                f"{self.workspace.shown(self.target)} was not written: {counted(self.errors, 'error')}",
                remedy="mend them, or write the run all the same with --force",
            )
