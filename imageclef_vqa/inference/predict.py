"""`medvqa predict`: an answer to every question about every image.

    pixels ─ answerer ─► ranked answers, batch by batch in a journal      (one device or several)
           ─ mean of runs ─ temperature ─ best set ─ consistency ─► predictions

The first line is costly and can be resumed; the second one is computed from the journal in a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imageclef_vqa.data import Dataset, Split, read_dataset, read_pictures, read_split, skipped_files
from imageclef_vqa.data.reading import IDS_FILE
from imageclef_vqa.editions import Implication, Prediction, learn_implications, write_predictions
from imageclef_vqa.errors import DataError
from imageclef_vqa.files import run_writer
from imageclef_vqa.inference.answering import answer_jobs, averaged, clear_journals
from imageclef_vqa.inference.builders import from_free_text, from_prior, from_ranked
from imageclef_vqa.inference.calibration import (
    Calibration,
    LabelledPair,
    apply_temperature,
    calibrate,
    read_calibration,
    write_calibration,
)
from imageclef_vqa.inference.consistency import Consistency
from imageclef_vqa.inference.decoding import NO_ANSWER
from imageclef_vqa.inference.jobs import Job, PredictOptions, fold_jobs
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inference.ranked import Ranked, best
from imageclef_vqa.inference.runs import Ensemble, read_ensemble
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Predicted:
    """What `run` wrote.

    Attributes:
        files, images: the file and the number of images of each job.
        unreadable: image ids with what is wrong with the file.
        untrained: questions that training never answers.
        rules, repaired: the consistency rules, and the number of answers that they changed.
        empty: the number of free answers without text.
        seconds: the time of this call.
        passed_over: files of the folder that are no images by their names.
    """

    run: str
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


def predict(
    workspaces: Sequence[Workspace],
    *,
    folds: Sequence[str] = (),
    options: PredictOptions | None = None,
    devices: Sequence[str] = ("cpu",),
    notify: Callable[[str], None],
) -> Predicted:
    """Answer `folds` by the runs of `workspaces`; without `folds`, validation and, if there is one, the test set.

    An interrupted call is resumed. Each of several `devices` has its own process, which imports the caller's main
    module again; without devices, the CPU has as many processes as save time.

    Raises:
        MedvqaError: there is no finished stage 2, or the data cannot be used.
    """
    ensemble = read_ensemble(workspaces)
    with run_writer(ensemble.workspace.run_folder):
        dataset, split = _read_development(ensemble)
        jobs = fold_jobs(ensemble, dataset, split, folds)
        options = options or PredictOptions()
        rules = learn_rules(ensemble, dataset, split) if options.consistent else ()
        return predict_jobs(ensemble, jobs, rules, options, devices, notify)


def predict_images(
    workspaces: Sequence[Workspace],
    images: Path,
    ids: Path | None,
    out: Path,
    *,
    options: PredictOptions | None = None,
    devices: Sequence[str] = ("cpu",),
    notify: Callable[[str], None],
) -> Predicted:
    """Answer all questions about the images in a folder, or those that the file `ids` lists, into the file `out`.

    Raises:
        MedvqaError: there is no finished stage 2, or the images cannot be used.
    """
    ensemble = read_ensemble(workspaces)
    if ids is not None and not ids.is_file():
        raise DataError([f"{ids}: there is no such file"], remedy="a text file with one image id per line")
    options = options or PredictOptions()
    with run_writer(ensemble.workspace.run_folder):
        pictures = read_pictures(images, ids or images / IDS_FILE, cache=ensemble.workspace.cache)
        rules = learn_rules(ensemble, *_read_development(ensemble)) if options.consistent else ()
        done = predict_jobs(ensemble, [Job("images", pictures, out)], rules, options, devices, notify)
    rest = [name for name in skipped_files(images) if images / name != out] if ids is None else []
    return replace(done, passed_over=tuple(rest))


def _read_development(ensemble: Ensemble) -> tuple[Dataset, Split]:
    workspace = ensemble.workspace
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    return dataset, read_split(workspace.split_file, dataset)


def learn_rules(ensemble: Ensemble, dataset: Dataset, split: Split) -> tuple[Implication, ...]:
    """The rules between questions that the labels of the training fold keep.

    Raises:
        MedvqaError: the runs were trained on another split.
    """
    ensemble.check_split(dataset, split)
    return learn_implications([each.answers for each in dataset.subset(split.train(ensemble.fold)).examples])


def predict_jobs(
    ensemble: Ensemble,
    jobs: Sequence[Job],
    rules: tuple[Implication, ...],
    options: PredictOptions,
    devices: Sequence[str],
    notify: Callable[[str], None],
) -> Predicted:
    """Answer the images of all jobs and write their files; answers are repaired to keep `rules`.

    Raises:
        DataError: an image cannot be read, and `options.on_bad_image` is "stop".
    """
    started = time.monotonic()
    unreadable = {image_id: fault for job in jobs for image_id, fault in job.pictures.faults.items()}
    if unreadable and options.on_bad_image == "stop":
        remedy = "repair these files, or use the most frequent training answers for them: --on-bad-image prior"
        raise DataError(list(unreadable.values()), remedy=remedy)
    journals = answer_jobs(ensemble, jobs, options, devices, notify)
    calibration, repaired, empty = None, 0, 0
    for job, of_job in zip(jobs, journals, strict=True):
        if options.decode == "closed":
            calibration = _calibration(ensemble, job, of_job, options)
        choice = _Choice(ensemble, options, calibration.temperature if calibration else 1.0, Consistency(rules))
        write_predictions(job.target, choice.predictions(job, of_job))
        repaired, empty = repaired + choice.repaired, empty + choice.empty
        clear_journals(job.target)
    return Predicted(
        run=ensemble.workspace.run,
        files={job.name: job.target for job in jobs},
        images={job.name: len(job.pictures.image_ids) for job in jobs},
        unreadable=unreadable,
        untrained=ensemble.vocabulary.untrained,
        calibration=calibration,
        rules=rules,
        repaired=repaired,
        empty=empty,
        seconds=time.monotonic() - started,
    )


def _calibration(
    ensemble: Ensemble, job: Job, journals: Sequence[Journal], options: PredictOptions
) -> Calibration | None:
    """The ensemble's calibration: fitted if the job has gold answers, else the one that was fitted before."""
    model, path = ensemble.calibration_key(augment=options.augment), ensemble.workspace.calibration
    pairs = [
        LabelledPair(ranked, job.gold[example.image_id, question], job.groups[example.image_id])
        for example, of_image in zip(job.pictures.readable.examples, averaged(journals), strict=True)
        for question, ranked in enumerate(of_image)
        if (example.image_id, question) in job.gold
    ]
    if not pairs:
        return read_calibration(path, model)
    fitted = calibrate(pairs, model)
    write_calibration(path, fitted)
    return fitted


class _Choice:
    """From ranked answers to predictions; counts the `repaired` and the `empty` ones."""

    def __init__(self, ensemble: Ensemble, options: PredictOptions, temperature: float, rules: Consistency) -> None:
        self._ensemble, self._options, self._temperature, self._rules = ensemble, options, temperature, rules
        self.repaired = self.empty = 0

    def predictions(self, job: Job, journals: Sequence[Journal]) -> Iterator[Prediction]:
        answered, vocabulary = averaged(journals), self._ensemble.vocabulary
        for image_id in job.pictures.image_ids:
            if image_id in job.pictures.faults:
                yield from from_prior(image_id, vocabulary)
            elif self._options.decode == "free":
                of_image = next(answered)
                self.empty += sum(answers == (NO_ANSWER,) for ((answers, _),) in of_image)
                yield from from_free_text(image_id, of_image, vocabulary, self._ensemble.name)
            else:
                yield from self._closed(image_id, next(answered))

    def _closed(self, image_id: str, of_image: list[Ranked]) -> list[Prediction]:
        ranked = [apply_temperature(each, self._temperature) for each in of_image]
        likely = [best(each, self._options.optimise)[0] for each in ranked]
        given = self._rules.repair(likely, ranked)
        self.repaired += sum(one != other for one, other in zip(likely, given, strict=True))
        return from_ranked(image_id, ranked, likely, given, self._ensemble.vocabulary, self._ensemble.name)
