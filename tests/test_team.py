"""Several processes train what one would have trained. The first process is the test's own; the others are real."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tiny
import torch
from test_train import assert_equal

from seqtrain import run
from seqtrain.batch import map_tensors, weave
from seqtrain.checkpoint import Checkpoints
from seqtrain.config import UserError
from seqtrain.interruption import Interrupted, Lost
from seqtrain.team import Several, Team
from seqtrain.train import Trainer

AXES = {
    "translation": {},
    "sentiment": {},
    "generation": {"data": "text"},  # the others cannot be told of fewer topics
    "forecasting": {},
}
HARD = {
    "model__dropout": 0.3,
    "trainer__ema": 0.9,
    "trainer__average": 2,
    "trainer__accumulate": 2,
    "trainer__eval_every": 3,
    "trainer__max_steps": 8,
    "schedule__patience": 0,
}


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    with tiny.no_figures():
        yield


def start(place: Path, task: str, processes: int | str = 2, axes: Any = None, **changes: Any) -> dict[str, Any]:
    return tiny.start(place, task, AXES[task] | (axes or {}), device__processes=processes, **changes)


def last(place: Path) -> Any:
    return Checkpoints(place).load("last")


# ---------------------------------------------------------------------------------------------------- parts of a batch


@pytest.mark.parametrize("task", tiny.TASKS)
@pytest.mark.parametrize("size", [2, 3, 9])
def test_the_parts_of_a_batch_are_its_rows(task: str, size: int) -> None:
    _, job, _ = tiny.job(tiny.config(task, AXES[task], trainer__batch_size=7))
    whole = next(job.train.epoch())
    parts = [whole.take(slice(rank, None, size)) for rank in range(size)]
    assert sum(len(part.index) for part in parts) == len(whole.index)
    for rank, part in enumerate(parts):
        assert np.array_equal(part.rows, whole.rows[rank::size])
        assert torch.equal(part.target_lengths, whole.target_lengths[rank::size])
        alone = [whole.take(slice(row, row + 1)) for row in range(rank, len(whole.rows), size)]
        for real, rows in ((part.real(part.target), alone),):
            expected = [row.real(row.target) for row in rows]
            assert torch.equal(real.nan_to_num(), torch.cat([real[:0], *expected]).nan_to_num())


@pytest.mark.parametrize(("rows", "size"), [(7, 2), (6, 3), (2, 3), (5, 1)])
def test_states_are_woven_into_the_order_of_the_rows(rows: int, size: int) -> None:
    whole = (torch.arange(rows), [torch.randn(rows, 2)])
    parts = [map_tensors(lambda tensor: tensor[rank::size], whole) for rank in range(size)]  # noqa: B023
    parts = [part if len(part[0]) else None for part in parts]
    assert_equal(weave(parts), whole)
    assert weave([None] * size) is None


def test_a_team_of_one_agrees_with_itself() -> None:
    _, job, _ = tiny.job(tiny.config("sentiment"))
    batch, team = next(job.train.epoch()), Team()
    assert team.take(batch) is batch
    assert team.gather(3) == [3]
    assert team.share(4) == team.lead(lambda: 4) == 4
    assert team.signal(Mock(signal=5)) == 5
    code = "import sys, torch; before = 'torch.distributed.rendezvous' in sys.modules; import seqtrain.run\n"
    code += "assert before or 'torch.distributed.rendezvous' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------------------- the same training


@pytest.mark.parametrize("task", tiny.TASKS)
def test_two_processes_train_what_one_does(task: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two batches an update, the last one of an epoch smaller; the evaluations, too, are of both."""
    how = {"trainer__max_steps": 50, "trainer__eval_every": 20, "trainer__accumulate": 2, "trainer__ema": 0.9}
    for size in (1, 2):
        run.train(start(tmp_path / str(size), task, size, trainer__precision="float32", **how), tmp_path / str(size))
    one, two = (last(tmp_path / str(size)) for size in (1, 2))
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)
    progress, same = one.training["progress"], two.training["progress"]
    for name in ("step", "epoch", "position", "items", "padding", "positions"):
        assert progress[name] == same[name]
    for row, other in zip(progress["curve"], same["curve"], strict=True):
        assert {**other, "seconds": 0} == pytest.approx({**row, "seconds": 0}, rel=1e-4)
    assert len(two.training["others"]) == 1
    if one.training["carried"] is not None:
        found = [tree.training["carried"] for tree in (one, two)]
        map_tensors(lambda tensor: leaves.append(tensor) or tensor, (leaves := []) or found)
        half = len(leaves) // 2
        for a, b in zip(leaves[:half], leaves[half:], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert not capfd.readouterr().err


def test_a_part_may_be_empty_and_dropout_is_not_the_same_in_all(tmp_path: Path) -> None:
    """22 texts in batches of 4: the last one has 2, for 3 processes."""
    cfg = start(tmp_path / "run", "sentiment", 3, data__size=22, model__dropout=0.5, trainer__max_steps=12)
    run.train(cfg, tmp_path / "run")
    training = last(tmp_path / "run").training
    states = [training, *training["others"]]
    assert training["progress"]["step"] == 12
    assert len({state["random"].numpy().tobytes() for state in states}) == 3


def test_a_run_of_two_goes_on_with_one_and_with_three(tmp_path: Path) -> None:
    how = {"trainer__max_steps": 6, "trainer__precision": "float32"}
    whole = start(tmp_path / "whole", "generation", 1, **how | {"trainer__max_steps": 14})
    run.train(whole, tmp_path / "whole")
    cfg = start(tmp_path / "cut", "generation", 2, **how)
    run.train(cfg, tmp_path / "cut")
    assert last(tmp_path / "cut").training["carried"] is not None
    for processes, steps in ((1, 10), (3, 14)):
        cfg["device"]["processes"] = processes
        cfg["trainer"]["max_steps"] = steps
        run.train(cfg, tmp_path / "cut", resume=True)
        assert len(last(tmp_path / "cut").training["others"]) == processes - 1
    for name, weight in last(tmp_path / "whole").weights.items():
        torch.testing.assert_close(last(tmp_path / "cut").weights[name], weight, rtol=1e-4, atol=1e-4, msg=name)


def test_the_faster_way_is_measured_and_leaves_no_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("seqtrain.assemble.granted", lambda: 2)
    found = {}
    for name, processes in (("one", 1), ("two", 2), ("auto", "auto")):
        run.train(start(tmp_path / name, "sentiment", processes, model__dropout=0.3), tmp_path / name)
        found[name] = last(tmp_path / name)
    (told,) = re.findall(
        r"2 processes with 1 thread\(s\) each take [\d.]+ of the time of one with 1: (.+)", caplog.text
    )
    same = found[{"they train": "two", "the one trains": "one"}[told]]
    assert_equal(found["auto"].weights, same.weights)
