"""Packaging answers to closed questions: checked, and written as a run with its manifest, both or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

from imageclef_vqa.editions import Edition, learn_implications, read_predictions
from imageclef_vqa.pipeline.answers import Answers, answers_of, spell
from imageclef_vqa.pipeline.development import Development, read_development, training_vocabulary
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.prepared_run import Package, check_fold
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
    images_of,
    in_order,
    list_hash,
    organisers_verdict,
    render_run,
    warning,
)
from imageclef_vqa.workspace import Workspace


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
        findings = (*checked, *with_commands(workspace, check_run(as_run)))
        return Package(
            workspace=workspace,
            edition=edition,
            target=target,
            selection=selection,
            fold=fold,
            image_ids=tuple(image_ids),
            answers=ordered,
            findings=findings,
            render=partial(render_run, target, ordered, image_ids, edition=edition, form=form),
            fingerprints=fingerprints,
            inputs=(source, workspace.split_file, *_models(workspace)),
            seed=development.split.seed,
            scores=None if selection is None else selection.scores,
            options={
                **options,
                "predictions": given.name if given else None,
                "answer-form": None if form == "list" else form,
            },
            verdict=_verdict(target, ordered, image_ids, findings) if edition.has_checker else None,
        )


def _verdict(target: Path, answers: Answers, image_ids: Sequence[str], findings: Sequence[Finding]) -> Verdict:
    """What the organisers' own checker would say of the file."""
    first = {pair: given for pair, given in answers.items() if pair[0] == image_ids[0]}  # all it looks at
    loaded = None if target.suffix == ".csv" else arrange(first, [])
    found = [each for each in findings if each.check != "stale"]  # of this workspace, not of the file
    return organisers_verdict(loaded, image_ids, found, instead=answers)


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
    workspace = lineage.workspace
    findings = check_fold(workspace, workspace.test / "images")
    if workspace.has_test and (faults := lineage.sources.pictures.faults):
        message = f"{len(faults)} test images cannot be read: their answers are the most frequent training answers"
        findings.append(warning("unreadable", list(faults), message, "repair these files and predict again"))
    findings += check_name(target, edition)
    if selection is None:
        message = f"{source.name} has no record: nothing says which model answers which images in it"
        findings.append(warning("unrecorded", [source.name], message, "`medvqa predict` writes files with a record"))
    return [*with_commands(workspace, findings), *(selection.findings if selection is not None else [])]


def _models(workspace: Workspace) -> list[Path]:
    """The files of all that may have answered: BLIP-2 with its recipe, experts, and their calibration."""
    trained = [path for each in workspace.members() for path in sorted(each.stage(2).glob("*"))]
    experts = [path for path in workspace.run_folder.glob("experts/*/*") if path.suffix in (".json", ".safetensors")]
    return [*trained, *sorted(experts), *(workspace.calibration_of(augment=augment) for augment in (False, True))]
