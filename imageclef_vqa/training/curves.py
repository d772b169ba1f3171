"""`loss.png`: the curves of a stage's log, a panel for each loss and one for accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from imageclef_vqa.environment import library_import
from imageclef_vqa.files import atomic_write

Records = Sequence[Mapping[str, Any]]

# Keys of a log line that are not losses.
_OTHER = {"step", "loss", "norm", "rate", "skipped", "images", "epoch", "score", "best", "seconds"}
# A loss without knowledge, and the least possible one, by name of the loss.
_REFERENCES = {f"{kind}_{name}": kind for kind in ("chance", "bound") for name in ("itc", "itm", "itg")}
_GREY, _TRAINING, _VALIDATION = "#c3c8cd", "#0b7285", "#b35c00"
_MAX_POINTS = 2000  # per curve; more cannot be seen at this size


def draw_curves(records: Records, path: Path, title: str) -> None:
    """Draw the lines of a log into the PNG file `path`; nothing is drawn before the first epoch has ended.

    Raises:
        MedvqaError: the file cannot be written.
    """
    epochs = [each for each in records if "epoch" in each]
    names = [name for name in (epochs[-1] if epochs else {}) if name not in _OTHER | {*_REFERENCES}]
    panels = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    if not panels:
        return
    # Not through pyplot, which needs a display.
    with library_import():
        from matplotlib import rc_context
        from matplotlib.figure import Figure

    steps = [each for each in records if "epoch" not in each]
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}), BytesIO() as file:
        figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _panel(axes, name, steps, epochs)
        figure.suptitle(title, fontsize=9, parse_math=False)
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
        content = file.getvalue()
    with atomic_write(path, "wb") as whole:
        whole.write(content)


def _panel(axes: Any, name: str, steps: Records, epochs: Records) -> None:
    """One loss per step, its mean per epoch, its validation value per epoch, and a mark at the best epoch."""
    done = [each for each in steps if name in each]
    done = done[:: 1 + len(done) // _MAX_POINTS]
    if done:
        axes.plot([each["step"] for each in done], [each[name] for each in done], color=_GREY, linewidth=0.8)
    for key, colour, label in ((name, _TRAINING, "training"), (f"val_{name}", _VALIDATION, "validation")):
        if found := [each for each in epochs if key in each]:
            axes.plot([each["step"] for each in found], [each[key] for each in found], ".-", color=colour, label=label)
    for key, label in _REFERENCES.items():
        if key.partition("_")[2] == name and epochs and key in epochs[-1]:
            axes.axhline(
                epochs[-1][key], color=_GREY, linewidth=1, linestyle="--" if label == "chance" else "-.", label=label
            )
    if best := [each["step"] for each in epochs if each.get("best")]:
        axes.axvline(best[-1], color=_VALIDATION, linewidth=0.8, linestyle=":", label="best epoch")
    if skipped := [each["step"] for each in steps if "skipped" in each]:
        axes.plot(skipped, [0.02] * len(skipped), "x", color="#c92a2a", transform=axes.get_xaxis_transform())
    axes.set_title("exact sets" if name == "exact" else name, fontsize=9, parse_math=False)
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=8)
