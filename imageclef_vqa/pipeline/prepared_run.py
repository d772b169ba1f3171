"""A run of closed or open questions, checked and ready to be written with its manifest."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imageclef_vqa.editions import GI_2023, Edition
from imageclef_vqa.errors import MedvqaError, counted
from imageclef_vqa.files import json_text, write_together
from imageclef_vqa.pipeline.answers import Answers
from imageclef_vqa.pipeline.selection import Selection
from imageclef_vqa.submission import Finding, Verdict, errors_in, hashes, make_manifest, manifest_path, warning
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Package:
    """A run, ready to be written: its answers, what checks found in them, and where they come from.

    Attributes:
        selection: which answers of the run; None for a file of predictions from elsewhere.
        fold: "test", or "val" in a workspace without test images, whose answers are no submission.
        render: makes the content of the file; raises MedvqaError if it does not read back as the same answers.
        fingerprints: name of a data set or list → hash.
        inputs: the files that the run was made from.
        seed: of the split.
        scores: the content of scores.json; None where these answers were not scored.
        options: those that chose the answers, by name, for the manifest.
        verdict: what the organisers' own checker would say; None for editions without one.
    """

    workspace: Workspace
    edition: Edition
    target: Path
    selection: Selection | None
    fold: Literal["test", "val"]
    image_ids: tuple[str, ...]
    answers: Answers
    findings: tuple[Finding, ...]
    render: Callable[[], bytes]
    fingerprints: Mapping[str, str]
    inputs: tuple[Path, ...]
    seed: int
    scores: Any
    options: Mapping[str, str | None]
    verdict: Verdict | None = None

    @property
    def errors(self) -> int:
        return errors_in(self.findings)

    @property
    def manifest(self) -> Path:
        return manifest_path(self.target)

    @property
    def _command(self) -> str:
        """The command that writes this run, without the folders of this machine."""
        options = {"out": self.target.name, "run": self.workspace.run, **self.options}
        options |= {"edition": None if self.edition is GI_2023 else self.edition.name}
        return shlex.join(
            ["medvqa", "package", *(word for name, value in options.items() if value for word in (f"--{name}", value))]
        )

    def write(self, *, force: bool = False) -> None:
        """Write the run and its manifest, both or neither.

        Raises:
            MedvqaError: checks found errors, and `force` is false; a file cannot be written.
        """
        if self.errors and not force:
            raise MedvqaError(
                f"{self.workspace.shown(self.target)} was not written: {counted(self.errors, 'error')}",
                remedy="mend them, or write the run all the same with --force",
            )
        content = self.render()
        manifest = make_manifest(
            self.target.name,
            content,
            images=len({image_id for image_id, _ in self.answers}),
            answers=len(self.answers),
            fold=self.fold,
            command=self._command + " --force" * force,
            seed=self.seed,
            data=self.fingerprints,
            inputs=hashes(self.inputs, self.workspace.root),
            answers_from=_answers_from(self.selection),
            scores=self.scores,
            findings=self.findings,
        )
        write_together({self.target: content, self.manifest: json_text(manifest).encode()})


def _answers_from(selection: Selection | None) -> dict[str, str]:
    """Where the run's own answers come from, for the manifest: run, artefact and the digest of its record."""
    if selection is None or selection.path == Path(selection.artefact.name):
        return {}
    record = selection.artefact.record
    run = selection.lineage.workspace.run
    return {"run": run, "artefact": selection.artefact.name, "digest": record.digest if record else ""}


def check_fold(workspace: Workspace, folder: Path) -> list[Finding]:
    """A warning where there are no test images; `folder` is where they belong."""
    if workspace.has_test:
        return []
    message = "THIS IS NO SUBMISSION: there are no test images, these are the validation images' answers"
    remedy = f"put the test images into {workspace.shown(folder)}"
    if (other := workspace.misspelt_test()) is not None:
        remedy += f"; is {workspace.shown(other)} a misspelling of {workspace.shown(workspace.test)}?"
    return [warning("no-test", ["the test images"], message, remedy)]
