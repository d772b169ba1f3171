"""Packaging answers to closed questions: checked, and written as a run with its manifest, both or neither."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from imageclef_vqa.editions import GI_2023, Edition, learn_implications, read_predictions
from imageclef_vqa.files import json_text, write_together
from imageclef_vqa.pipeline.answers import Answers, answers_of, spell
from imageclef_vqa.pipeline.development import Development, read_development, training_vocabulary
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.prepared_run import PreparedRun
from imageclef_vqa.pipeline.reference import with_commands
from imageclef_vqa.pipeline.selection import Selection, named_answers, select_answers
from imageclef_vqa.submission import (
    Finding,
    Form,
    RunAnswers,
    Verdict,
    arrange,
    check_name,
    check_run,
    hashes,
    images_of,
    in_order,
    list_hash,
    make_manifest,
    organisers_verdict,
    render_run,
    warning,
)
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Package(PreparedRun):
    """A run, ready to be written: its answers, what checks found in them, and where they come from.

    Attributes:
        selection: which answers of the run; None for a file of predictions from elsewhere.
        fold: "test", or "val" in a workspace without test images, whose answers are no submission.
        scores: the content of scores.json; None where these answers were not scored.
        options: those that chose the answers, by name, for the manifest.
    """

    workspace: Workspace
    edition: Edition
    target: Path
    source: Path
    selection: Selection | None
    development: Development
    fold: Literal["test", "val"]
    image_ids: tuple[str, ...]
    answers: Answers
    fingerprints: dict[str, str]
    findings: tuple[Finding, ...]
    scores: Any
    form: Form
    options: Mapping[str, str | None]

    @property
    def _command(self) -> str:
        """The command that writes this run, without the folders of this machine."""
        options = {"out": self.target.name, "run": self.workspace.run, **self.options}
        options |= {"answer-form": None if self.form == "list" else self.form}
        options |= {"edition": None if self.edition is GI_2023 else self.edition.name}
        return shlex.join(
            ["medvqa", "package", *(word for name, value in options.items() if value for word in (f"--{name}", value))]
        )

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the organisers' own checker would say, for editions that have one."""
        if not self.edition.has_checker:
            return None
        first = {pair: given for pair, given in self.answers.items() if pair[0] == self.image_ids[0]}  # all it looks at
        loaded = None if self.target.suffix == ".csv" else arrange(first, [])
        found = [each for each in self.findings if each.check != "stale"]  # of this workspace, not of the file
        return organisers_verdict(loaded, self.image_ids, found, instead=self.answers)

    def write(self, *, force: bool = False) -> None:
        """Write the run and its manifest, both or neither.

        Raises:
            MedvqaError: checks found errors, and `force` is false; a file cannot be written.
        """
        self.check_errors(force=force)
        content = render_run(self.target, self.answers, self.image_ids, edition=self.edition, form=self.form)
        manifest = make_manifest(
            self.target.name,
            content,
            images=len({image_id for image_id, _ in self.answers}),
            answers=len(self.answers),
            fold=self.fold,
            command=self._command + " --force" * force,
            seed=self.development.split.seed,
            data=self.fingerprints,
            inputs=hashes([self.source, self.workspace.split_file, *_models(self.workspace)], self.workspace.root),
            answers_from=_answers_from(self.selection),
            scores=self.scores,
            findings=self.findings,
        )
        write_together({self.target: content, self.manifest: json_text(manifest).encode()})


def package_closed(
    workspace: Workspace,
    edition: Edition,
    target: Path,
    given: Path | None,
    form: Form,
    options: Mapping[str, str | None],
) -> Package:
    """The answers of a run to the test images, or to validation where there is no test set, checked.

    Args:
        given: a file of predictions instead of the run's answers.
        options: `answers` and `team`, as typed.

    Raises:
        MissingStepError: there are no predictions.
        ChangedError: answers are stale, and what they were made from cannot be read.
    """
    fold: Literal["test", "val"] = "test" if workspace.has_test else "val"
    lineage = Lineage(workspace)
    selection = named_answers(lineage, fold, given) if given else select_answers(lineage, fold, options["answers"])
    with nullcontext() if selection is None else selection.staleness_explained():
        source = given or lineage.path(f"predictions/{fold}") if selection is None else selection.path
        development = read_development(workspace, dataset=lineage.sources.dataset)
        fingerprints = {"development": development.dataset.fingerprint}
        image_ids = development.split.val(development.fold)
        if workspace.has_test:
            image_ids = lineage.sources.pictures.image_ids
            fingerprints |= {"test": lineage.sources.pictures.readable.fingerprint, "test list": list_hash(image_ids)}
        found = read_predictions(source) if selection is None else selection.predictions
        ordered = in_order(spell(answers_of(found), edition), image_ids)
        checked = _check_files(lineage, target, selection, source, edition)
        as_run = _as_run(workspace, development, edition, ordered, image_ids, source)
        return Package(
            workspace=workspace,
            edition=edition,
            target=target,
            source=source,
            selection=selection,
            development=development,
            fold=fold,
            image_ids=tuple(image_ids),
            answers=ordered,
            fingerprints=fingerprints,
            findings=(*checked, *with_commands(workspace, check_run(as_run))),
            scores=None if selection is None else selection.scores,
            form=form,
            options={**options, "predictions": given.name if given else None},
        )


def _as_run(
    workspace: Workspace,
    development: Development,
    edition: Edition,
    answers: Answers,
    image_ids: tuple[str, ...],
    source: Path,
) -> RunAnswers:
    """The answers with what the training labels, and the same model's validation answers, say of them."""
    own = {
        workspace.routed("test"): workspace.routed("val"),
        workspace.predictions("test"): workspace.predictions("val"),
    }.get(source)
    return RunAnswers(
        answers,
        image_ids,
        edition.vocabulary(training_vocabulary(workspace, development)),
        edition.bank,
        implications=learn_implications(images_of(spell(development.training.gold(), edition)).values()),
        validation=spell(answers_of(read_predictions(own)), edition) if own and own.exists() else {},
    )


def _check_files(
    lineage: Lineage, target: Path, selection: Selection | None, source: Path, edition: Edition
) -> list[Finding]:
    findings: list[Finding] = []
    workspace = lineage.workspace
    if not workspace.has_test:
        message = "THIS IS NO SUBMISSION: there are no test images, these are the validation images' answers"
        remedy = f"put the test images into {workspace.shown(workspace.test / 'images')}"
        if (other := workspace.misspelt_test()) is not None:
            remedy += f"; is {workspace.shown(other)} a misspelling of {workspace.shown(workspace.test)}?"
        findings.append(warning("no-test", ["the test images"], message, remedy))
    elif faults := lineage.sources.pictures.faults:
        message = f"{len(faults)} test images cannot be read: their answers are the most frequent training answers"
        findings.append(warning("unreadable", list(faults), message, "repair these files and predict again"))
    findings += check_name(target, edition)
    if selection is None:
        message = f"{source.name} has no record: nothing says which model answers which images in it"
        findings.append(warning("unrecorded", [source.name], message, "`medvqa predict` writes files with a record"))
    return [*with_commands(workspace, findings), *(selection.findings if selection is not None else [])]


def _answers_from(selection: Selection | None) -> dict[str, str]:
    """Where the run's own answers come from, for the manifest: run, artefact and the digest of its record."""
    if selection is None or selection.path == Path(selection.artefact.name):
        return {}
    record = selection.artefact.record
    run = selection.lineage.workspace.run
    return {"run": run, "artefact": selection.artefact.name, "digest": record.digest if record else ""}


def _models(workspace: Workspace) -> list[Path]:
    """The files of all that may have answered: BLIP-2 with its recipe, experts, and their calibration."""
    trained = [path for each in workspace.members() for path in sorted(each.stage(2).glob("*"))]
    experts = [path for path in workspace.run_folder.glob("experts/*/*") if path.suffix in (".json", ".safetensors")]
    return [*trained, *sorted(experts), *(workspace.calibration_of(augment=augment) for augment in (False, True))]
