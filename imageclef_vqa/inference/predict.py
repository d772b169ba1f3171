"""`medvqa predict`: an answer to every question about every image.

    pixels ─ answerer ─► ranked answers, batch by batch in a journal      (one device or several)
           ─ mean of runs ─ temperature ─ best set ─ consistency ─► predictions

The first line is costly and can be resumed; the second one is computed from the journal in a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from imageclef_vqa.artefacts import write_artefact
from imageclef_vqa.editions import Implication, learn_implications, predictions_text
from imageclef_vqa.errors import DataError, shortened
from imageclef_vqa.inference.answering import answer_jobs, averaged, clear_journals
from imageclef_vqa.inference.calibration import (
    Calibration,
    LabelledPair,
    calibrate,
    read_calibration,
    write_calibration,
)
from imageclef_vqa.inference.closed_questions import ClosedChoice
from imageclef_vqa.inference.jobs import Job, PredictOptions
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inference.open_questions import OpenChoice, check_open, fit_to_sentences
from imageclef_vqa.inference.runs import Ensemble


@dataclass(frozen=True)
class Predicted:
    """What `run` wrote.

    Attributes:
        name: of the variant; None for the plain answers, and for a folder of images.
        files, images: the file and the number of images of each job.
        unreadable: image ids with what is wrong with the file.
        untrained: questions that training never answers.
        rules, repaired: the consistency rules, and the number of answers that they changed.
        empty: the number of free answers without text.
        seconds: the time of this call.
        answers: "plain" (BLIP-2's) or, for a folder of images, "routed".
        passed_over: files of the folder that are no images by their names.
    """

    run: str
    name: str | None
    files: dict[str, Path]
    images: dict[str, int]
    unreadable: dict[str, str]
    untrained: tuple[int, ...]
    calibration: Calibration | None
    rules: tuple[Implication, ...]
    repaired: int
    empty: int
    seconds: float
    passed_over: tuple[str, ...] = ()
    answers: str = "plain"


def learn_rules(ensemble: Ensemble) -> tuple[Implication, ...]:
    """The rules between questions that the labels of the training fold keep.

    Raises:
        MedvqaError: the data cannot be used, or the runs were trained on another split.
    """
    dataset, split = ensemble.read_development()
    ensemble.check_split(dataset, split)
    return learn_implications([each.answers for each in dataset.subset(split.train(ensemble.fold)).examples])


def predict_jobs(
    ensemble: Ensemble,
    jobs: Sequence[Job],
    rules: tuple[Implication, ...],
    options: PredictOptions,
    devices: Sequence[str],
    notify: Callable[[str], None],
    name: str | None = None,
) -> Predicted:
    """Answer the images of all jobs and write their files; answers are repaired to keep `rules`.

    An interrupted call is resumed. Each of several `devices` has its own process, which imports the caller's main
    module again; without devices, the CPU has as many processes as save time.

    Raises:
        DataError: an image cannot be read, and `options.on_bad_image` is "stop"; or no image can be read.
        ChangedError: the calibration is not the one that was written.
    """
    started = time.monotonic()
    unreadable = {image_id: fault for job in jobs for image_id, fault in job.pictures.faults.items()}
    nothing = [job.name for job in jobs if not job.pictures.readable.examples]
    if unreadable and (nothing or options.on_bad_image == "stop"):
        remedy = "repair these files, or use the most frequent training answers for them: --on-bad-image prior"
        if nothing:
            remedy = f"no image of {', '.join(nothing)} can be read: is this the right folder?"
        raise DataError(shortened(list(unreadable.values())), remedy=remedy)
    if ensemble.open:
        check_open(ensemble, jobs, options)
    calibration, calibrated = None, ensemble.open or options.decode == "closed"
    if calibrated and not any(job.gold for job in jobs):  # a damaged one is refused before any work
        key = ensemble.calibration_key(augment=options.augment)
        calibration = read_calibration(ensemble.workspace, key, augment=options.augment)
    journals = answer_jobs(ensemble, jobs, options, devices, notify)
    for job, of_job in zip(jobs, journals, strict=True):
        if calibrated and job.gold:
            calibration = _fit_calibration(ensemble, job, of_job, options)
    repaired, empty = 0, 0
    for job, of_job in zip(jobs, journals, strict=True):
        choice: ClosedChoice | OpenChoice = (
            OpenChoice(ensemble.name, options, calibration)
            if ensemble.open
            else ClosedChoice(ensemble, options, calibration, rules)
        )
        _write(ensemble, job, options, calibration, choice, of_job)
        repaired, empty = repaired + choice.repaired, empty + choice.empty
        clear_journals(job.target)
    return Predicted(
        run=ensemble.workspace.run,
        name=name,
        files={job.name: job.target for job in jobs},
        images={job.name: len(job.pictures.image_ids) for job in jobs},
        unreadable=unreadable,
        untrained=() if ensemble.open else ensemble.vocabulary.untrained,
        calibration=calibration,
        rules=rules,
        repaired=repaired,
        empty=empty,
        seconds=time.monotonic() - started,
    )


def _fit_calibration(ensemble: Ensemble, job: Job, journals: Sequence[Journal], options: PredictOptions) -> Calibration:
    """Fit the ensemble's calibration to the gold answers of a job, and keep it."""
    key = ensemble.calibration_key(augment=options.augment)
    fitted = fit_to_sentences(job, journals, key) if ensemble.open else calibrate(_labelled(job, journals), key)
    inputs = ensemble.inputs | job.inputs
    write_calibration(ensemble.workspace, fitted, augment=options.augment, inputs=inputs)
    return fitted


def _labelled(job: Job, journals: Sequence[Journal]) -> list[LabelledPair]:
    """The answers to closed questions with their gold answers."""
    return [
        LabelledPair(ranked, job.gold[example.image_id, question], job.groups[example.image_id])
        for example, of_image in zip(job.pictures.readable.examples, averaged(journals), strict=True)
        for question, ranked in enumerate(of_image)
        if (example.image_id, question) in job.gold
    ]


def _write(
    ensemble: Ensemble,
    job: Job,
    options: PredictOptions,
    calibration: Calibration | None,
    choice: ClosedChoice | OpenChoice,
    journals: Sequence[Journal],
) -> None:
    """Write the answers of a job and the record of what they were made from."""
    predictions = list(choice.predictions(job, journals))
    models = ensemble.inputs
    if ensemble.open or options.decode == "closed":
        name = ensemble.workspace.calibration_of(augment=options.augment).stem
        models |= {name: calibration.digest if calibration else ""}
    write_artefact(
        job.target,
        predictions_text(predictions if job.route is None else job.route(predictions)).encode(),
        command="predict",
        inputs={name if job.own else ensemble.outside(name): digest for name, digest in models.items()} | job.inputs,
        options=asdict(options) | {"temperature": choice.temperature},
    )
