"""`log.jsonl`, a stage's log, from which its curves are drawn.

{"step": 7, "loss": …, "answers": …, "norm": …, "rate": …}           a step, counted over all epochs
{"step": 8, "skipped": "the loss is nan", "images": […]}             a step that changed no weight
{"step": 27, "epoch": 1, "answers": …, "val_answers": …, "score": …, "best": true, "seconds": …}   an epoch's end

Losses by name: `itc`, `itm`, `itg` in stage 1, `answers` and `words` in stage 2. An epoch of stage 1 also has
`chance_itc`, `chance_itm`, `chance_itg` and `bound_itc`. Numbers that are not finite are null, because JSON cannot
write them.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imageclef_vqa.files import append_text, write_text
from imageclef_vqa.inputs import parse_json, read_bytes
from imageclef_vqa.training.tracking import Tracker


class Log:
    """The log at `path`; its numbers also go to `tracker`, if that is set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tracker: Tracker | None = None

    def records(self) -> list[dict[str, Any]]:
        """All complete lines."""
        found = []
        if self.path.exists():
            for line in read_bytes(self.path).decode(errors="replace").splitlines():
                with contextlib.suppress(ValueError):  # a line that a killed process did not complete
                    record = parse_json(line)
                    found += [record] if _is_record(record) else []
        return found

    def start(self) -> None:
        """Remove what an earlier run wrote."""
        self.path.unlink(missing_ok=True)

    def resume(self, step: int, epochs: int) -> None:
        """Remove what came after `step` and after the end of `epochs` epochs: it will be done again."""
        kept = [each for each in self.records() if each["step"] <= step and each.get("epoch", 0) <= epochs]
        write_text(self.path, "".join(json.dumps(each) + "\n" for each in kept))
        for record in kept:
            self._track(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            MedvqaError: it cannot be written.
        """
        rounded = {name: _rounded(each) if type(each) is float else each for name, each in record.items()}
        append_text(self.path, json.dumps(rounded, allow_nan=False) + "\n")
        self._track(rounded)

    def _track(self, record: Mapping[str, Any]) -> None:
        if self.tracker is None:
            return
        kind = "epoch" if "epoch" in record else "step"
        for name, value in record.items():
            if type(value) is float:
                self.tracker(f"{kind}/{name}", value, record["step"])


def _is_record(line: Any) -> bool:
    """Whether a line of JSON is one of this log: numbers, but for why and for which images a step was skipped."""
    if not isinstance(line, dict) or type(line.get("step")) is not int or type(line.get("epoch", 0)) is not int:
        return False
    numbers = [value for name, value in line.items() if name not in ("skipped", "images") and value is not None]
    return all(isinstance(value, int | float) for value in numbers) and line.get("seconds", 0.0) is not None


def _rounded(value: float) -> float | None:
    return float(f"{value:.8g}") if math.isfinite(value) else None
