"""`medvqa package`: the answers to the test images, checked and written as a run that can be submitted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from imageclef_vqa.artefacts import read_record
from imageclef_vqa.editions import (
    GI_2023,
    Edition,
    learn_implications,
    read_predictions,
)
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.files import check_output, json_text, write_together
from imageclef_vqa.inputs import read_json
from imageclef_vqa.pipeline.answers import Answers, answers_of, spell
from imageclef_vqa.pipeline.development import Development, read_development, training_vocabulary
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.package_open import OpenPackage, package_open
from imageclef_vqa.pipeline.selection import Selection, named_answers, select_answers
from imageclef_vqa.submission import (
    Finding,
    Form,
    RunAnswers,
    Verdict,
    arrange,
    check_name,
    check_run,
    error,
    errors_in,
    hashes,
    images_of,
    in_order,
    list_hash,
    make_manifest,
    manifest_path,
    organisers_verdict,
    render_run,
    team_zip,
    warning,
)
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Package:
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
    def errors(self) -> int:
        return errors_in(self.findings)

    @property
    def manifest(self) -> Path:
        return manifest_path(self.target)

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
        if self.errors and not force:
            raise MedvqaError(
                f"{self.workspace.shown(self.target)} was not written: {self.errors} error{'s' * (self.errors > 1)}",
                remedy="mend them, or write the run all the same with --force",
            )
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


def package(
    out: str | Path | None = None,
    *,
    team: str | None = None,
    answers: str | None = None,
    predictions: str | Path | None = None,
    answer_form: Form = "list",
    edition: str | None = None,
    force: bool = False,
    write: bool = True,
    workspace: str | Path = ".",
    run: str = "main",
) -> Package | OpenPackage:
    """Check the answers to the test images and write them as a run, with its manifest; or only check them.

    Raises:
        UsageError: `out` and `team` ask for different names, or the edition takes no such file.
        MissingStepError: there are no predictions.
        MedvqaError: checks found errors, and `force` is false.
    """
    given = None if predictions is None else Path(predictions)
    at = _run_of(Workspace.at(workspace, run), given)
    spoken = edition_of(at, edition)
    target = _target(at, None if out is None else Path(out), team, spoken)
    check_output(target)
    if spoken.open:
        if given is not None or answer_form != "list":
            raise UsageError("open questions: --predictions and --answer-form are not supported")
        sentences = package_open(at, spoken, target, answers)
        if write:
            sentences.write(force=force)
        return sentences
    fold: Literal["test", "val"] = "test" if at.has_test else "val"
    lineage = Lineage(at)
    selection = named_answers(lineage, fold, given) if given else select_answers(lineage, fold, answers)
    source = given or lineage.path(f"predictions/{fold}") if selection is None else selection.path
    development = read_development(at, dataset=lineage.dataset)
    fingerprints = {"development": development.dataset.fingerprint}
    image_ids = development.split.val(development.fold)
    if at.has_test:
        image_ids = lineage.pictures.image_ids
        fingerprints |= {"test": lineage.pictures.readable.fingerprint, "test list": list_hash(image_ids)}
    found = read_predictions(source) if selection is None else selection.predictions
    ordered = in_order(spell(answers_of(found), spoken), image_ids)
    checked = _check_files(lineage, target, selection, source, spoken)
    prepared = Package(
        workspace=at,
        edition=spoken,
        target=target,
        source=source,
        selection=selection,
        development=development,
        fold=fold,
        image_ids=tuple(image_ids),
        answers=ordered,
        fingerprints=fingerprints,
        findings=(*checked, *check_run(_as_run(at, development, spoken, ordered, image_ids, source))),
        scores=None if selection is None else _scores(selection),
        form=answer_form,
        options={"team": team, "answers": answers, "predictions": given.name if given else None},
    )
    if write:
        prepared.write(force=force)
    return prepared


def _target(workspace: Workspace, out: Path | None, team: str | None, edition: Edition) -> Path:
    if out is not None and out.suffix not in edition.run_formats:
        raise UsageError(f"--out {out}: a run of {edition.name} ends in {' or '.join(edition.run_formats)}")
    if team is None:
        return out or workspace.root / edition.run_file
    name = team_zip(team, edition)
    if out is not None and out.name != name:
        raise UsageError(f"--team {team} writes {name}, --out asks for {out.name}: leave one of them out")
    return out or workspace.root / name


def _run_of(workspace: Workspace, predictions: Path | None) -> Workspace:
    """The workspace at the run that `predictions` lie in, or that their record names, whatever `--run` says."""
    if predictions is not None and predictions.resolve().is_relative_to(workspace.work.resolve()):
        name = predictions.resolve().relative_to(workspace.work.resolve()).parts[0]
        if name in workspace.runs():
            return Workspace.at(workspace.root, name)
    record = None if predictions is None else read_record(predictions)
    names = [input_.split("/")[1] for input_ in record.inputs if input_.startswith("work/")] if record else []
    runs = list(dict.fromkeys(names))
    return Workspace.at(workspace.root, runs[0]) if len(runs) == 1 else workspace


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
    elif faults := lineage.pictures.faults:
        message = f"{len(faults)} test images cannot be read: their answers are the most frequent training answers"
        findings.append(warning("unreadable", list(faults), message, "repair these files and predict again"))
    findings += check_name(target, edition)
    if selection is None:
        message = f"{source.name} has no record: nothing says which model answers which images in it"
        findings.append(warning("unrecorded", [source.name], message, "`medvqa predict` writes files with a record"))
    elif stale := selection.warning:
        command = selection.lineage.remedy(selection.artefact.name)
        findings.append(error("stale", [selection.artefact.name], stale, f"`{command}`, or --force"))
    return findings


def _answers_from(selection: Selection | None) -> dict[str, str]:
    """Where the run's own answers come from, for the manifest: run, artefact and the digest of its record."""
    if selection is None or selection.path == Path(selection.artefact.name):
        return {}
    record = selection.artefact.record
    run = selection.lineage.workspace.run
    return {"run": run, "artefact": selection.artefact.name, "digest": record.digest if record else ""}


def _scores(selection: Selection) -> Any:
    """The content of scores.json, if it was written for these answers; else None."""
    state = selection.lineage.artefact("scores")
    if state.status != "fresh" or state.record is None or selection.artefact.name not in state.record.inputs:
        return None
    return read_json(state.path)


def _models(workspace: Workspace) -> list[Path]:
    """The files of all that may have answered: BLIP-2 with its recipe, experts, and their calibration."""
    trained = [path for each in workspace.members() for path in sorted(each.stage(2).glob("*"))]
    experts = [path for path in workspace.run_folder.glob("experts/*/*") if path.suffix in (".json", ".safetensors")]
    return [*trained, *sorted(experts), *(workspace.calibration_of(augment=augment) for augment in (False, True))]
