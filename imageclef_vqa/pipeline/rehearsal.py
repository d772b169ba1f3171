"""A rehearsal of a submission: everything that the organisers do with it, on local rows and without network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.errors import MedvqaError, MissingFileError, shortened
from imageclef_vqa.inputs import read_bytes, read_text
from imageclef_vqa.pipeline import rehearsal_runner
from imageclef_vqa.submission.checks.header import check_header
from imageclef_vqa.submission.sentences import PUBLIC_SCORES, read_sentences
from imageclef_vqa.submission.template import SCRIPT, Template, missing_patterns, read_template

_LAST_LINES = 20  # of a script that failed
_SEED = 42  # of the organisers' shuffle


@dataclass(frozen=True)
class Rehearsed:
    """How many rows the script answered, and its public scores."""

    rows: int
    scores: Mapping[str, float]


def rehearse(
    folder: Path,
    template: Template,
    patterns: tuple[str, ...],
    rows: Sequence[Mapping[str, Any]],
    expected: Sequence[str],
) -> Rehearsed:
    """Run the script in a copy of `folder` on `rows` (`img_id`, `question`, `answer`, `image`: a path).

    Args:
        expected: our answers to these rows.

    Raises:
        MedvqaError: lines of the template changed, a pattern is missing, the script fails, or its answers differ.
    """
    script = read_text(folder / SCRIPT)
    if read_template(script, SCRIPT).fixed != template.fixed:
        raise MedvqaError(f"{SCRIPT}: lines outside the two sections differ from the template")
    if missing := missing_patterns(script, patterns):
        raise MedvqaError(f"{SCRIPT}: the organisers could not put in the private set: no {' and no '.join(missing)}")
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "repository"
        shutil.copytree(folder, copy)
        listed = Path(place) / "rows.json"
        listed.write_text(json.dumps([dict(row) for row in rows]), encoding="utf-8")
        written = _run(copy, listed)
    return compare(written, rows, expected)


def _run(folder: Path, rows: Path) -> bytes:
    """The file that the script writes, with the folder of the script as working directory."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, rehearsal_runner.__file__, str(folder / SCRIPT), str(rows)]
    # The package must be found from the other folder, also where it runs from its sources.
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | offline | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-_LAST_LINES:]
        raise MedvqaError("\n".join(["the rehearsal failed; the script's last lines:", *lines]))
    try:
        return read_bytes(folder / "predictions_1.json")
    except MissingFileError as error:
        raise MedvqaError("the rehearsal failed: the script wrote no predictions_1.json") from error


def compare(content: bytes, rows: Sequence[Mapping[str, Any]], expected: Sequence[str]) -> Rehearsed:
    """Compare the file that the script wrote with our answers, in the order of the organisers' shuffle.

    Raises:
        MedvqaError: it has errors, or other answers.
    """
    order = np.random.default_rng(_SEED).permutation(len(rows)).tolist()
    run = read_sentences(content)
    found = [*run.findings, *check_header(run.header)]
    if errors := [str(each) for each in found if each.severity == "error"]:
        raise MedvqaError("\n".join(["the script's predictions_1.json has errors:", *errors]))
    ours = [(rows[at]["img_id"], rows[at]["question"], expected[at].strip()) for at in order]
    theirs = [(row.image_id, row.question, row.answer) for row in run.rows]
    if ours != theirs:
        differ = [
            f"row {number}: the script says {other[-1]!r:.80}, the run {own[-1]!r:.80}"
            for number, (own, other) in enumerate(zip(ours, theirs, strict=False))
            if own != other
        ]
        differ += [f"{len(theirs):,} rows, not {len(ours):,}"] if len(theirs) != len(ours) else []
        raise MedvqaError("\n".join(["the script's answers are not those of the run:", *shortened(differ, 5)]))
    return Rehearsed(len(ours), {name: run.header["public_scores"][name] for name in PUBLIC_SCORES})
