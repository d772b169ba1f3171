"""How long scoring and comparing at full size take, in seconds: one JSON line.

`start` is a Python that imports nothing; `score` and `compare` are whole commands, interpreter start included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from full_size import IMAGES, draw_answers, image_ids, predictions, spoil, write_gold

from imageclef_vqa.editions import write_predictions
from imageclef_vqa.evaluation.uncertainty import Bootstrap
from imageclef_vqa.submission import write_run


def seconds(*command: str) -> float:
    """The least of three runs."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - start)
    return round(min(taken), 3)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ids = image_ids()
        gold = draw_answers(ids, 1)
        write_gold(place / "gt.json", gold)
        for name, share in (("one", 0.2), ("other", 0.25)):
            write_run(place / f"{name}.csv", spoil(gold, share, 2), ids)
            write_predictions(place / f"{name}.jsonl", predictions(spoil(gold, share, 2)))
        tail = ["--gold", str(place / "gt.json"), "--json", "--workspace", folder]
        medvqa = ["-m", "imageclef_vqa", "score"]
        right = np.random.default_rng(0).integers(0, 2, (IMAGES, 18)).astype(np.float64)
        start = time.perf_counter()
        Bootstrap(np.arange(IMAGES)).means(right)
        bootstrap = time.perf_counter() - start
        figures = {
            "start": seconds("-c", "pass"),
            "score_csv": seconds(*medvqa, str(place / "one.csv"), *tail),
            "score_predictions": seconds(*medvqa, str(place / "one.jsonl"), *tail),
            "compare": seconds(*medvqa, "--compare", str(place / "one.csv"), str(place / "other.csv"), *tail),
            "bootstrap_10000": round(bootstrap, 3),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
