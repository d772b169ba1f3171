"""For all tests."""

import os
import signal

import pytest
from hypothesis import settings

from imageclef_vqa import devices
from imageclef_vqa.experts import features
from imageclef_vqa.experts.classical import COLOURS_AND_EDGES
from imageclef_vqa.pipeline import finetune

# Workers share the cores. Threads of MKL that wait for work spin, which takes a third of the time of twice as many.
_CORES, _WORKERS = len(os.sched_getaffinity(0)), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("MKL_NUM_THREADS", str(max(1, _CORES // _WORKERS)))
devices.prepare("cpu", seed=0)  # before any test imports Paddle
settings.register_profile("patient", deadline=None)  # how long an example takes depends on what else the machine does
settings.load_profile("patient")
# A shell lets what it starts in the background ignore Ctrl-C, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _without_the_encoders_package(monkeypatch):
    """Presets and experts are those of every installation: an encoder's features of each data set take seconds."""
    monkeypatch.setattr(features, "available", lambda: False)
    monkeypatch.setattr(finetune, "packaged_weights", lambda _encoder: None)


@pytest.fixture(autouse=True, scope="session")
def _small_forest():
    """A forest of few trees is fitted; commands in processes of their own have the whole one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COLOURS_AND_EDGES.models.forest, "n_estimators", 24)
        yield


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run property tests at their full length")
