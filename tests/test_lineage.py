"""`package` writes the answers of the current chain or refuses, in whatever order things are made, changed or damaged.

Training, predicting and routing are stubs whose content follows from what they were made from; records, lineage and
packaging are the program's own. `pytest --long` runs ten times as many sequences and bit flips.
"""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
from pathlib import Path

import pytest
from small_dataset import picture, write_dataset

from imageclef_vqa.artefacts import read_record, record_folder, write_artefact
from imageclef_vqa.data import make_split, read_dataset, read_pictures
from imageclef_vqa.editions import QUESTIONS, Prediction
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.package import package
from imageclef_vqa.pipeline.status import status
from imageclef_vqa.workspace import Workspace

TEST_IMAGES = 3


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Chain:
    """A workspace whose commands are stubs; each answers what follows from its inputs."""

    def __init__(self, root: Path) -> None:
        self.root, self.workspace = root, Workspace.at(root)
        write_dataset(root / "data/development", 6)
        write_dataset(root / "data/test", TEST_IMAGES)
        (root / "data/test/gt.json").unlink()

    @property
    def development(self) -> str:
        return read_dataset(self.workspace.development).fingerprint

    @property
    def test(self) -> str:
        return read_pictures(self.workspace.test / "images", self.workspace.test / "ids.txt").readable.fingerprint

    def split(self, seed: int) -> None:
        make_split(read_dataset(self.workspace.development), val=0.4, seed=seed).write(self.workspace.split_file)

    def train(self, number: int, seed: int) -> None:
        inputs = {"development": self.development, "split": sha256(self.workspace.split_file)}
        if number == 2:
            inputs["stage1"] = self.record("stage1")
        folder = self.workspace.stage(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text(digest(str(seed), *inputs.values()))
        record_folder(folder, ["model.safetensors"], command=f"finetune --stage {number}", inputs=inputs)

    def predict(self) -> None:
        inputs = {"stage2": self.record("stage2"), "test": self.test}
        content = self.answers("plain", *inputs.values())
        write_artefact(self.workspace.predictions("test"), content, command="predict", inputs=inputs)

    def route(self) -> None:
        inputs = {"predictions/test": self.record("predictions/test")}
        write_artefact(
            self.workspace.routed("test"), self.answers("routed", *inputs.values()), command="route", inputs=inputs
        )

    def record(self, name: str) -> str:
        record = read_record(Lineage(self.workspace).path(name))
        if record is None:
            raise MedvqaError(f"no {name}")
        return record.digest

    def answers(self, *made_from: str) -> bytes:
        return "".join(
            Prediction(
                image_id=f"image{image}",
                question_id=question.id,
                answers=(
                    question.known[int(digest(str(image), str(question.id), *made_from), 16) % len(question.known)],
                ),
                probability=0.5,
                model=made_from[0],
            ).model_dump_json()
            + "\n"
            for image in range(TEST_IMAGES)
            for question in QUESTIONS
        ).encode()

    def current(self) -> dict[str, bytes]:
        """The answers that the chain gives now, made again from what is there; nothing where a link is missing."""
        plain = self.answers("plain", self.record("stage2"), self.test)
        made = {"plain": plain}
        if self.workspace.routed("test").exists():
            made["routed"] = self.answers("routed", self.record("predictions/test"))
        return made

    def packaged(self) -> bytes | None:
        """What `package` writes, as (image, question, answer) lines; None if it refuses."""
        (self.root / "run.csv").unlink(missing_ok=True)
        try:
            package(self.root / "run.csv", workspace=self.root)
        except MedvqaError:
            assert not (self.root / "run.csv").exists()
            return None
        with (self.root / "run.csv").open(newline="", encoding="utf-8") as file:
            return b"\n".join(f"{r['ImageID']} {r['QuestionID']} {r['Answer']}".encode() for r in csv.DictReader(file))


def lines(content: bytes) -> bytes:
    """Predictions as `Chain.packaged` shows a run."""
    records = [Prediction.model_validate_json(line) for line in content.splitlines()]
    return b"\n".join(f"{r.image_id} {r.question_id} {'; '.join(r.answers)}".encode() for r in records)


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    # Small made-up answers look wrong to the other checks, which have tests of their own.
    monkeypatch.setattr("imageclef_vqa.pipeline.package.check_run", lambda run: [])
    made = Chain(tmp_path)
    made.split(0)
    made.train(1, 0)
    made.train(2, 0)
    made.predict()
    return made


def act(chain: Chain, rng: random.Random) -> str:
    """Do one thing that a user, a crash or a bad disk may do; returns its name."""
    work = [path for path in sorted(chain.workspace.work.rglob("*")) if path.is_file() and "cache" not in path.parts]
    images = sorted((chain.workspace.test / "images").iterdir())
    actions = {
        "split": lambda: chain.split(rng.randrange(3)),
        "stage 1": lambda: chain.train(1, rng.randrange(3)),
        "stage 2": lambda: chain.train(2, rng.randrange(3)),
        "predict": chain.predict,
        "route": chain.route,
        "touch": lambda: [os.utime(path, (rng.randrange(10**9),) * 2) for path in work],
        "replace an image": lambda: picture(rng.randrange(50, 99)).save(rng.choice(images), quality=95),
        "flip a bit": lambda: flip(rng.choice(work), rng),
        "lose a file": lambda: rng.choice(work).unlink(),
    }
    name = rng.choice(list(actions))
    try:
        actions[name]()
    except (MedvqaError, OSError, ValueError):
        return f"{name} (refused)"
    return name


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def test_package_writes_the_current_answers_or_refuses_whatever_happened(
    chain: Chain, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    saved, written, refused = tmp_path.with_name("saved"), 0, 0
    shutil.copytree(tmp_path, saved, dirs_exist_ok=True)
    for seed in range(300 if request.config.getoption("--long") else 30):
        rng, history = random.Random(seed), []
        shutil.rmtree(tmp_path)
        shutil.copytree(saved, tmp_path)
        for _ in range(rng.randrange(1, 7)):
            history.append(act(chain, rng))
            if (run := chain.packaged()) is None:
                refused += 1
                continue
            written += 1
            current = chain.current()
            assert run == lines(current.get("routed", current["plain"])), (seed, history)
    assert written > 5, "nothing is tested where everything is refused"
    assert refused > 5


def test_no_flipped_bit_changes_a_packaged_answer_unnoticed(chain: Chain, request: pytest.FixtureRequest) -> None:
    chain.route()
    whole, rng = chain.packaged(), random.Random(0)
    assert whole is not None
    work = [path for path in sorted(chain.workspace.work.rglob("*")) if path.is_file()]
    for _ in range(200 if request.config.getoption("--long") else 20):
        path = rng.choice(work)
        before = path.read_bytes()
        flip(path, rng)
        assert chain.packaged() in (None, whole), path
        path.write_bytes(before)
    assert chain.packaged() == whole


def test_status_names_the_first_thing_to_do_and_why(chain: Chain) -> None:
    (found,) = status(chain.root)
    states = {each.name: each.status for each in found.artefacts}
    assert states["stage2"] == states["predictions/test"] == "fresh"
    assert found.next == f"medvqa predict --workspace {chain.root}", "validation is not answered yet"
    chain.train(1, 1)
    (found,) = status(chain.root)
    reasons = {each.name: each.reasons for each in found.artefacts}
    assert reasons["stage2"] == ("stage1 was made again",)
    assert reasons["predictions/test"] == ("stage2 is stale",)
    assert found.next == f"medvqa finetune --stage 2 --fresh --workspace {chain.root}"
