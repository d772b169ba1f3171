"""`medvqa predict`: an answer to every question about every image.

    pixels ─ answerer ─► ranked answers, batch by batch in a journal      (sharding.py: one device or several)
           ─ mean of runs ─ temperature ─ the best set ─ consistency ─► predictions

The first line is costly and resumable; the second one is computed from the journal in a moment.
"""

from __future__ import annotations

import glob
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from imageclef_vqa.data import Dataset, Pictures, read_pictures, skipped_files
from imageclef_vqa.data.reading import IDS_FILE
from imageclef_vqa.editions import QUESTIONS, Implication, Prediction, learn_implications, write_predictions
from imageclef_vqa.errors import DataError, MissingStepError, UsageError
from imageclef_vqa.files import sole_writer
from imageclef_vqa.inference.calibration import (
    Calibration,
    Judged,
    calibrate,
    read_calibration,
    temper,
    write_calibration,
)
from imageclef_vqa.inference.consistency import Consistency
from imageclef_vqa.inference.decoding import BEAM, NOTHING, SHORT_LIST
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inference.ranked import Optimise, Ranked, best, mean
from imageclef_vqa.inference.records import from_free_text, from_prior, from_ranked
from imageclef_vqa.inference.runs import Ensemble, read_ensemble
from imageclef_vqa.inference.sharding import Task, answer_tasks, processes_that_pay
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.planning import Workload, make_plan
from imageclef_vqa.training.config import fingerprint
from imageclef_vqa.workspace import Workspace

IMAGES_AT_ONCE = 32  # at most, and lost at most where a run is killed
FOLDS = ("val", "test", "train")


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """How to answer. The defaults are what validation showed to be best (README)."""

    decode: Literal["closed", "free"] = "closed"
    optimise: Optimise = "exact"
    augment: bool = False
    consistent: bool = False
    on_bad_image: Literal["stop", "prior"] = "stop"

    def check(self, runs: int) -> None:
        """Raises:
        UsageError: what the model says freely is asked to be averaged, optimised or repaired.
        """
        if self.decode == "free" and (runs > 1 or self.augment or self.consistent or self.optimise != "exact"):
            raise UsageError("--decode free gives one model's own words: one --run, and no other option on answers")


@dataclass(frozen=True)
class Job:
    """Images to answer and the file for the answers; `gold` and `groups` where a temperature may be fitted to them."""

    name: str
    pictures: Pictures
    target: Path
    gold: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Predicted:
    """What `run` wrote: a file per fold, images in it, those that could not be read, and what was learnt on the way.

    `repaired` counts the answers that rules between questions changed, `empty` those that were free and said nothing;
    `passed_over` are the files of a folder that are no pictures by their names.
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
    places: Sequence[Workspace],
    *,
    folds: Sequence[str] = (),
    manner: PredictOptions | None = None,
    devices: Sequence[str] = ("cpu",),
    notify: Callable[[str], None],
) -> Predicted:
    """Answer `folds` (none: validation and, where there is one, the test set) by the runs that `places` name.

    An interrupted call goes on where it stopped. Several `devices` have a process each, which imports the caller's main
    module anew; none stands for as many processes on the CPU as pay.

    Raises:
        MedvqaError: no finished stage 2, or data that cannot be used.
    """
    ensemble = read_ensemble(places)
    with sole_writer(ensemble.place.run_folder):
        return _answer(ensemble, _fold_jobs(ensemble, folds), manner or PredictOptions(), devices, notify)


def predict_images(
    places: Sequence[Workspace],
    images: Path,
    ids: Path | None,
    out: Path,
    *,
    manner: PredictOptions | None = None,
    devices: Sequence[str] = ("cpu",),
    notify: Callable[[str], None],
) -> Predicted:
    """Answer all questions about the images in a folder, those that the file `ids` lists if it is given, into `out`."""
    ensemble = read_ensemble(places)
    if ids is not None and not ids.is_file():
        raise DataError([f"{ids}: there is no such file"], remedy="a text file with one image id per line")
    with sole_writer(ensemble.place.run_folder):
        pictures = read_pictures(images, ids or images / IDS_FILE, cache=ensemble.place.cache)
        done = _answer(ensemble, [Job("images", pictures, out)], manner or PredictOptions(), devices, notify)
    rest = [name for name in skipped_files(images) if images / name != out] if ids is None else []
    return replace(done, passed_over=tuple(rest))


def _fold_jobs(ensemble: Ensemble, folds: Sequence[str]) -> list[Job]:
    place, fold = ensemble.place, ensemble.runs[0].config.fold
    development, split = ensemble.development()
    if ensemble.knows_all:
        if learnt := [name for name in folds if name != "test"]:
            raise UsageError(f"--fold {', '.join(learnt)}: run {place.run} has learnt all development images")
        folds = ["test"]
    if "test" in folds and not place.has_test:
        raise MissingStepError(
            f"no test images in {place.shown(place.test)}", "medvqa predict --images FOLDER --out FILE"
        )
    jobs = []
    for name in dict.fromkeys(folds or (("val", "test") if place.has_test else ("val",))):
        if name == "test":
            pictures = read_pictures(place.test / "images", place.test / IDS_FILE, cache=place.cache)
            jobs.append(Job(name, pictures, place.predictions(name)))
            continue
        part = development.subset(split.val(fold) if name == "val" else split.train(fold))
        known = (part.gold(), split.groups) if name == "val" else ({}, {})
        jobs.append(Job(name, _all_readable(part), place.predictions(name), *known))
    return jobs


def _all_readable(dataset: Dataset) -> Pictures:
    return Pictures(tuple(example.image_id for example in dataset.examples), dataset, {})


def _answer(
    ensemble: Ensemble,
    jobs: Sequence[Job],
    manner: PredictOptions,
    devices: Sequence[str],
    notify: Callable[[str], None],
) -> Predicted:
    started = time.monotonic()
    unreadable = {image_id: fault for job in jobs for image_id, fault in job.pictures.faults.items()}
    if unreadable and manner.on_bad_image == "stop":
        remedy = "mend these files, or answer them with the training labels' usual answer: --on-bad-image prior"
        raise DataError(list(unreadable.values()), remedy=remedy)
    journals = _fill(ensemble, jobs, manner, devices, notify)
    rules = _rules(ensemble) if manner.consistent else ()
    calibration, repaired, empty = None, 0, 0
    for job, mine in zip(jobs, journals, strict=True):
        if manner.decode == "closed":
            calibration = _calibration(ensemble, job, mine, manner)
        finish = _Finish(ensemble, manner, calibration.temperature if calibration else 1.0, Consistency(rules))
        write_predictions(job.target, finish.predictions(job, mine))
        repaired += finish.repaired
        empty += finish.empty
        _clear(job.target)
    return Predicted(
        run=ensemble.place.run,
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


def _fill(
    ensemble: Ensemble,
    jobs: Sequence[Job],
    manner: PredictOptions,
    devices: Sequence[str],
    notify: Callable[[str], None],
) -> list[list[Journal]]:
    """The journals of each job, one for every run, all batches answered. One model is in memory at a time."""
    journals: list[list[Journal]] = [[] for _ in jobs]
    for run in ensemble.runs:
        tasks = []
        for job, mine in zip(jobs, journals, strict=True):
            dataset = job.pictures.readable
            batch = images_in_batch(run.preset)
            how = (manner.decode, str(manner.augment), str(batch), str(BEAM), str(SHORT_LIST))
            key = fingerprint(run.hash, dataset.fingerprint, *how, *(example.image_id for example in dataset.examples))
            journal = Journal(_unfinished(job.target) / run.place.run, key, len(dataset), batch)
            if done := len(dataset) - sum(len(range(*journal.part(n).indices(len(dataset)))) for n in journal.missing):
                notify(f"{job.name}: going on after {done} images that were answered before")
            mine.append(journal)
            title, size = f"predict {job.name}", run.preset.vision.image_size
            tasks.append(Task(title, dataset, journal, size, manner.decode == "free", manner.augment))
        on = devices or ("cpu",) * processes_that_pay(tasks, make_plan(_workload(run.preset)).peak)
        answer_tasks(run.place, tasks, on)
    return journals


def images_in_batch(preset: Preset) -> int:
    """How many images are answered, and kept, together: no more than the model reads at once."""
    return min(IMAGES_AT_ONCE, _workload(preset).images_per_device)


def _workload(preset: Preset) -> Workload:
    return Workload(preset=preset, stage="predict", questions=len(QUESTIONS), language_bits=32)  # at most


def _unfinished(target: Path) -> Path:
    """Where answers are kept until `target` is written."""
    return target.with_name(f".{target.name}.unfinished")


def _clear(target: Path) -> None:
    """Remove what was needed only to go on, and what killed processes left of `target` itself."""
    shutil.rmtree(_unfinished(target), ignore_errors=True)
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        part.unlink(missing_ok=True)


def _pooled(journals: Sequence[Journal]) -> Iterator[list[Ranked]]:
    """The answers [question] about each image, the mean of all runs."""
    for of_image in zip(*(journal.read() for journal in journals), strict=True):
        yield [lists[0] if len(lists) == 1 else mean(lists) for lists in zip(*of_image, strict=True)]


def _calibration(
    ensemble: Ensemble, job: Job, journals: Sequence[Journal], manner: PredictOptions
) -> Calibration | None:
    """The temperature of the ensemble: fitted anew where there is gold, else the one fitted before."""
    model, path = ensemble.calibrated_as(augment=manner.augment), ensemble.place.calibration
    pairs = [
        Judged(ranked, job.gold[example.image_id, question], job.groups[example.image_id])
        for example, of_image in zip(job.pictures.readable.examples, _pooled(journals), strict=True)
        for question, ranked in enumerate(of_image)
        if (example.image_id, question) in job.gold
    ]
    if not pairs:
        return read_calibration(path, model)
    fitted = calibrate(pairs, model)
    write_calibration(path, fitted)
    return fitted


def _rules(ensemble: Ensemble) -> tuple[Implication, ...]:
    """What the training labels show of one answer by another."""
    dataset, split = ensemble.development()
    return learn_implications([e.answers for e in dataset.subset(split.train(ensemble.runs[0].config.fold)).examples])


class _Finish:
    """From ranked answers to predictions; `repaired` and `empty` are counted on the way."""

    def __init__(self, ensemble: Ensemble, manner: PredictOptions, temperature: float, rules: Consistency) -> None:
        self._ensemble, self._manner, self._temperature, self._rules = ensemble, manner, temperature, rules
        self.repaired = self.empty = 0

    def predictions(self, job: Job, journals: Sequence[Journal]) -> Iterator[Prediction]:
        answered = _pooled(journals)
        for image_id in job.pictures.image_ids:
            if image_id in job.pictures.faults:
                yield from from_prior(image_id, self._ensemble.vocabulary)
            elif self._manner.decode == "free":
                of_image = next(answered)
                self.empty += sum(said == (NOTHING,) for ((said, _),) in of_image)
                yield from from_free_text(image_id, of_image, self._ensemble.vocabulary, self._ensemble.name)
            else:
                yield from self._closed(image_id, next(answered))

    def _closed(self, image_id: str, of_image: list[Ranked]) -> list[Prediction]:
        ranked = [temper(each, self._temperature) for each in of_image]
        likely = [best(each, self._manner.optimise)[0] for each in ranked]
        agreed = self._rules.repair(likely, ranked)
        self.repaired += sum(one != other for one, other in zip(likely, agreed, strict=True))
        return from_ranked(image_id, ranked, likely, agreed, self._ensemble.vocabulary, self._ensemble.name)
