"""The table of a sweep, from folders as jobs leave them, what a job tells a sweeper, and several jobs at a time."""

import csv
import json
import logging
import math
import os
import re
import signal
import sys
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from processes import LONG, command, family, told, wait_for

import seqtrain.commands
from seqtrain import cli
from seqtrain.commands import launcher, run_folder, sweep, sweep_table
from seqtrain.config import UserError
from seqtrain.machine import threads
from seqtrain.machine.signals import Pruned

pytestmark = pytest.mark.usefixtures("own_log")


def job(
    place: Path, number: int, value: float | None, status: str = "done", direction: str = "max", **overrides: str
) -> None:
    folder = place / f"{number}-x"
    folder.mkdir()
    error = {"error": overrides.pop("error")} if "error" in overrides else {}
    row = {"overrides": {"task": "t", **overrides}, "value": value, "status": status, "seconds": 1.5, **error}
    found = {"monitor": "bleu", "direction": direction} if status == "done" else {}
    sweep.write(folder, row | found)


def test_table_is_sorted_by_the_monitor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(tmp_path, 0, 10.0, lr="1", size="a")
    job(tmp_path, 1, None, "failed", lr="2", size="a")
    job(tmp_path, 2, 31.23456, lr="3", size="b|c")
    job(tmp_path, 3, None, "diverged", lr="4", size="b")
    job(tmp_path, 4, -1.0, lr="5", size="a")
    assert sweep_table.finish(tmp_path)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["lr", "size", "bleu", "seconds", "status", "run"]
    assert [row[0] for row in rows] == ["3", "1", "5", "2", "4"]
    assert rows[0][2] == "31.23456"  # a file has all digits, a table four
    assert rows[0][5] == str(tmp_path / "2-x")
    assert rows[3][2:5] == ["", "1.5", "failed"]
    assert "| 3 | b\\|c | 31.23 |" in (tmp_path / "sweep.md").read_text()
    assert str(tmp_path / "2-x") in capsys.readouterr().out


def test_lower_may_be_better(tmp_path: Path) -> None:
    job(tmp_path, 0, 2.0, direction="min", lr="1")
    job(tmp_path, 1, 1.0, direction="min", lr="2")
    assert not sweep_table.finish(tmp_path)
    assert [row["value"] for row in sweep.gather(tmp_path)] == [1.0, 2.0]


def test_a_dead_job_is_in_the_table(tmp_path: Path) -> None:
    job(tmp_path, 0, 2.0, lr="1")
    job(tmp_path, 1, None, "killed", lr="2")
    (tmp_path / "2-x").mkdir()
    (tmp_path / "2-x" / "job.json").write_text('{"overrides": {"lr"')
    assert sweep_table.finish(tmp_path)
    assert [row["status"] for row in sweep.gather(tmp_path)] == ["done", "killed", "killed"]


def test_figures_show_which_settings_led_to_which_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, (size, rate, backbone) in enumerate(product(("64", "128"), ("1e-4", "3e-3"), ("gru", "lstm"))):
        job(tmp_path, i, i / 10, direction="min", size=size, rate=rate, backbone=backbone)
    job(tmp_path, 9, None, "diverged", size="64")
    sweep_table.finish(tmp_path)
    assert "with figures in figures" in capsys.readouterr().out
    names = ("sweep-parallel-coordinates.png", "sweep-by-setting.png")
    assert all((tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert len([*tmp_path.glob("events.*")]) == 1


def test_one_job_has_no_figure(tmp_path: Path) -> None:
    job(tmp_path, 0, 1.0)
    sweep_table.finish(tmp_path)
    assert not (tmp_path / "figures").exists()


def test_no_job_at_all_is_a_failure(tmp_path: Path) -> None:
    assert sweep_table.finish(tmp_path)


@pytest.mark.parametrize(
    ("end", "direction", "objective", "status"),
    [
        (3.5, "max", 3.5, "done"),
        (math.nan, "max", -math.inf, "diverged"),
        (math.nan, "min", math.inf, "diverged"),
        (-math.inf, "min", math.inf, "diverged"),
        (Pruned("bleu", "max", 2.5), "max", 2.5, "pruned"),
        (FloatingPointError("loss is NaN"), None, math.inf, "diverged"),
        (ValueError("a bug"), None, math.inf, "failed"),
        (UserError("no such file"), None, math.inf, "failed"),
    ],
)
def test_objective_of_a_job(
    end: Any, direction: str | None, objective: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(cfg: dict[str, Any], folder: Path, resume: bool, swept: list[str], judge: None) -> float:
        assert swept == ["model"]
        if isinstance(end, Exception):
            raise end
        metrics = {"monitor": {"name": "bleu", "direction": direction, "value": end}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return end

    run: Any = ModuleType("seqtrain.commands.train")
    run.train = train
    monkeypatch.setitem(sys.modules, "seqtrain.commands.train", run)
    monkeypatch.setattr(seqtrain.commands, "train", run, raising=False)
    sweep.begin(tmp_path, ["optimizer.lr=1e-3", "+model=a"], ["optimizer.lr"])
    sweep.run_job({}, tmp_path)
    assert sweep.objective(tmp_path) == objective
    row = json.loads((tmp_path / "job.json").read_text())
    assert row["status"] == status
    assert row["overrides"] == {"optimizer.lr": "1e-3", "model": "a"}
    assert (row["value"] is None) == (status not in ("done", "pruned"))
    told = tmp_path / "failed.txt"
    assert told.exists() == (status in ("failed", "diverged") and isinstance(end, Exception))
    if told.exists():
        assert ("Traceback" in told.read_text()) == isinstance(end, ValueError)


def test_why_a_job_failed_stands_in_the_table_in_brief(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(tmp_path, 0, 1.0, lr="1")
    job(tmp_path, 1, None, "failed", lr="2", error="data.train=x: there is no such file\n" + 100 * "long ")
    sweep_table.finish(tmp_path)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].endswith("  reason")
    assert "  data.train=x: there is no such file long long" in shown[3]
    assert shown[3].endswith("…")
    assert len(shown[3].partition("data.train")[2]) < 80


def test_a_job_is_counted_and_the_time_left_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 130.0)
    assert launcher.heading(0, 6, 0, 130.0, ["seed=1"]) == "job 1 of 6: seed=1"
    assert launcher.heading(2, 6, 2, 100.0, ["seed=3", "hydra.x=1"]) == "job 3 of 6, about 01:00 left: seed=3"
    assert launcher.heading(5, 6, 3, 100.0, ["seed=6"]) == "job 6 of 6, about 00:30 left: seed=6"


# ---------------------------------------------------------------------------------------------------- several at a time


def statuses(place: Path) -> list[str]:
    """Of the jobs of the one sweep below a folder, in their order."""
    return [json.loads(path.read_text())["status"] for path in sorted(place.glob("outputs/sweeps/*/*/job.json"))]


def has_saved(place: Path, *jobs: int) -> bool:
    return all(any(place.glob(f"outputs/sweeps/*/{number}-*/checkpoints/last")) for number in jobs)


def test_jobs_end_as_they_would_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of four is done, the others fail or diverge before it; the sweeper gets their objectives in order."""
    got: list[float] = []
    launch = launcher.Launcher.launch

    def noted(*jobs: Any, **first: Any) -> Any:
        done = launch(*jobs, **first)
        got.extend(job.return_value for job in done)
        return done

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher.Launcher, "launch", noted)
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
        os.kill(family()[1], signal.SIGKILL)
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
        wait_for(lambda: not family())
    assert statuses(tmp_path) == ["interrupted", "interrupted"]  # the third has not begun
    assert "Traceback" not in told(tmp_path)
    if number != signal.SIGKILL:
        found = re.findall(
            r"^\[(\d)\] interrupted at step \d+; to go on: seqtrain resume=", told(tmp_path), re.MULTILINE
        )
        assert sorted(found) == ["0", "1"]
        assert re.search(r"^seed +value +seconds +status +run$", told(tmp_path), re.MULTILINE)


def run_code(code: str, share: int, place: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the job of a sweep whose process runs this code instead of the command."""
    with caplog.at_level(logging.INFO):
        caplog.clear()
        job = launcher.Job(7, [], place, ["-c", code], share)
        wait_for(job.has_ended)
        assert job.result().return_value == math.inf
    return caplog.messages


def test_a_job_has_its_share_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = "import os; print(os.environ['OMP_NUM_THREADS'] + '.' + os.environ['SEQTRAIN_CORES'])"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert run_code(settings, 4, tmp_path, caplog) == ["[7] 4.4"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # wanted by the user
    assert run_code(settings, 4, tmp_path, caplog) == ["[7] 3.4"]
    assert run_code(settings, 2, tmp_path, caplog) == ["[7] 2.2"]
    granted = threads.granted()
    monkeypatch.setenv(threads.SHARE, "1")
    assert threads.granted() == 1
    monkeypatch.setenv(threads.SHARE, "1000000")
    assert threads.granted() == granted


def test_threads_that_are_typed_win(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened = (
        "import torch; from seqtrain.machine.device import open_device; "
        "open_device({'name': 'cpu', 'threads': %s}); print(torch.get_num_threads())"
    )
    assert run_code(opened % None, 1, tmp_path, caplog) == ["[7] 1"]
    assert run_code(opened % 3, 1, tmp_path, caplog) == ["[7] 3"]


def test_what_a_process_writes_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = "import sys; sys.stderr.write('a line\\n10%\\r100%\\n\\xff'); sys.exit(1)"
    assert run_code(code, 1, tmp_path, caplog) == ["[7] a line", "[7] 100%", "[7] \xff"]


def test_a_job_is_the_ordinary_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options of one's own, the settings of Hydra that are not the sweep's, and a number for its name."""
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "small.yaml").write_text("# @package _global_\nmodel:\n  hidden_size: 6\n")
    monkeypatch.chdir(tmp_path)
    words = [*LONG[:2], *LONG[3:], "trainer.max_steps=1", "experiment=small", "name=n${hydra:job.num}"]
    assert (
        cli.main(["-m", "--config-dir=mine", "jobs=2", "seed=1,2", "hydra.sweep.subdir=job-${hydra:job.num}", *words])
        == 0
    )
    for number in (0, 1):
        (place,) = tmp_path.glob(f"outputs/sweeps/*/job-{number}")
        cfg = run_folder.read_config(place)
        assert (cfg["model"]["hidden_size"], cfg["seed"], cfg["name"]) == (6, number + 1, f"n{number}")


def test_a_job_that_is_resumed_leaves_the_test_split_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["-m", "seed=1", *LONG, "trainer.max_steps=5"]) == 0
    (place,) = tmp_path.glob("outputs/sweeps/*/0")
    sweep.write(place, (sweep.read(place) or {}) | {"status": "interrupted", "value": None})
    assert cli.main([f"resume={place}", "trainer.max_steps=10"]) == 0
    found, row = json.loads((place / "metrics.json").read_text()), sweep.read(place)
    assert "test" not in found
    assert row is not None
    assert (row["status"], row["value"]) == ("done", found["monitor"]["value"])


@pytest.mark.parametrize("content", ["", "[]", "[" * 10**5, '{"swept": [1]}', '{"overrides": {"lr"'])
def test_a_record_of_a_stranger_is_not_believed(content: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(content)
    assert sweep.read(tmp_path) == {"overrides": {}, "swept": [], "status": "killed", "value": None}
    assert sweep.objective(tmp_path) == math.inf


# ---------------------------------------------------------------------------------------------------- cross-validation


def fold(place: Path, number: int, accuracy: float | None, size: str = "1") -> None:
    folder = place / f"{number}-x"
    folder.mkdir()
    done = {"monitor": "accuracy", "direction": "max", "status": "done", "value": accuracy}
    overrides = {"size": size, "data.fold": str(number + 1)}
    swept = ["size", "data.fold"]
    sweep.write(folder, {"overrides": overrides, "swept": swept, "status": "killed"} | (done if accuracy else {}))
    if accuracy:
        scores = {"valid": {"accuracy": accuracy / 2}, "test": {"accuracy": accuracy, "note": "text"}}
        (folder / "metrics.json").write_text(json.dumps(scores | {"baseline": {"name": "x", "accuracy": 0.5}}))


def test_mean_and_deviation_over_the_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (accuracy, size) in enumerate([(0.6, "1"), (0.8, "1"), (0.9, "2"), (None, "2")]):
        fold(tmp_path, number, accuracy, size)
    assert sweep_table.finish(tmp_path)
    one, other = sorted(json.loads((tmp_path / "folds.json").read_text()), key=lambda row: row["settings"]["size"])
    assert one["test"]["accuracy"] == {
        "mean": pytest.approx(0.7),
        "std": pytest.approx(0.02**0.5),
        "values": [0.6, 0.8],
    }
    assert one["baseline"].keys() == {"accuracy"}
    assert (other["folds"], other["test"]["accuracy"]["std"]) == (["3"], None)
    shown = capsys.readouterr().out
    assert re.search(r"^1 +2 +accuracy +0\.3500 ± 0\.07071 +0\.7000 ± 0\.1414 +0\.5000 ± 0\.000$", shown, re.MULTILINE)
    assert f"to go on: seqtrain resume={tmp_path}" in shown


SHORT_FOLDS = ["task=sentiment", "data.size=40", "data.valid_size=10", "data.test_size=10", "data.folds=2",
               "model.hidden_size=4", "model.embedding_size=4", "trainer.batch_size=4", "device=cpu"]  # fmt: skip


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_cross_validation_goes_on(
    jobs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_log: None
):
    """The fold that is done stays, the one that was killed goes on, and each is tested."""
    with command(
        [*SHORT_FOLDS, "trainer.epochs=300", "trainer.save_every=5", "hydra.sweep.dir=S"], tmp_path
    ) as process:
        wait_for(lambda: any(tmp_path.glob("S/0-*/checkpoints/last")))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    content = (tmp_path / "S" / "multirun.yaml").read_text().replace("trainer.epochs=300", "trainer.epochs=1")
    (tmp_path / "S" / "multirun.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["resume=S", f"jobs={jobs}"]) == 0
    (found,) = json.loads((tmp_path / "S" / "folds.json").read_text())
    assert found["folds"] == ["1", "2"]
    assert len(found["test"]["accuracy"]["values"]) == 2
    before = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("S/*/metrics.json"))]
    assert cli.main(["resume=S"]) == 0
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("S/*/metrics.json"))] == before


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("[hydra.callbacks.x._target_=os.system]", "cannot go on"),
        ("['model={_target_: os.system}']", "cannot go on"),
        ("[trust=true]", "cannot go on"),
        ("[1]", "damaged"),
        ("x", "damaged"),
    ],
)
def test_a_hostile_sweep_cannot_name_code(lines: str, problem: str, tmp_path: Path) -> None:
    sweeper = f"sweeper: {{_target_: {sweep.BASIC_SWEEPER}}}"
    (tmp_path / "multirun.yaml").write_text(f"hydra:\n  {sweeper}\n  overrides: {{task: {lines}}}\n")
    with pytest.raises(UserError, match=problem):
        sweep.stored_overrides(tmp_path)


def test_folds_of_series_are_refused(capsys: pytest.CaptureFixture[str], own_log: None) -> None:
    for mode in ("inspect", "train"):
        assert cli.main([f"mode={mode}", "task=forecasting", "data.folds=3"]) == 2
        assert capsys.readouterr().err.count("time series have an order to be kept") == 1


def test_a_fold_must_be_one_of_those_there_are(capsys: pytest.CaptureFixture[str], own_log: None) -> None:
    assert cli.main(["data.folds=3", "data.fold=4"]) == 2
    assert "data.fold=4: there are data.folds=3" in capsys.readouterr().err
    assert cli.main(["data.fold=4"]) == 2
    assert "data.fold=4: add data.folds=10, say" in capsys.readouterr().err
