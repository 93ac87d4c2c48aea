"""While the tests run, every function of the package is held against its signature, shapes included."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what tests start, too: the threads of several wait for each other

import typechecker  # noqa: F401  (a quicker decorator for the hook)
from jaxtyping import install_import_hook

hook = install_import_hook("seqtrain", "typechecker.check")  # before anything of the package is imported

import gc  # noqa: E402
import logging  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from unittest.mock import Mock  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--as-written", action="store_true", help="run the commands of the docs without shortening them")
    parser.addoption("--long", action="store_true", help="tests of faults with all repetitions; all pages of the docs")


def pytest_collection_finish() -> None:
    """What is here by now stays: the collector of garbage need not walk through it during each test."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts off the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQTRAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def plain_kernels() -> Iterator[None]:
    """No clock decides what a test computes: each layer takes its plain way, as where the cache cannot be written."""
    from seqtrain.config import UserError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqtrain.machine.kernels.cached_value", Mock(side_effect=UserError("no trials")))
        yield


@pytest.fixture
def own_log() -> Iterator[None]:
    """What a command that is called in this process does to logging is taken back."""
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in kept:
            handler.close()
    root.handlers[:], logging.raiseExceptions = kept, True
    root.setLevel(level)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each task."""
    import tiny

    places = {task: tmp_path_factory.mktemp(task) / "run" for task in tiny.TASKS}
    with tiny.few_topics(), tiny.no_figures():
        for task, place in places.items():
            tiny.train(place, task, decode__temperature=0.0)
    return places
