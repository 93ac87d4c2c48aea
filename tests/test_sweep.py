"""The table of a sweep, from folders as jobs leave them, and what a job tells a sweeper."""

import csv
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import seqtrain
from seqtrain import sweep
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
