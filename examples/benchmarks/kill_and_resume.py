"""Kill both stages with SIGKILL at random moments, some of them while a checkpoint is being written, and go on each
time: do they end with the weights of runs that were not interrupted?

    python examples/benchmarks/kill_and_resume.py [KILLS]

Prints one line of JSON; exits 1 unless all weights are equal bit for bit and no file is unreadable.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.numpy import load_file

from imageclef_vqa.synthetic import write_synthetic_dataset

# `medvqa`, saving after every second step, so that many kills fall into a checkpoint.
PROGRAM = (
    "import sys; from imageclef_vqa import devices; devices.prepare('cpu', seed=0);"
    "from imageclef_vqa.training import clock; clock.SAVE_EVERY, clock.SAVE_SHARE = 0.3, 1e9;"
    "from imageclef_vqa.cli import main; sys.argv = ['medvqa', *sys.argv[1:]]; main()"
)


def start(place: Path, line: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *line.split()], cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(place: Path, line: str) -> None:
    process = start(place, line)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said.decode())


def unreadable(stage: Path) -> int:
    bad = 0
    for path in stage.glob("*.safetensors"):
        try:
            load_file(path)
        except Exception:
            bad += 1
    return bad


def main(kills: int) -> None:
    rng = random.Random(0)
    place = Path(tempfile.mkdtemp())
    write_synthetic_dataset(place / "data", images=64, test=1, seed=3)
    finish(place, "split --val 0.25")
    found = {"kills": 0, "while_saving": 0, "unreadable": 0, "stages_equal": 0}
    for number in (1, 2):
        line = f"finetune --stage {number} --preset tiny --epochs 12 --batch 8 --device cpu"
        finish(place, f"{line} --run whole")
        if number == 2:
            shutil.copytree(place / "work/whole/stage1", place / "work/killed/stage1", dirs_exist_ok=True)
        stage = place / f"work/killed/stage{number}"
        for kill in range(kills // 2):
            process = start(place, f"{line} --run killed")
            while process.poll() is None and not (stage / "state.safetensors").exists():
                time.sleep(0.05)  # the first kill waits until there is something to go on with
            until = time.monotonic() + (rng.uniform(0, 12) if kill % 2 else 60)
            while process.poll() is None and time.monotonic() < until:
                if kill % 2 == 0 and list(stage.glob(".*.part")):  # every second kill hits a checkpoint
                    found["while_saving"] += 1
                    break
                time.sleep(0.0005)
            if process.poll() is not None:
                break
            process.kill()
            process.communicate()
            found["kills"] += 1
            found["unreadable"] += unreadable(stage)
        finish(place, f"{line} --run killed")
        whole, again = (load_file(place / f"work/{run}/stage{number}/model.safetensors") for run in ("whole", "killed"))
        equal = whole.keys() == again.keys() and all(whole[n].tobytes() == again[n].tobytes() for n in whole)
        found["stages_equal"] += equal
    shutil.rmtree(place)
    print(json.dumps(found))
    raise SystemExit(found["stages_equal"] != 2 or found["unreadable"] > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
