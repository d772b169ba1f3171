"""`package` writes the answers of the current chain or refuses, in whatever order things are made, changed or damaged.

Every command is real, on a model of a few thousand parameters; only training is a stub (`small_chain`). What the
answers should be is computed by the same commands in a new folder that has nothing but the data, the split and the
seeds: no record, no cache, no earlier answer. `pytest --long` runs ten times as many sequences and bit flips.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_chain import stubbed_training, train, write_small_data, write_small_weights
from small_dataset import picture

import imageclef_vqa as vqa
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.pipeline.status import status
from imageclef_vqa.workspace import Workspace

Answers = dict[tuple[str, str], str]
INTERRUPTED = 0.15  # share of the commands


class Chain:
    """A workspace and the commands on it."""

    def __init__(self, root: Path, preset: Preset) -> None:
        self.root, self.preset, self.workspace = root, preset, Workspace.at(root)

    def split(self, seed: int) -> None:
        vqa.split(self.root, val=0.3, seed=seed)

    def train(self, number: int, seed: int) -> None:
        train(self.workspace, self.preset, number, seed, fresh=True)

    def predict(self, **options: object) -> None:
        vqa.predict(self.root, device="cpu", **options)  # type: ignore[arg-type]

    def route(self) -> None:
        vqa.route(self.root, policy="paper", questions=range(0, 18, 3), experts=["classical"], device="cpu")

    def packaged(self, answers: str | None = None) -> Answers | None:
        """What `package` writes; None if it refuses."""
        out = self.root / "run.csv"
        out.unlink(missing_ok=True)
        try:
            vqa.package(out, answers=answers, workspace=self.root)
        except MedvqaError:
            assert not out.exists()
            return None
        with out.open(newline="", encoding="utf-8") as file:
            return {(row["ImageID"], row["QuestionID"]): row["Answer"] for row in csv.DictReader(file)}


class Oracle:
    """The answers that a new chain gives; `folder` is where it is made."""

    def __init__(self, folder: Path, preset: Preset) -> None:
        self._folder, self._preset = folder, preset
        self._known: dict[str, Answers | None] = {}

    def answers(self, chain: Chain, kind: str) -> Answers | None:
        """Those of the data, the split and the seeds that `chain` has now; None if no chain can be made of them."""
        try:
            seeds = [json.loads((chain.workspace.stage(n) / "config.json").read_bytes())["seed"] for n in (1, 2)]
            parts = [path.read_bytes() for path in sorted((chain.root / "data").rglob("*")) if path.is_file()]
            split = chain.workspace.split_file.read_bytes()
        except (OSError, ValueError, KeyError):
            return None
        digests = (hashlib.sha256(part).hexdigest() for part in (*parts, split, json.dumps(seeds).encode()))
        key = " ".join([kind, *digests])
        if key not in self._known:
            self._known[key] = self._made_anew(chain, seeds, kind)
        return self._known[key]

    def _made_anew(self, chain: Chain, seeds: list[int], kind: str) -> Answers | None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(chain.root / "data", self._folder / "data")
        new = Chain(self._folder, self._preset)
        new.workspace.work.mkdir()
        shutil.copy(chain.workspace.split_file, new.workspace.split_file)
        try:
            for number, seed in enumerate(seeds, start=1):
                new.train(number, seed)
            new.predict(optimise="f1" if kind == "f1" else "exact")
            if kind == "routed":
                new.route()
        except MedvqaError:
            return None
        return new.packaged(kind)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain up to routed answers."""
    folder = tmp_path_factory.mktemp("lineage")
    preset = write_small_weights(folder / "weights")
    with stubbed_training(), pytest.MonkeyPatch.context() as patch:
        # Answers of an untrained model look wrong to the other checks, which have tests of their own.
        patch.setattr("imageclef_vqa.pipeline.package_closed.check_run", lambda run: [])
        chain = Chain(folder / "w", preset)
        write_small_data(chain.root)
        chain.split(0)
        chain.train(1, 0)
        chain.train(2, 0)
        chain.predict()
        chain.route()
        yield chain


@pytest.fixture
def chain(finished: Chain, tmp_path: Path) -> Chain:
    """A copy of it."""
    shutil.copytree(finished.root, tmp_path / "w")
    return Chain(tmp_path / "w", finished.preset)


def restore(chain: Chain, finished: Chain) -> None:
    shutil.rmtree(chain.root)
    shutil.copytree(finished.root, chain.root)


def files_of(chain: Chain, *folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((chain.root / folder).rglob("*")) if path.is_file()]
    return [path for path in found if path.stat().st_size]


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def replace_image(chain: Chain, rng: random.Random) -> None:
    fold, numbers = rng.choice([("test", (100, 101)), ("test", (100, 101)), ("development", (0,))])
    path = chain.root / "data" / fold / "images" / f"image{rng.choice(numbers)}.jpg"
    picture(rng.choice((300, 301))).save(path, quality=95)


def edit_answers(chain: Chain, rng: random.Random) -> None:
    """Write into one file of answers, of a run or an expert, what it says about another image."""
    path = rng.choice([path for path in files_of(chain, "work") if path.suffix == ".jsonl" and path.stem == "test"])
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    moved = [line | {"answers": other["answers"]} for line, other in zip(lines, lines[1:] + lines[:1], strict=True)]
    path.write_text("".join(json.dumps(line) + "\n" for line in moved))


def move(chain: Chain) -> None:
    """Copy all files without their dates, and remove the old ones."""
    shutil.copytree(chain.root, chain.root.with_name("copy"), copy_function=shutil.copyfile)
    shutil.rmtree(chain.root)
    chain.root.with_name("copy").rename(chain.root)


@contextlib.contextmanager
def interrupted(after: int) -> Iterator[None]:
    """The process is killed when it has put `after` files in their places."""
    original, left = os.replace, after

    def killed(*names: Path) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        original(*names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", killed)
        yield


def act(chain: Chain, rng: random.Random) -> str:
    """Do one thing that a user, a crash or a bad disk may do; returns its name."""
    files = files_of(chain, "work", "data")
    commands: dict[str, Callable[[], object]] = {
        "split": lambda: chain.split(rng.randrange(2)),
        "stage 1": lambda: chain.train(1, rng.randrange(2)),
        "stage 2": lambda: chain.train(2, rng.randrange(2)),
        "predict": chain.predict,
        "predict test": lambda: chain.predict(folds=["test"]),
        "predict f1": lambda: chain.predict(optimise="f1"),
        "route": chain.route,
        "score": lambda: vqa.score(workspace=chain.root),
    }
    events: dict[str, Callable[[], object]] = {
        "touch": lambda: [os.utime(path, (rng.randrange(10**9),) * 2) for path in files],
        "move": lambda: move(chain),
        "replace an image": lambda: replace_image(chain, rng),
        "edit answers": lambda: edit_answers(chain, rng),
        "flip a bit": lambda: flip(rng.choice(files), rng),
        "lose a file": lambda: rng.choice(files_of(chain, "work")).unlink(),
    }
    name = rng.choice(list(commands if rng.random() < 0.6 else events))
    killed = rng.randrange(6) if name in commands and rng.random() < INTERRUPTED else None
    try:
        with contextlib.nullcontext() if killed is None else interrupted(killed):
            (commands | events)[name]()
    except (MedvqaError, IndexError):  # there is no such file
        return f"{name} (refused)"
    except KeyboardInterrupt:
        return f"{name} (killed)"
    return name


def check_packaged(chain: Chain, oracle: Oracle, outcomes: Counter[str], history: object) -> None:
    """What is packaged, without --answers and of the variant, is what a new chain gives."""
    for answers in (None, *(["f1"] if chain.workspace.predictions("test", "f1").exists() else [])):
        kind = answers or ("routed" if chain.workspace.routed("test").exists() else "plain")
        run = chain.packaged(answers)
        outcomes[f"{kind} {'refused' if run is None else 'packaged'}"] += 1
        if run is not None:
            assert run == oracle.answers(chain, kind), (kind, history)


def test_package_writes_the_answers_of_a_new_chain_or_refuses_whatever_happened(
    chain: Chain, finished: Chain, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    oracle, outcomes = Oracle(tmp_path / "new", chain.preset), Counter[str]()
    for seed in range(300 if request.config.getoption("--long") else 30):
        rng, history = random.Random(seed), []
        restore(chain, finished)
        for _ in range(rng.randrange(1, 6)):
            history.append(act(chain, rng))
            check_packaged(chain, oracle, outcomes, (seed, history))
    print(dict(outcomes))
    for kind in ("routed packaged", "routed refused", "f1 packaged"):
        assert outcomes[kind] > 1, f"nothing is tested: {outcomes}"


def test_no_flipped_bit_changes_a_packaged_answer_unnoticed(
    chain: Chain, finished: Chain, request: pytest.FixtureRequest
) -> None:
    """Half of the flips before `package`, half of them before `predict` and `route`, which answer again."""
    whole, rng, outcomes = chain.packaged(), random.Random(0), Counter[str]()
    assert whole is not None
    for number in range(200 if request.config.getoption("--long") else 30):
        path = rng.choice(files_of(chain, "work"))
        before = path.read_bytes()
        flip(path, rng)
        try:
            if number % 2:
                for fold in ("val", "test"):
                    chain.workspace.predictions(fold).unlink(missing_ok=True)
                chain.predict()
                chain.route()
            run = chain.packaged()
        except MedvqaError:
            run = None
        assert run in (None, whole), path
        outcomes["refused" if run is None else "same"] += 1
        if number % 2:
            restore(chain, finished)
        else:
            path.write_bytes(before)
    print(dict(outcomes))
    assert chain.packaged() == whole


def test_status_names_the_first_thing_to_do_and_why(chain: Chain) -> None:
    (found,) = status(chain.root)
    states = {each.name: each.status for each in found.artefacts}
    assert set(states.values()) == {"fresh", "missing"}
    assert found.next == f"medvqa score --workspace {chain.root}", "all else is there"
    chain.train(1, 1)
    (found,) = status(chain.root)
    reasons = {each.name: each.reasons for each in found.artefacts}
    assert reasons["stage2"] == ("stage1 was made again",)
    assert reasons["predictions/test"] == ("stage2 is stale", "calibration is stale")
    assert reasons["routed/test"][0] == "predictions/val is stale"
    assert found.next == f"medvqa finetune --stage 2 --fresh --workspace {chain.root}"


def test_status_shows_a_retraining_that_was_interrupted_and_the_command_that_goes_on(chain: Chain) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imageclef_vqa.training.checkpoint.Stage.finish", killed)
        with pytest.raises(KeyboardInterrupt):
            chain.train(2, 1)
    (found,) = status(chain.root)
    states = {each.name: each for each in found.artefacts}
    assert states["stage2"].status == "fresh"
    assert states["stage2-fresh"].status == "unfinished"
    command = f"medvqa finetune --stage 2 --workspace {chain.root}"
    assert states["stage2-fresh"].reasons == (f"`{command}` goes on with it; stage2 stays until then",)
    shutil.rmtree(chain.workspace.stage(2))
    shutil.move(chain.workspace.run_folder / "stage2-fresh", chain.workspace.stage(2))
    (found,) = status(chain.root)
    states = {each.name: each for each in found.artefacts}
    assert (states["stage2"].status, states["stage2"].reasons) == ("unfinished", (f"`{command}` goes on with it",))
    assert found.next == command


def killed(*_: object) -> None:
    raise KeyboardInterrupt
