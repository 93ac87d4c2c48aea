"""Command lines in processes of their own, which tests watch, stop and kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONG = ["task=sentiment", "device=cpu", "model.hidden_size=8", "data.size=23", "data.valid_size=10", "data.test_size=8"]
LONG += ["trainer.batch_size=4", "trainer.max_steps=100000", "trainer.save_every=5", "trainer.eval_every=100000"]
MARK = "SEQTRAIN_TEST"  # in the environment of all that a test has started
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "seqtrain")


@contextmanager
def command(argv: list[str], cwd: Path, start: tuple[str, ...] = (sys.executable, "-m", "seqtrain")) -> Iterator[Any]:
    """A command in a process of its own; whatever happens, nothing of it stays."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (cwd / "log").open("wb") as out:
        process = subprocess.Popen(
            [*start, *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, MARK: str(os.getpid())},
        )  # fmt: skip
    try:
        yield process
    finally:
        for left in family():
            os.kill(left, signal.SIGKILL)
        process.wait()


def family() -> list[int]:
    """The living processes of all that `command` has started, in the order in which they were started."""
    words = ["ps", "axeww", "-o", "pid=,stat=,command="]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(maxsplit=2) for line in lines if f"{MARK}={os.getpid()}" in line.split()]
    return sorted(int(pid) for pid, stat, _ in rows if not stat.startswith("Z"))


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def told(cwd: Path) -> str:
    return (cwd / "log").read_text(encoding="utf-8")
