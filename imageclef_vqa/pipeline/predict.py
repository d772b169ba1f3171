"""`medvqa predict`: an answer to every question about every image, by one run or the mean of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imageclef_vqa.data import Pictures, read_pictures, skipped_files
from imageclef_vqa.data.reading import IDS_FILE
from imageclef_vqa.devices import parse_devices, prepare
from imageclef_vqa.errors import DataError, UsageError
from imageclef_vqa.files import check_output
from imageclef_vqa.locks import run_writer
from imageclef_vqa.pipeline.selection import answer_mode
from imageclef_vqa.pipeline.timing import write_timing
from imageclef_vqa.workspace import NAME, NAME_RULE, Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.jobs import PredictOptions
    from imageclef_vqa.inference.predict import Predicted
    from imageclef_vqa.inference.runs import Ensemble

FOLDS = ("val", "test", "train")
_RESERVED = ("plain", "routed", *FOLDS)  # names that mean other answers, or no variant


def predict(
    workspace: str | Path = ".",
    *,
    folds: Sequence[str] = (),
    name: str | None = None,
    images: str | Path | None = None,
    ids: str | Path | None = None,
    out: str | Path | None = None,
    decode: Literal["closed", "free"] = "closed",
    optimise: Literal["exact", "f1"] = "exact",
    augment: bool = False,
    consistent: bool = False,
    on_bad_image: Literal["stop", "prior"] = "stop",
    answers: str | None = None,
    device: str = "auto",
    devices: str | None = None,
    run: str | Sequence[str] = "main",
    notify: Callable[[str], None] = lambda message: None,
) -> Predicted:
    """Answer `folds` of the workspace (validation and test by default), or a folder of `images` into the file `out`.

    Answers to folds with other options than the default are a variant with its own `name`, which follows from the
    options unless it is given. Answers to a folder are those that the run would submit, unless options say otherwise.

    Args:
        answers: for a folder: "routed", "plain" (BLIP-2 only), or the name of a variant, whose options are used.

    Raises:
        UsageError: options contradict each other.
        MedvqaError: no finished stage 2, or data that cannot be used.
        ChangedError: what the answers depend on has changed.
    """
    _check_images(images, ids, out, folds)
    if out is not None:
        check_output(Path(out))
    if unknown := [fold for fold in folds if fold not in FOLDS]:
        raise UsageError(f"--fold {unknown[0]}: use {' or '.join(FOLDS)}")
    _check_name(name, images)
    named = [Workspace.at(workspace, each) for each in ([run] if isinstance(run, str) else run)]
    runs = [member for each in named for member in each.members()]
    several = [] if devices is None else parse_devices(devices, device)
    on = prepare(device, seed=0)

    from imageclef_vqa.inference.jobs import PredictOptions
    from imageclef_vqa.inference.sharding import device_names

    options = PredictOptions(
        decode=decode, optimise=optimise, augment=augment, consistent=consistent, on_bad_image=on_bad_image
    )
    options.check(len(runs))
    names = device_names(on, several)
    if images is not None and out is not None:
        listed = None if ids is None else Path(ids)
        return predict_images(
            runs, Path(images), listed, Path(out), answers=answers, options=options, devices=names, notify=notify
        )
    if answers is not None:
        raise UsageError("--answers goes with --images: folds are answered by BLIP-2, and `medvqa route` routes them")
    return predict_folds(runs, folds=folds, name=name, options=options, devices=names, notify=notify)


def predict_folds(
    workspaces: Sequence[Workspace],
    *,
    folds: Sequence[str] = (),
    name: str | None = None,
    options: PredictOptions | None = None,
    devices: Sequence[str] = ("cpu",),
    notify: Callable[[str], None],
) -> Predicted:
    """Answer `folds` by the runs of `workspaces`; without `folds`, validation and, if there is one, the test set.

    Raises:
        MedvqaError: there is no finished stage 2, or the data cannot be used.
    """
    from imageclef_vqa.inference.jobs import PredictOptions, fold_jobs
    from imageclef_vqa.inference.predict import learn_rules, predict_jobs
    from imageclef_vqa.inference.runs import read_ensemble

    options = options or PredictOptions()
    name = name or options.variant
    ensemble = read_ensemble(workspaces)
    if (other := ensemble.workspace.misspelt_test()) is not None:
        test = ensemble.workspace.shown(ensemble.workspace.test)
        notify(f"warning: no test images in {test}; is {ensemble.workspace.shown(other)} a misspelling of it?")
    with run_writer(ensemble.workspace.run_folder):
        dataset, split = ensemble.read_development()
        jobs = fold_jobs(ensemble, dataset, split, folds, options, name)
        rules = learn_rules(ensemble) if options.consistent else ()
        done = predict_jobs(ensemble, jobs, rules, options, devices, notify, name)
        if ensemble.open and name is None:
            rows = {job.name: sum(len(each.questions) for each in job.pictures.readable.examples) for job in jobs}
            write_timing(ensemble.workspace, rows, done.seconds, devices)
        return done


def predict_images(
    workspaces: Sequence[Workspace],
    images: Path,
    ids: Path | None,
    out: Path,
    *,
    answers: str | None = None,
    options: PredictOptions,
    devices: Sequence[str],
    notify: Callable[[str], None],
) -> Predicted:
    """Answer all questions about the images in a folder, or those that the file `ids` lists, into the file `out`.

    Raises:
        MedvqaError: there is no finished stage 2, or the images cannot be used.
    """
    from imageclef_vqa.inference.runs import read_ensemble

    if answers is not None and options.variant is not None:
        raise UsageError(f"--answers {answers} has its own options: leave it out, or the options of {options.variant}")
    ensemble = read_ensemble(workspaces)
    if ids is not None and not ids.is_file():
        raise DataError([f"{ids}: there is no such file"], remedy="a text file with one image id per line")
    mode = "plain" if options.variant else answers
    with run_writer(ensemble.workspace.run_folder):
        pictures = read_pictures(images, ids or images / IDS_FILE, cache=ensemble.workspace.cache)
        done = answer_pictures(ensemble, pictures, out, mode, options=options, devices=devices, notify=notify)
    rest = [name for name in skipped_files(images) if images / name != out] if ids is None else []
    return replace(done, passed_over=tuple(rest))


def answer_pictures(
    ensemble: Ensemble,
    pictures: Pictures,
    out: Path,
    answers: str | None,
    *,
    options: PredictOptions,
    devices: Sequence[str],
    notify: Callable[[str], None],
) -> Predicted:
    """Answer pictures that are no fold of the workspace into the file `out`, as the run answers further images.

    Args:
        answers: "routed", "plain" or the name of a variant, whose options take the place of `options`.

    Raises:
        MedvqaError: there are no such answers, or a picture cannot be used.
    """
    from imageclef_vqa.inference.jobs import Job
    from imageclef_vqa.inference.predict import learn_rules, predict_jobs

    mode = answer_mode(ensemble.workspace, answers, notify)
    if options.variant is None:
        options = replace(mode.options, on_bad_image=options.on_bad_image)
    rules = learn_rules(ensemble) if options.consistent else ()
    inputs = {"images": pictures.readable.fingerprint}
    route = None
    if (router := mode.router) is not None:
        inputs |= {ensemble.outside("routed/decisions"): router.digest}
        route = partial(router.route, images=pictures.readable, pixels=ensemble.workspace.cache)
    job = Job("images", pictures, out, inputs, own=False, route=route)
    return replace(predict_jobs(ensemble, [job], rules, options, devices, notify), answers=mode.name)


def _check_images(
    images: str | Path | None, ids: str | Path | None, out: str | Path | None, folds: Sequence[str]
) -> None:
    if images is None:
        if alone := [option for option, given in (("--out", out), ("--ids", ids)) if given is not None]:
            raise UsageError(f"{alone[0]} goes with --images FOLDER; answers to folds are written into work/")
        return
    if out is None:
        raise UsageError("--images needs a file for the answers: --out answers.jsonl")
    if folds:
        raise UsageError("--fold and --images exclude each other: --images answers a folder of its own")
    if Path(out).suffix != ".jsonl":
        raise UsageError(
            f"--out {out}: answers to --images are JSON lines, use a name that ends in .jsonl",
            remedy="`medvqa package --predictions answers.jsonl --out run.csv` writes a run from them",
        )


def _check_name(name: str | None, images: str | Path | None) -> None:
    if name is None:
        return
    if images is not None:
        raise UsageError("--name is for answers to --fold; answers to --images are kept in the file --out")
    if name in _RESERVED:
        raise UsageError(f"--name {name}: a variant may not be called {', '.join(_RESERVED[:-1])} or {_RESERVED[-1]}")
    if not NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: {NAME_RULE}")
