"""CPU seconds that checking and writing a full run takes: 1,938 images × 18 questions, 2,000 labelled images.

    python examples/benchmarks/package.py

Prints one JSON line. Everything is there that `medvqa package` weighs: labels, implications, the model's own answers to
200 validation images. Interpreter and imports are left out; so is reading images, which are indexed once.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from random import Random

from imageclef_vqa.editions import QUESTIONS, learn_implications, learn_vocabulary
from imageclef_vqa.submission import RunAnswers, check_run, images_of, in_order, write_run

IMAGES, LABELLED, VALIDATION = 1938, 2000, 200


def draw(prefix: str, count: int) -> dict[tuple[str, int], tuple[str, ...]]:
    """Answers as varied as the real ones: up to nine values of a set, 1 of up to 16 otherwise."""
    random = Random(prefix)
    answers = {}
    for number in range(count):
        for question in QUESTIONS:
            most = min(9, len(question.known) - 1) if question.takes_a_set and question.id in (5, 6, 10, 11, 15) else 1
            chosen = random.sample(question.known[: most + 1], random.randint(1, most))
            answers[f"{prefix}{number:020}", question.id] = tuple(sorted(chosen, key=question.known.index))
    return answers


def main() -> None:
    labels, answers, validation = draw("dev", LABELLED), draw("test", IMAGES), draw("val", VALIDATION)
    image_ids = [f"test{number:020}" for number in range(IMAGES)]
    started = time.process_time()
    run = RunAnswers(
        in_order(answers, image_ids),
        image_ids,
        learn_vocabulary((question_id, given) for (_, question_id), given in labels.items()),
        implications=learn_implications(images_of(labels).values()),
        validation=validation,
    )
    findings = check_run(run)
    checked = time.process_time()
    seconds = {"check": checked - started}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("csv", "json", "zip"):
            started = time.process_time()
            write_run(Path(folder) / f"run.{suffix}", run.answers, image_ids)
            seconds[f"write and read back {suffix}"] = time.process_time() - started
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    print(json.dumps({"answers": len(answers), "findings": len(findings), "cpu_seconds": rounded}))


if __name__ == "__main__":
    main()
