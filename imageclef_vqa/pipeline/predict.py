"""`medvqa predict`: an answer to every question about every image, by one run or the mean of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imageclef_vqa.devices import parse_devices, prepare
from imageclef_vqa.errors import UsageError
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.predict import Predicted

FOLDS = ("val", "test", "train")


def predict(
    workspace: str | Path = ".",
    *,
    folds: Sequence[str] = (),
    images: str | Path | None = None,
    ids: str | Path | None = None,
    out: str | Path | None = None,
    decode: Literal["closed", "free"] = "closed",
    optimise: Literal["exact", "f1"] = "exact",
    augment: bool = False,
    consistent: bool = False,
    on_bad_image: Literal["stop", "prior"] = "stop",
    device: str = "auto",
    devices: str | None = None,
    run: str | Sequence[str] = "main",
    notify: Callable[[str], None] = lambda message: None,
) -> Predicted:
    """Answer `folds` of the workspace (validation and test by default), or a folder of `images` into the file `out`.

    Raises:
        UsageError: options contradict each other.
        MedvqaError: no finished stage 2, or data that cannot be used.
    """
    if (images is None) != (out is None) or (ids and images is None) or (images and folds):
        raise UsageError("a folder of images is answered by --images FOLDER --out FILE, with --ids FILE but no --fold")
    if unknown := [name for name in folds if name not in FOLDS]:
        raise UsageError(f"--fold {unknown[0]}: use {' or '.join(FOLDS)}")
    runs = [Workspace.at(workspace, name) for name in ([run] if isinstance(run, str) else run)]
    several = [] if devices is None else parse_devices(devices, device)
    on = prepare(device, seed=0)

    from imageclef_vqa.inference import predict as inference
    from imageclef_vqa.inference.sharding import device_names

    options = inference.PredictOptions(
        decode=decode, optimise=optimise, augment=augment, consistent=consistent, on_bad_image=on_bad_image
    )
    options.check(len(runs))
    names = device_names(on, several)
    if images is not None and out is not None:
        listed = None if ids is None else Path(ids)
        return inference.predict_images(
            runs, Path(images), listed, Path(out), options=options, devices=names, notify=notify
        )
    return inference.predict(runs, folds=folds, options=options, devices=names, notify=notify)
