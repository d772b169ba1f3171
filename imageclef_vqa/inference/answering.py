"""Ranked answers to all images of several jobs, kept batch by batch in journals, so that a stopped call can resume."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.inference.decoding import BEAM, SHORT_LIST
from imageclef_vqa.inference.jobs import Job, PredictOptions
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inference.ranked import Ranked, mean
from imageclef_vqa.inference.runs import Ensemble, TrainedRun
from imageclef_vqa.inference.sentences import BEAM as SENTENCES
from imageclef_vqa.inference.sharding import Task, answer_tasks, processes_that_pay
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.planning import Workload, make_plan
from imageclef_vqa.training.config import fingerprint

IMAGES_AT_ONCE = 32  # per batch at most: a killed call loses at most one batch


def answer_jobs(
    ensemble: Ensemble,
    jobs: Sequence[Job],
    options: PredictOptions,
    devices: Sequence[str],
    notify: Callable[[str], None],
) -> list[list[Journal]]:
    """The complete journals of each job, one per run. One model is in memory at a time."""
    journals: list[list[Journal]] = [[] for _ in jobs]
    for run in ensemble.runs:
        tasks = []
        for job, of_job in zip(jobs, journals, strict=True):
            journal = _open_journal(run, job, options)
            if done := journal.images - sum(journal.length(number) for number in journal.missing):
                notify(f"{job.name}: resuming after {done} images that were answered before")
            of_job.append(journal)
            tasks.append(
                Task(
                    title=f"predict {job.name}",
                    dataset=job.pictures.readable,
                    journal=journal,
                    image_size=run.preset.vision.image_size,
                    free=options.decode == "free",
                    augment=options.augment,
                )
            )
        on = devices or ("cpu",) * processes_that_pay(tasks, make_plan(_workload(run.preset)).peak)
        answer_tasks(run.workspace, tasks, on)
    return journals


def averaged(journals: Sequence[Journal]) -> Iterator[list[Ranked]]:
    """The answers [question] about each image, averaged over all runs."""
    for of_image in zip(*(journal.read() for journal in journals), strict=True):
        yield [lists[0] if len(lists) == 1 else mean(lists) for lists in zip(*of_image, strict=True)]


def images_in_batch(preset: Preset) -> int:
    """How many images are answered and saved together: no more than the model computes at once."""
    return min(IMAGES_AT_ONCE, _workload(preset).images_per_device)


def clear_journals(target: Path) -> None:
    """Remove the journals beside `target`."""
    shutil.rmtree(_unfinished(target), ignore_errors=True)


def _open_journal(run: TrainedRun, job: Job, options: PredictOptions) -> Journal:
    dataset, batch = job.pictures.readable, images_in_batch(run.preset)
    how = (options.decode, str(options.augment), str(batch), str(BEAM), str(SHORT_LIST), str(SENTENCES))
    key = fingerprint(run.digest, dataset.fingerprint, *how, *dataset.image_ids)
    questions = [len(example.questions) if dataset.open else len(QUESTIONS) for example in dataset.examples]
    return Journal(_unfinished(job.target) / run.workspace.run, key, batch, questions)


def _unfinished(target: Path) -> Path:
    """The folder of the journals until `target` is written."""
    return target.with_name(f".{target.name}.unfinished")


def _workload(preset: Preset) -> Workload:
    # 32 bits are the most that the language model can have.
    return Workload(preset=preset, stage="predict", questions=len(QUESTIONS), language_bits=32)
