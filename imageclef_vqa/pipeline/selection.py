"""Which answers of a run are used: the routed ones, BLIP-2's plain ones, or those of a named variant of `predict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imageclef_vqa.artefacts import ChangedError, record_path
from imageclef_vqa.editions import Prediction, read_predictions, same_answer
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.inputs import read_json
from imageclef_vqa.pipeline.answers import FOLDS, Answers, answers_of
from imageclef_vqa.pipeline.lineage import Artefact, Lineage
from imageclef_vqa.submission import Finding, error, read_run
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.jobs import PredictOptions
    from imageclef_vqa.pipeline.router import ImageRouter

_KINDS = {"routed": "routed", "predictions": "plain"}


@dataclass(frozen=True)
class Selection:
    """The answers to one fold that are used, and where they stand in the lineage of their run.

    `name` is "routed", "plain", the name of a variant, or that of a file.
    """

    name: str
    fold: str
    artefact: Artefact
    lineage: Lineage

    @property
    def path(self) -> Path:
        return self.artefact.path

    @cached_property
    def predictions(self) -> list[Prediction]:
        """The answers.

        Raises:
            ChangedError: they cannot be read since the file has changed.
        """
        with self.staleness_explained():
            return read_predictions(self.path)

    @contextmanager
    def staleness_explained(self) -> Iterator[None]:
        """Within the block, what cannot be read is told as why these answers are stale, if they are.

        Raises:
            ChangedError: as said.
        """
        try:
            yield
        except MedvqaError as fault:
            if self.warning is None or isinstance(fault, ChangedError):
                raise
            remedy = f"begin with `{self.lineage.remedy(self.artefact.name)}`"
            raise ChangedError(f"{self.warning}\n{fault.what}", remedy=remedy) from fault

    @property
    def findings(self) -> list[Finding]:
        """An error where these answers are not those of the current chain."""
        if self.warning is None:
            return []
        command = self.lineage.remedy(self.artefact.name)
        return [error("stale", [self.artefact.name], self.warning, f"`{command}`, or --force")]

    @property
    def scores(self) -> Any:
        """The content of scores.json, if it was written for these answers; else None."""
        state = self.lineage.artefact("scores")
        if state.status != "fresh" or state.record is None or self.artefact.name not in state.record.inputs:
            return None
        return read_json(state.path)

    @property
    def warning(self) -> str | None:
        """Why these answers are not those of the current chain; None if they are."""
        state = self.artefact
        if state.status == "fresh":
            return None
        return f"{self.lineage.workspace.shown(state.path)} is {state.state}"

    @property
    def line(self) -> str:
        """What people read first: which answers, of which model, how old, and how many differ from the others."""
        shown = self.lineage.workspace.shown(self.path)
        written = datetime.fromtimestamp(self.path.stat().st_mtime).strftime("%d %b %H:%M")
        plain = "adopted answers" if self.lineage.adopted else "BLIP-2's plain answers"
        kind = {"routed": "routed answers", "plain": plain}.get(self.name, f"the variant {self.name}")
        other, theirs = ("predictions", "BLIP-2's") if self.name == "routed" else ("routed", "the routed ones")
        others = self.lineage.path(f"{other}/{self.fold}")
        differ = f"; {self._changed(others):,} differ from {theirs}" if others.exists() else ""
        return f"{self.fold}: {kind} ({self._models}), {shown}, written {written}{differ}"

    @property
    def _models(self) -> str:
        counts = Counter(each.model for each in self.predictions)
        return ", ".join(f"{model}: {count:,}" for model, count in counts.most_common())

    def _changed(self, others: Path) -> int:
        before = {(each.image_id, each.question_id): each.answers for each in read_predictions(others)}
        return sum(
            not same_answer(each.answers, before.get((each.image_id, each.question_id), ()))
            for each in self.predictions
        )


def select_answers(lineage: Lineage, fold: str, answers: str | None = None) -> Selection:
    """The answers to `fold`; without `answers`, the routed ones if there are any, else the plain ones.

    Raises:
        MissingStepError: there are none.
        MedvqaError: there are routed answers, but they were made from other predictions than there are now: somebody
            has to choose.
    """
    workspace, routed, plain = lineage.workspace, f"routed/{fold}", f"predictions/{fold}"
    if answers is not None:
        name = {"routed": routed, "plain": plain}.get(answers, f"predictions/{answers}/{fold}")
        if not lineage.path(name).exists():
            where = workspace.shown(workspace.run_folder)
            raise MissingStepError(f"no {answers} answers to {fold} in {where}", lineage.command(name))
        return Selection(answers, fold, lineage.artefact(name), lineage)
    if not lineage.path(routed).exists():
        if not lineage.path(plain).exists():
            where = workspace.shown(workspace.run_folder)
            raise MissingStepError(f"no predictions for {fold} in {where}", lineage.command(plain))
        return Selection("plain", fold, lineage.artefact(plain), lineage)
    chosen = lineage.artefact(routed)
    record, now = chosen.record, lineage.artefact(plain).record
    if record is not None and now is not None and record.inputs.get(plain) != now.digest:
        raise MedvqaError(
            f"{workspace.shown(chosen.path)} was routed from other predictions than "
            f"{workspace.shown(lineage.path(plain))} holds now",
            remedy=f"`{lineage.command(routed)}` routes these; "
            "--answers plain uses them unrouted, --answers routed the older routed ones",
        )
    return Selection("routed", fold, chosen, lineage)


@dataclass(frozen=True)
class AnswerMode:
    """How a run answers further images: `name` is "routed", "plain" or that of a variant.

    `router` is None where BLIP-2 answers; `options` are the variant's.
    """

    name: str
    options: PredictOptions
    router: ImageRouter | None = None


def answer_mode(workspace: Workspace, answers: str | None, notify: Callable[[str], None]) -> AnswerMode:
    """How a run answers further images as it answered the test images.

    Args:
        answers: "routed", "plain" or the name of a variant; by default, routed if the run was routed.

    Raises:
        UsageError: the run was not routed.
        MissingStepError: there is no such variant.
        ChangedError: the decisions or the variant, or what they were made from, have changed.
    """
    from imageclef_vqa.inference.jobs import PredictOptions

    if answers in (None, "routed", "plain"):
        from imageclef_vqa.pipeline.router import load_router  # with SciPy's optimisers, which `score` does not need

        router = load_router(workspace, answers, notify)
        return AnswerMode("plain" if router is None else "routed", PredictOptions(), router)
    lineage = Lineage(workspace)
    fold = next((fold for fold in FOLDS if lineage.path(f"predictions/{answers}/{fold}").exists()), FOLDS[0])
    chosen = select_answers(lineage, fold, answers)
    if chosen.warning is not None or chosen.artefact.record is None:
        raise ChangedError(
            chosen.warning or f"{workspace.shown(chosen.path)} has no record",
            remedy=f"begin with `{lineage.remedy(chosen.artefact.name)}`; --answers plain asks BLIP-2 only",
        )
    options = {name: value for name, value in chosen.artefact.record.options.items() if name != "temperature"}
    return AnswerMode(answers or "", PredictOptions(**options))


def named_answers(lineage: Lineage, fold: str, file: Path) -> Selection | None:
    """The answers in `file`; None if it has no record, so that nothing is known of them."""
    for name in lineage.names():
        if name.startswith(("predictions/", "routed/")) and lineage.path(name).resolve() == file.resolve():
            kind, *variant, _ = name.split("/")
            return Selection(variant[0] if variant else _KINDS[kind], fold, lineage.artefact(name), lineage)
    return Selection(file.name, fold, lineage.artefact(str(file)), lineage) if record_path(file).exists() else None


def read_answers(workspace: Workspace, source: str) -> Answers:
    """The answers in a file of predictions or a run file, or those that the run of that name would submit.

    Raises:
        UsageError: there is neither such a file nor such a run.
    """
    path = Path(source)
    if path.suffix == ".jsonl":
        return answers_of(read_predictions(path))
    if path.is_file():
        return read_run(path)
    if (workspace.work / source).is_dir():
        lineage = Lineage(Workspace.at(workspace.root, source))
        found = [select_answers(lineage, fold) for fold in FOLDS if lineage.has_answers(fold)]
        if found:
            return answers_of(each for selection in found for each in selection.predictions)
    raise UsageError(
        f"{source}: neither a file nor a run with predictions in {workspace.shown(workspace.work)}",
        remedy="name predictions (.jsonl), a run file (.csv, .json, .zip), or a run (a folder of work/)",
    )
