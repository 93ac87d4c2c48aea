"""The table of a sweep, from folders as jobs leave them, what a job tells a sweeper, and several jobs at a time."""

import csv
import json
import logging
import math
import os
import re
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_team import LONG, command, family, told, wait_for

import seqtrain
from seqtrain import cli, launcher, sweep, threads
from seqtrain.config import UserError


def job(
    place: Path, number: int, value: float | None, status: str = "done", direction: str = "max", **overrides: str
) -> None:
    folder = place / f"{number}-x"
    folder.mkdir()
    row = {"overrides": {"task": "t", **overrides}, "value": value, "status": status, "seconds": 1.5}
    found = {"monitor": "bleu", "direction": direction} if status == "done" else {}
    sweep.write(folder, row | found)


def test_table_is_sorted_by_the_monitor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(tmp_path, 0, 10.0, lr="1", size="a")
    job(tmp_path, 1, None, "failed", lr="2", size="a")
    job(tmp_path, 2, 31.23456, lr="3", size="b|c")
    job(tmp_path, 3, None, "diverged", lr="4", size="b")
    job(tmp_path, 4, -1.0, lr="5", size="a")
    assert sweep.finish(tmp_path)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["lr", "size", "bleu", "seconds", "status", "run"]
    assert [row[0] for row in rows] == ["3", "1", "5", "2", "4"]
    assert rows[0][2] == "31.235"
    assert rows[0][5] == str(tmp_path / "2-x")
    assert rows[3][2:5] == ["", "1.5", "failed"]
    assert "| 3 | b\\|c | 31.235 |" in (tmp_path / "sweep.md").read_text()
    assert str(tmp_path / "2-x") in capsys.readouterr().out


def test_lower_may_be_better(tmp_path: Path) -> None:
    job(tmp_path, 0, 2.0, direction="min", lr="1")
    job(tmp_path, 1, 1.0, direction="min", lr="2")
    assert not sweep.finish(tmp_path)
    assert [row["value"] for row in sweep.gather(tmp_path)] == [1.0, 2.0]


def test_a_dead_job_is_in_the_table(tmp_path: Path) -> None:
    job(tmp_path, 0, 2.0, lr="1")
    job(tmp_path, 1, None, "killed", lr="2")
    (tmp_path / "2-x").mkdir()
    (tmp_path / "2-x" / "job.json").write_text('{"overrides": {"lr"')
    assert sweep.finish(tmp_path)
    assert [row["status"] for row in sweep.gather(tmp_path)] == ["done", "killed", "killed"]


def test_no_job_at_all_is_a_failure(tmp_path: Path) -> None:
    assert sweep.finish(tmp_path)


@pytest.mark.parametrize(
    ("end", "direction", "objective", "status"),
    [
        (3.5, "max", 3.5, "done"),
        (math.nan, "max", -math.inf, "diverged"),
        (math.nan, "min", math.inf, "diverged"),
        (-math.inf, "min", math.inf, "diverged"),
        (FloatingPointError("loss is NaN"), None, math.inf, "diverged"),
        (ValueError("a bug"), None, math.inf, "failed"),
        (UserError("no such file"), None, math.inf, "failed"),
    ],
)
def test_objective_of_a_job(
    end: Any, direction: str | None, objective: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(cfg: dict[str, Any], folder: Path, sweep: bool) -> float:
        assert sweep
        if isinstance(end, Exception):
            raise end
        metrics = {"monitor": {"name": "bleu", "direction": direction, "value": end}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return end

    run: Any = ModuleType("seqtrain.run")
    run.train = train
    monkeypatch.setitem(sys.modules, "seqtrain.run", run)
    monkeypatch.setattr(seqtrain, "run", run, raising=False)
    assert sweep.run_job({}, tmp_path, ["optimizer.lr=1e-3", "+model=a"]) == objective
    row = json.loads((tmp_path / "job.json").read_text())
    assert row["status"] == status
    assert row["overrides"] == {"optimizer.lr": "1e-3", "model": "a"}
    assert (row["value"] is None) == (status != "done")
    told = tmp_path / "failed.txt"
    assert told.exists() == isinstance(end, Exception)
    if told.exists():
        assert ("Traceback" in told.read_text()) == isinstance(end, ValueError)


# ---------------------------------------------------------------------------------------------------- several at a time


def statuses(place: Path) -> list[str]:
    """Of the jobs of the one sweep below a folder, in their order."""
    return [json.loads(path.read_text())["status"] for path in sorted(place.glob("outputs/sweeps/*/*/job.json"))]


def has_saved(place: Path, *jobs: int) -> bool:
    return all(any(place.glob(f"outputs/sweeps/*/{number}-*/checkpoints/last")) for number in jobs)


def test_jobs_end_as_they_would_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of four is done, the others fail or diverge before it; the sweeper gets their objectives in order."""
    got: list[float] = []
    launch = launcher.Packed.launch

    def noted(*jobs: Any, **first: Any) -> Any:
        done = launch(*jobs, **first)
        got.extend(job.return_value for job in done)
        return done

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher.Packed, "launch", noted)
    monkeypatch.setattr(threads, "granted", lambda: 4)
    swept = ["model=seq2seq,many_to_one", "optimizer.lr=1e-3,1e60", "optimizer=sgd", "trainer.clip=null"]
    assert cli.main(["-m", "jobs=auto", *LONG, *swept, "trainer.max_steps=20"]) == 1
    assert statuses(tmp_path) == ["failed", "failed", "done", "diverged"]
    (kept,) = (json.loads(path.read_text()) for path in tmp_path.glob("outputs/sweeps/*/*/metrics.json"))
    assert got == [math.inf, math.inf, kept["monitor"]["value"], math.inf]
    assert "test" not in kept


def test_lines_tell_whose_they_are(tmp_path: Path) -> None:
    """And a killed job, too, does not stop the others."""
    with command(["-m", "jobs=2", *LONG, "trainer.max_steps=1000000,10"], tmp_path) as process:
        wait_for(lambda: has_saved(tmp_path, 0))
        os.kill(min(set(family(process.pid)) - {process.pid}), signal.SIGKILL)
        assert process.wait(60) == 1
    assert statuses(tmp_path) == ["killed", "done"]
    first, *lines = told(tmp_path).partition("\n\n")[0].splitlines()  # then comes the table
    assert first.startswith("2 jobs, 2 at a time with ")
    assert all(line.startswith(("[0] ", "[1] ")) for line in lines)
    assert "[0] killed by signal 9" in lines
    assert any(line.startswith("[1]   valid  loss ") for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_when_a_sweep_is_ended_its_jobs_save_their_state(number: signal.Signals, tmp_path: Path) -> None:
    with command(["-m", "jobs=2", "seed=1,2,3", *LONG], tmp_path) as process:
        wait_for(lambda: has_saved(tmp_path, 0, 1))
        os.killpg(process.pid, number)  # as a terminal does
        assert process.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
        wait_for(lambda: not family(process.pid))
    assert statuses(tmp_path) == ["interrupted", "interrupted"]  # the third has not begun
    assert "Traceback" not in told(tmp_path)
    if number != signal.SIGKILL:
        found = re.findall(
            r"^\[(\d)\] interrupted at step \d+; to go on: seqtrain resume=", told(tmp_path), re.MULTILINE
        )
        assert sorted(found) == ["0", "1"]
        assert re.search(r"^seed +value +seconds +status +run$", told(tmp_path), re.MULTILINE)


def run_code(code: str, share: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """The objective that a process hands over which is not told what to run, but runs this."""
    monkeypatch.setattr(launcher, "COMMAND", code)
    job = launcher.Job(7, [], b"", share)
    wait_for(job.ended)
    return job.result().return_value


def test_a_job_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = "import os; print(float(os.environ['OMP_NUM_THREADS'] + '.' + os.environ['SEQTRAIN_CORES']))"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert run_code(settings, 4, monkeypatch) == 4.4
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # wanted by the user
    assert run_code(settings, 4, monkeypatch) == 3.4
    assert run_code(settings, 2, monkeypatch) == 2.2
    granted = threads.granted()
    monkeypatch.setenv(threads.SHARE, "1")
    assert threads.granted() == 1
    monkeypatch.setenv(threads.SHARE, "1000000")
    assert threads.granted() == granted


def test_threads_that_are_typed_win(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = (
        "import torch; from seqtrain.assemble import open_device; "
        "open_device({'device': {'name': 'cpu', 'threads': %s}}); print(torch.get_num_threads())"
    )
    assert run_code(opened % None, 1, monkeypatch) == 1
    assert run_code(opened % 3, 1, monkeypatch) == 3


def test_what_a_process_writes_is_shown(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        code = "import sys; sys.stderr.write('a line\\n10%\\r100%\\n\\xff'); sys.exit(1)"
        assert run_code(code, 1, monkeypatch) == math.inf
    assert caplog.messages == ["[7] a line", "[7] 100%", "[7] \xff"]
