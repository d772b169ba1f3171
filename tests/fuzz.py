"""Mutated files and command lines for every reader: each is accepted or refused in words, within ten seconds.

`python tests/fuzz.py --inputs 100000 --seed 0` prints a table; tests/test_fuzz.py runs a small part of it. A reader may
return, or raise what a user can mend; anything else, a warning included, is a failure. One input follows from the seed,
the reader's name and its number.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from fuzz_readers import READERS, Reader

from imageclef_vqa.errors import MedvqaError, system_errors_explained

SECONDS = 10
EVIL: list[Any] = [
    *(None, True, -5, 1.5, 1e308, float("nan"), float("inf"), 2**70, -(10**400), "", "\0", "a\x1b]0;x\x07", "\ud800"),
    *("\u202e", "é" * 300, "a" * 5000, "../../etc/passwd", "[" * 500, [], {}, [[]], [1, "a", None], {"a": {"b": []}}),
]
BYTES = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"9" * 5000,
    b"[" * 20000,
    b"{" * 3000,
    b'"',
    b"\n",
    b"\r",
    b"\x1b[2J",
    b"-1",
]


@dataclass
class Result:
    """Inputs of one reader: how they ended, the longest time, and the failures with the numbers of their inputs."""

    endings: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)


class TooLongError(BaseException):
    """An input took longer than `SECONDS`."""


def mutated(content: bytes, random: Random) -> bytes:
    """One to three changes of a file: of its bytes or, where it is JSON, of its values."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        change = random.choice((_flip, _cut, _insert, _repeat, _value, _value, _value, _line))
        content = change(content, random)
    return content


def _flip(content: bytes, random: Random) -> bytes:
    if not content:
        return b"\0"
    at = random.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1 :]


def _cut(content: bytes, random: Random) -> bytes:
    one, other = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:one] if random.random() < 0.5 else content[:one] + content[other:]


def _insert(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + random.choice(BYTES) + content[at:]


def _repeat(content: bytes, random: Random) -> bytes:
    one, other = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:other] + content[one : min(other, one + 10_000)] + content[other:]


def _line(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
    del lines[random.randrange(len(lines))]
    return b"\n".join(lines)


def _value(content: bytes, random: Random) -> bytes:
    """Replace a value in JSON, or in a line that is JSON or a TOML assignment, by an evil one."""
    evil = random.choice(EVIL)
    with contextlib.suppress(ValueError, RecursionError, UnicodeError):
        return json.dumps(_replaced(json.loads(content), evil, random)).encode("utf-8", "surrogatepass")
    lines = content.split(b"\n")
    at = random.randrange(len(lines))
    with contextlib.suppress(ValueError, RecursionError, UnicodeError):
        changed = json.dumps(_replaced(json.loads(lines[at]), evil, random)).encode("utf-8", "surrogatepass")
        return b"\n".join([*lines[:at], changed, *lines[at + 1 :]])
    if b"=" in lines[at]:
        with contextlib.suppress(ValueError, UnicodeError):
            changed = lines[at].split(b"=")[0] + b"= " + json.dumps(evil).encode("utf-8", "surrogatepass")
            return b"\n".join([*lines[:at], changed, *lines[at + 1 :]])
    return _flip(content, random)


def _replaced(tree: Any, evil: Any, random: Random) -> Any:
    """`tree` with one node, a key, or an entry more."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    if not keys or random.random() < 0.15:
        return evil
    key = random.choice(keys)
    copied = tree.copy()
    how = random.random()
    if isinstance(tree, dict) and how < 0.1:
        copied[str(evil)] = copied.pop(key)
    elif isinstance(tree, dict) and how < 0.2:
        del copied[key]
    elif isinstance(tree, list) and how < 0.15:
        copied.insert(key, evil)
    else:
        copied[key] = _replaced(tree[key], evil, random)
    return copied


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLongError

    # Time of the processor, since a busy machine is no fault; and ten times as much for one that waits for ever.
    timers = ((signal.ITIMER_PROF, signal.SIGPROF, SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, 10 * SECONDS))
    before = [signal.signal(number, stop) for _, number, _ in timers]
    for timer, _, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _ending(read: Callable[[], object]) -> str:
    """`read`, `refused` or `exit N`; anything else is a failure, with its last line."""
    try:
        with system_errors_explained(), _watched(), warnings.catch_warnings():  # as commands and the Python API do
            warnings.simplefilter("error")
            read()
        return "read"
    except MedvqaError as error:
        return "refused" if str(error).strip() else "FAILURE: an empty message"
    except SystemExit as end:
        return f"exit {end.code}" if end.code in (0, 1, 2, 130) else f"FAILURE: exit code {end.code}"
    except TooLongError:
        return f"FAILURE: over {SECONDS} s"
    except BaseException as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""
        return f"FAILURE: {type(error).__name__} at {where}: {str(error)[:100]!r}"


def run(inputs: int, seed: int, only: str | None = None) -> dict[str, Result]:
    """Give `inputs` mutated inputs to the readers, each its share by weight."""
    before = Path.cwd()
    chosen = [each for each in READERS if only in (None, each.name)]
    total = sum(each.weight for each in chosen)
    results: dict[str, Result] = {}
    for reader in chosen:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            os.chdir(folder)
            try:
                results[reader.name] = _run_reader(reader, max(1, round(inputs * reader.weight / total)), seed)
            finally:
                os.chdir(before)
    return results


def _run_reader(reader: Reader, inputs: int, seed: int) -> Result:
    """Give `inputs` mutated inputs to a reader, in the current folder."""
    result, place, silent = Result(), Path.cwd(), io.StringIO()
    example = reader.prepare(place)
    for number in range(-1, inputs):  # first, the example itself
        random = Random(f"{seed} {reader.name} {number}")
        content = example if number < 0 else reader.mutate(example, random, mutated)
        started = time.process_time()
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            ending = _ending(partial(reader.give, place, content))
        silent.truncate(0)
        if number < 0:
            assert ending in ("read", "exit 0"), f"{reader.name}: {ending}"
            continue
        result.slowest = max(result.slowest, time.process_time() - started)
        result.endings[ending.split(":")[0]] += 1
        if ending.startswith("FAILURE"):
            result.failures.append((number, ending))
    return result


def table(results: dict[str, Result]) -> str:
    """A row for each reader, then the failures, each kind once."""
    lines = [f"{'reader':32} {'inputs':>7} {'read':>7} {'refused':>8} {'failures':>9} {'slowest, s':>11}"]
    for name, result in results.items():
        accepted = result.endings["read"] + result.endings["exit 0"]
        inputs, failed = sum(result.endings.values()), len(result.failures)
        row = f"{inputs:7} {accepted:7} {inputs - accepted - failed:8} {failed:9} {result.slowest:11.2f}"
        lines.append(f"{name:32} {row}")
    lines.append(f"{'all':32} {sum(sum(each.endings.values()) for each in results.values()):7}")
    for name, result in results.items():
        kinds = {ending: number for number, ending in reversed(result.failures)}
        lines += [f"{name}, input {number}: {ending}" for ending, number in kinds.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one reader")
    words = parser.parse_args()
    found = run(words.inputs, words.seed, words.only)
    print(table(found))
    sys.exit(any(each.failures for each in found.values()))
