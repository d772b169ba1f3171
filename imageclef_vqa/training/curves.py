"""`loss.png`: the log of a stage to look at, a panel for each loss and one for accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from imageclef_vqa.files import atomic_write

Records = Sequence[Mapping[str, Any]]

# Of a step or an epoch's end, but no loss.
_ASIDE = {"step", "loss", "norm", "rate", "skipped", "images", "epoch", "score", "best", "seconds"}
_GREY, _TRAINING, _VALIDATION = "#c3c8cd", "#0b7285", "#b35c00"
_MOST_POINTS = 2000  # of a line: more are not told apart at this size


def draw_curves(records: Records, path: Path, title: str) -> None:
    """Draw the lines of a log; nothing where no epoch has ended yet.

    Raises:
        MedvqaError: the file cannot be written.
    """
    epochs = [each for each in records if "epoch" in each]
    names = [name for name in (epochs[-1] if epochs else {}) if name not in _ASIDE]
    panels = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    if not panels:
        return
    # Not through pyplot, which would look for a screen.
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
    """One loss of each step, its means over epochs, and that of the validation images; the best epoch is marked."""
    done = [each for each in steps if name in each]
    done = done[:: 1 + len(done) // _MOST_POINTS]
    if done:
        axes.plot([each["step"] for each in done], [each[name] for each in done], color=_GREY, linewidth=0.8)
    for key, colour, said in ((name, _TRAINING, "training"), (f"val_{name}", _VALIDATION, "validation")):
        if known := [each for each in epochs if key in each]:
            axes.plot([each["step"] for each in known], [each[key] for each in known], ".-", color=colour, label=said)
    if best := [each["step"] for each in epochs if each.get("best")]:
        axes.axvline(best[-1], color=_VALIDATION, linewidth=0.8, linestyle=":", label="best epoch")
    if skipped := [each["step"] for each in steps if "skipped" in each]:
        axes.plot(skipped, [0.02] * len(skipped), "x", color="#c92a2a", transform=axes.get_xaxis_transform())
    axes.set_title("exact sets" if name == "exact" else name, fontsize=9, parse_math=False)
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=8)
