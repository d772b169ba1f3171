"""Where `finetune --track` sends the numbers of a stage's log, which itself stays the complete record."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from imageclef_vqa.environment import library_import
from imageclef_vqa.errors import FileError, UsageError

Service = Literal["tensorboard", "visualdl", "wandb", "swanlab"]
Tracker = Callable[[str, float, int], Any]  # name, value, step
# Service → its module, and what to install.
_PACKAGES: dict[Service, tuple[str, str]] = {
    "tensorboard": ("tensorboardX", "tensorboardX"),
    "visualdl": ("visualdl", "visualdl"),
    "wandb": ("wandb", "wandb"),
    "swanlab": ("swanlab", "swanlab"),
}


def check_service(service: Service) -> None:
    """Raises:
    UsageError: the package of the service is not installed.
    """
    module, package = _PACKAGES[service]
    try:
        with library_import():
            import_module(module)
    except ImportError as error:
        raise UsageError(f"--track {service}: {package} is not installed", remedy=f"pip install {package}") from error


@contextmanager
def open_tracker(service: Service, folder: Path, run: str) -> Iterator[Tracker]:
    """Within the block, a function that sends a number to `service`, under the name `run`; all are sent at its end.

    Services with files write them beneath `folder`, anew; the others start a new experiment.
    """
    module: Any = import_module(_PACKAGES[service][0])
    if service in ("wandb", "swanlab"):
        experiment = module.init(project="imageclef-vqa", **{"name" if service == "wandb" else "experiment_name": run})
        try:
            yield lambda name, value, step: experiment.log({name: value}, step=step)
        finally:
            experiment.finish()
        return
    target = folder / service / run
    for each in (target.parent, target):
        if each.is_symlink():
            raise FileError(f"cannot write {each}: it is a link, not a folder", remedy=f"remove {each}")
    shutil.rmtree(target, ignore_errors=True)
    writer = (module.LogWriter if service == "visualdl" else module.SummaryWriter)(logdir=str(target))
    with closing(writer):  # a thread writes; what it has not written when Python ends is lost
        yield writer.add_scalar
