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
import small
import tiny
import torch
from test_train import assert_equal

from seqtrain import assemble, cli, products, run
from seqtrain.batch import map_tensors, weave
from seqtrain.checkpoint import Checkpoints
from seqtrain.config import UserError
from seqtrain.interruption import Interrupted, Interruption, Lost
from seqtrain.team import Several, Team
from seqtrain.train import Diverged, Trainer

AXES = {
    "translation": {},
    "sentiment": {},
    "generation": {"data": "text"},  # the others cannot be told of fewer topics
    "forecasting": {},
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
        real = part.real(part.target)
        assert torch.equal(
            real.nan_to_num(), torch.cat([real[:0], *(row.real(row.target) for row in alone)]).nan_to_num()
        )


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
    assert team.signal(Mock(spec=Interruption, signal=5)) == 5
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
        small.same(two.training["carried"], one.training["carried"], 1e-4)
    assert not capfd.readouterr().err


def test_gradients_are_added_up_however_their_weights_lie_in_memory(tmp_path: Path) -> None:
    how = {"trainer__max_steps": 3, "model__hidden_size": 1024, "optimizer__eps": 1e-4, "model__dropout": 0.0}
    assert products.VAST <= 1024 * 2048  # the layer that joins context and state
    for size in (1, 2):
        run.train(start(tmp_path / str(size), "translation", size, **how), tmp_path / str(size))
    one, two = (last(tmp_path / str(size)).weights for size in (1, 2))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-5, atol=1e-5, msg=name)


def test_what_the_machine_shares_and_what_is_sent_are_the_same_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError("no room")

    for name in ("shared", "sent"):
        run.train(start(tmp_path / name, "translation", 2), tmp_path / name)
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    assert_equal(last(tmp_path / "sent").weights, last(tmp_path / "shared").weights)


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
    axes = {"schedule": "constant"}  # no part of which is the length of the training
    whole = start(tmp_path / "whole", "generation", 1, axes, **how | {"trainer__max_steps": 14})
    run.train(whole, tmp_path / "whole")
    cfg = start(tmp_path / "cut", "generation", 2, axes, **how)
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


# ---------------------------------------------------------------------------------------------------- what all agree on


def spied(monkeypatch: pytest.MonkeyPatch, name: str, step: int, work: Any) -> None:
    """Does something in the first process within a step."""
    original = getattr(Trainer, name)

    def spy(trainer: Trainer, *args: Any) -> Any:
        spy.calls += 1
        return work(original, trainer, *args) if spy.calls == step else original(trainer, *args)

    spy.calls = 0
    monkeypatch.setattr(Trainer, name, spy)


def test_what_does_not_fit_in_the_memory_of_one_is_cut_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    how = {"trainer__precision": "float32", "trainer__max_steps": 10, "model__dropout": 0.0}
    run.train(start(tmp_path / "whole", "translation", 1, **how), tmp_path / "whole")
    spied(monkeypatch, "backward", 3, fail)
    run.train(start(tmp_path / "cut", "translation", 2, **how), tmp_path / "cut")
    assert len(re.findall("step 3: a batch of .* does not fit in memory", caplog.text)) == 1
    assert last(tmp_path / "cut").training["progress"]["bound"] > 0
    for name, weight in last(tmp_path / "whole").weights.items():
        torch.testing.assert_close(last(tmp_path / "cut").weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)


def test_a_loss_that_is_no_number_in_one_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    def spoil(original: Any, *args: Any) -> Any:
        loss, count, carried = original(*args)
        return loss * torch.nan, count, carried

    spied(monkeypatch, "backward", 3, spoil)
    with pytest.raises(Diverged, match="the training loss is nan at step 3"):
        run.train(start(tmp_path / "run", "generation"), tmp_path / "run")
    assert not capfd.readouterr().err
    assert (tmp_path / "run" / "checkpoints" / "bad-step-3").is_dir()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_any_of_them_stops_all_after_the_step_and_the_run_goes_on_to_the_same_bits(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    teams: list[Several] = []
    started = Several.started
    monkeypatch.setattr(Several, "started", lambda *args: teams.append(started(*args)) or teams[-1])
    task, axes = ("generation", "translation")[rank], {"schedule": "plateau"}
    whole = start(tmp_path / "whole", task, 2, axes, **tiny.HARD)
    run.train(whole, tmp_path / "whole")

    def interrupt(original: Any, *args: Any) -> Any:
        os.kill(teams[-1].others[0].pid if rank else os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        return original(*args)

    cfg = start(tmp_path / "cut", task, 2, axes, **tiny.HARD)
    with monkeypatch.context() as context:
        spied(context, "update", 4, interrupt)
        with pytest.raises(Interrupted) as caught:
            run.train(cfg, tmp_path / "cut")
    assert caught.value.code == 128 + signal.SIGTERM
    assert 4 <= last(tmp_path / "cut").training["progress"]["step"] <= 5
    assert all(process.returncode is not None for team in teams for process in team.others)
    torch.manual_seed(99)
    run.train(cfg, tmp_path / "cut", resume=True)
    for pointer in ("best", "last"):
        one, other = (Checkpoints(tmp_path / name).load(pointer) for name in ("whole", "cut"))
        assert_equal(other._asdict(), one._asdict())
    found = [tiny.metrics(tmp_path / name) for name in ("whole", "cut")]
    for metrics in found:
        metrics.pop("speed")
    assert_equal(*found)
    assert not capfd.readouterr().err


def test_when_the_first_refuses_the_others_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teams: list[Several] = []
    started = Several.started
    monkeypatch.setattr(Several, "started", lambda *args: teams.append(started(*args)) or teams[-1])
    cfg = start(tmp_path / "run", "sentiment", 3, {"data": "labelled"}, data__train="nowhere.csv")
    with pytest.raises(UserError, match=r"nowhere\.csv"):
        run.train(cfg, tmp_path / "run")
    assert [process.returncode for process in teams[0].others] == [-signal.SIGKILL] * 2


def test_an_error_of_another_is_told_by_it(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose data differ, as they may on another machine."""
    monkeypatch.setattr(run, "fingerprint", lambda records: "other data")
    with pytest.raises(Lost, match=r"process 1 of 2 has ended \(exit code 2\); to go on: seqtrain resume="):
        run.train(start(tmp_path / "run", "sentiment"), tmp_path / "run")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("seqtrain: process 1 of 2: data: their content is not what it was")


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    cfg = tiny.config("sentiment", device__name="cuda", device__processes="auto")
    assert assemble.count_processes(cfg) == 3
    with pytest.raises(UserError, match="4 processes need as many devices, and there are 3"):
        assemble.open_device(cfg, 0, 4)


# ---------------------------------------------------------------------------------------------------- commands

LONG = ["task=sentiment", "device=cpu", "model.hidden_size=8", "data.size=23", "data.valid_size=10", "data.test_size=8"]
LONG += ["trainer.batch_size=4", "trainer.max_steps=100000", "trainer.save_every=5", "trainer.eval_every=100000"]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "seqtrain")


@contextmanager
def command(argv: list[str], cwd: Path, start: tuple[str, ...] = (sys.executable, "-m", "seqtrain")) -> Iterator[Any]:
    """A command in a process of its own; whatever happens, nothing of it stays."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (cwd / "log").open("wb") as out:
        process = subprocess.Popen(
            [*start, *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )  # fmt: skip
    try:
        yield process
    finally:
        for left in family(process.pid):
            os.kill(left, signal.SIGKILL)
        process.wait()


def family(session: int) -> list[int]:
    """The living processes of a session."""
    found = subprocess.run(["ps", "-eo", "sid=,pid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for sid, pid, stat in rows if int(sid) == session and not stat.startswith("Z")]


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def told(cwd: Path) -> str:
    return (cwd / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_is_killed_the_others_say_so_and_end(rank: int, tmp_path: Path) -> None:
    with command([*LONG, "hydra.run.dir=run", "device.processes=3"], tmp_path) as process:
        wait_for((tmp_path / "run" / "checkpoints" / "last").exists)
        others = sorted(set(family(process.pid)) - {process.pid})
        assert len(others) == 2
        os.kill((process.pid, *others)[rank], signal.SIGKILL)
        assert process.wait(20) == (-signal.SIGKILL if rank == 0 else 1)
        wait_for(lambda: not family(process.pid), 10)
    how = {0: "process 0 of 3 has ended", 1: "process 1 of 3 has ended (signal 9)"}[rank]
    assert f"seqtrain: {how}; to go on: seqtrain resume=run\n" in told(tmp_path)
    assert not re.search("Traceback|frame #", told(tmp_path))


def test_torchrun_starts_them_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        cfg = start(tmp_path / name, "forecasting", 1, trainer__precision="float32")
    run.train(cfg, tmp_path / "one")
    with command(["resume=two"], tmp_path, TORCHRUN) as process:  # begins anew: nothing was saved
        assert process.wait(60) == 0, told(tmp_path)
    assert told(tmp_path).count("the best weights") == 1
    assert len(last(tmp_path / "two").training["others"]) == 1
    for name, weight in last(tmp_path / "one").weights.items():
        torch.testing.assert_close(last(tmp_path / "two").weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["trainer.bach_size=3"], "seqtrain: trainer.bach_size: there is no such key"),
        (["task=sentiment", "data=labelled", "data.train=nowhere.csv"], "nowhere.csv"),
    ],
)
def test_under_torchrun_a_refusal_is_said_once_and_ends_all(words: list[str], problem: str, tmp_path: Path) -> None:
    with command(words, tmp_path, TORCHRUN) as process:
        assert process.wait(60) == 1  # torchrun's own
    assert told(tmp_path).count(problem) == 1
    assert not re.search("process . of", told(tmp_path))
    assert "exitcode  : 2" in told(tmp_path)


def test_torchrun_does_not_go_with_a_sweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "nowhere", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    assert cli.command(["-m", "seed=1,2"]) == 2
    assert "--multirun starts its trainings itself: leave torchrun out" in capsys.readouterr().err
