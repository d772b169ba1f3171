"""Runs a submission's script as the organisers do, without network: `python rehearsal_runner.py SCRIPT ROWS`.

ROWS is a JSON file: a list of `{img_id, question, answer, image}`, where `image` is a path. `datasets.load_dataset`
gives these rows, `evaluate.load` metrics of this package, and modules that the script imports but does not need here
(`torch`, `transformers`) are empty if they are not installed. Other libraries do not see these stand-ins.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import runpy
import socket
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class Rows:
    """The few methods of `datasets.Dataset` that the script uses, on a list of rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from PIL import Image

        for row in self._rows:
            with Image.open(row["image"]) as image:
                yield row | {"image": image.convert("RGB")}

    def __getitem__(self, name: str) -> list[Any]:
        return [row[name] for row in self._rows]

    def shuffle(self, seed: int) -> Rows:
        """The order of `datasets`: NumPy's permutation with this seed."""
        import numpy as np

        return Rows([self._rows[at] for at in np.random.default_rng(seed).permutation(len(self))])

    def select(self, indices: Iterable[int]) -> Rows:
        """The rows with these indices, without those beyond the end: a rehearsal has few rows."""
        return Rows([self._rows[at] for at in indices if at < len(self)])

    def cast_column(self, name: str, kind: Any) -> Rows:
        return self


class Metric:
    """What `evaluate.load` gives: the metric of this package under the names that the script reads."""

    def __init__(self, name: str) -> None:
        self._names = {"rouge": ("rouge1", "rouge2", "rougeL")}.get(name, (name,))

    def compute(self, *, predictions: list[str], references: list[Any]) -> dict[str, float]:
        from imageclef_vqa.evaluation.text.metrics import TextMeter, metrics_of, tabulate_text

        gold = [each if isinstance(each, str) else each[0] for each in references]
        pairs = [("rows", number) for number in range(len(gold))]
        given = {pair: (text,) for pair, text in zip(pairs, predictions, strict=True)}
        wanted = {pair: (text,) for pair, text in zip(pairs, gold, strict=True)}
        sums = tabulate_text(given, wanted, TextMeter()).by_image().sum(axis=0)
        return {name: float(value[0]) for name, value in metrics_of(sums[None]).items() if name in self._names}


class Nothing(types.ModuleType):
    """A module that has every name; each of them is a class whose calls give nothing, and no GPU is there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "is_available":
            return lambda: False
        if name == "cuda":
            return Nothing(name)
        return type(name, (), {})


def batched(items: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """`itertools.batched`, which Python has from 3.12 on."""
    remaining = iter(items)
    while batch := tuple(itertools.islice(remaining, size)):
        yield batch


def _no_network(*arguments: Any, **options: Any) -> Any:
    raise OSError("a rehearsal has no network")


def _stand_in(module: types.ModuleType) -> None:
    """Put `module` in the place of one that other libraries must not take for installed."""
    sys.modules[module.__name__] = module
    find_spec = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> Any:
        return None if name == module.__name__ else find_spec(name, package)

    importlib.util.find_spec = found


def main() -> None:
    script, rows = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    if not hasattr(itertools, "batched"):
        itertools.batched = batched  # type: ignore[attr-defined]
    for name in ("torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            _stand_in(Nothing(name))
    if importlib.util.find_spec("datasets") is None:
        _stand_in(Nothing("datasets"))
    datasets = importlib.import_module("datasets")
    datasets.load_dataset = lambda *arguments, **options: {"test": Rows(rows)}  # type: ignore[attr-defined]
    metrics = types.ModuleType("evaluate")
    metrics.load = Metric  # type: ignore[attr-defined]
    _stand_in(metrics)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
