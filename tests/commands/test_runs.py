"""mode=runs: every state that a run can be in, the settings as they would be typed, and folders that nobody expects."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from processes import LONG

from seqtrain import cli
from seqtrain.commands import run_folder, runs, sweep
from seqtrain.config import UserError
from seqtrain.config.options import Options
from seqtrain.config.sources import Configs
from seqtrain.storage import disk

pytestmark = pytest.mark.usefixtures("own_log")
HOUSE = Path(__file__).parent / "first_house"  # a finished run
TIME = "2026-11-29 07:49:24,123"
LOGS = {
    "killed": f"{TIME} INFO a: step 9\n{TIME} INFO seqtrain.engine.trainer:   valid  loss 0.25  accuracy 0.75 *\n",
    "stopped": f"{TIME} WARNING seqtrain.commands.train: interrupted at step 9; to go on: …\n",
    "crashed": f"{TIME} ERROR seqtrain.cli: Traceback (most recent call last):\n  File …\nValueError: a bug\n",
    "resumed": f"{TIME} ERROR seqtrain.cli: seqtrain: disk full\n{TIME} INFO a: going on at step 9\n",
}


@pytest.fixture(scope="module")
def options() -> Options:
    run_folder.register_resolvers()
    return Options(Configs())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Runs as they end in one way or another."""
    shutil.copytree(HOUSE, tmp_path / "outputs" / "deep" / "done")
    for name, text in LOGS.items():
        folder = tmp_path / "outputs" / name
        shutil.copytree(HOUSE, folder)
        (folder / "metrics.json").unlink()
        (folder / "train.log").write_text(text)
    return tmp_path / "outputs"


def table(place: Path, options: Options) -> dict[str, dict[str, Any]]:
    return {folder.name: runs.read(folder, options) for folder in runs.named(str(place))}


def test_states(place: Path, options: Options) -> None:
    with disk.locked(place / "resumed"):
        found = table(place, options)
    states = {name: row["state"] for name, row in found.items()}
    assert states == {
        **{"done": "finished", "killed": "interrupted", "stopped": "interrupted"},
        **{"crashed": "failed", "resumed": "running"},
    }
    assert found["crashed"]["reason"] == "ValueError: a bug"
    assert (found["done"]["metric"], found["done"]["step"]) == ("loss", 90)
    assert (found["killed"]["metric"], found["killed"]["value"]) == ("loss", 0.25)
    assert 0 <= found["killed"]["age"] < 60


def test_settings_are_what_one_would_type(options: Options) -> None:
    row = runs.read(HOUSE, options)
    assert [row[axis] for axis in ("data", "model", "backbone")] == ["reviews", "many_to_one", "lstm"]
    assert row["settings"].split()[-2:] == ["trainer.eval_every=30", "trainer.ema=0.5"]
    composed = options.compose(f"task={row['task']}", *row["settings"].split())
    stored = runs.read_stored(HOUSE, options.configs)[0]
    assert (composed["trainer.ema"], composed["optimizer.lr"]) == (stored.trainer.ema, stored.optimizer.lr)


def test_a_run_that_diverges_and_a_job_that_fails(
    tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*LONG, "optimizer=sgd", "optimizer.lr=1e60", "trainer.clip=null", "hydra.run.dir=outputs/a"]) == 1
    shutil.copytree(HOUSE, tmp_path / "outputs" / "b")
    sweep.write(tmp_path / "outputs" / "b", {"status": "failed", "error": "no such file"})
    found = table(tmp_path, options)
    assert (found["a"]["state"], found["b"]["state"]) == ("diverged", "failed")
    assert "at step" in found["a"]["reason"]
    assert {"optimizer=sgd", "optimizer.lr=1e+60", "trainer.clip=null"} <= {*found["a"]["settings"].split()}
    capsys.readouterr()
    assert cli.main(["mode=runs", "filter=*verged"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["task", "data", "model", "backbone", "settings", "state"]
    assert len(rows) == 1
    assert "outputs/a" in rows[0]


def test_sorted_and_written(place: Path, tmp_path: Path) -> None:
    metrics = json.loads((place / "deep" / "done" / "metrics.json").read_text())
    for name, value in {"x": 0.5, "y": 0.9}.items():
        shutil.copytree(place / "deep" / "done", place / name)
        new = metrics | {"monitor": {"name": "accuracy", "direction": "max", "value": value}}
        (place / name / "metrics.json").write_text(json.dumps(new))
    out = tmp_path / "runs.csv"
    assert cli.main(["mode=runs", f"runs={place}", "sort=value", f"output={out}"]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["run"]).name for row in rows] == ["y", "x", "killed", "done", "crashed", "resumed", "stopped"]
    assert rows[0]["value"] == "0.9"
    assert cli.main(["mode=runs", f"runs={place}", "sort=vaule"]) == 2
    assert cli.main(["mode=runs", f"runs={place}", "filter=broken"]) == 0  # none is
    assert cli.main(["mode=runs", f"runs={place}", "filter=finishd"]) == 2
    assert cli.main(["mode=runs", f"runs={place}", f"output={tmp_path / 'runs.txt'}"]) == 2


def test_names_and_patterns(place: Path) -> None:
    def found(names: Any) -> list[str]:
        return [folder.name for folder in runs.named(names)]

    (place / "link").symlink_to(place / "deep")
    (place / "configs").mkdir()
    (place / "configs" / "config.yaml").write_text("a: 1\n")  # one of the marks alone: no run
    assert found(str(place)) == ["crashed", "done", "killed", "resumed", "stopped"]
    assert found(f"{place}/*ed") == ["crashed", "killed", "resumed", "stopped"]
    assert found([f"{place}/deep/done", f"{place}/deep"]) == ["done"]
    assert found(str(place / "link")) == ["done"]
    with pytest.raises(UserError, match="no such folder"):
        runs.named(f"{place}/l*")
    with pytest.raises(UserError, match="no such folder; did you mean"):
        runs.named(str(place / "kiled"))


BROKEN = {
    "config.yaml": [None, b"\xff", b"a: [", b"task: 1\n", b"model: {_target_: os.system}\n"],
    "metrics.json": [b"{", b"[]", b'{"monitor": {"name": 1}}', b"[" * 10**5],
    "train.log": [Path("/dev/zero"), b"\x80\x1b[2J\n" * 9],
    "job.json": [b"{", Path("/dev/zero")],
}


@pytest.mark.parametrize(("name", "content"), [(name, one) for name, some in BROKEN.items() for one in some])
def test_a_broken_folder_is_a_row(name: str, content: bytes | Path | None, tmp_path: Path, options: Options) -> None:
    run = tmp_path / "run"
    shutil.copytree(HOUSE, run)
    (run / "train.log").touch()
    (run / name).unlink(missing_ok=True)
    if isinstance(content, bytes):
        (run / name).write_bytes(content)
    elif content:
        (run / name).symlink_to(content)
    (row,) = [runs.read(folder, options) for folder in runs.named(str(tmp_path))]
    states = {"train.log": {"broken", "finished"}, "job.json": {"broken", "interrupted"}}.get(name, {"broken"})
    assert row["state"] in states
    assert all(len(runs.cell(row, column)) < 300 for column in runs.COLUMNS)
    assert row["state"] != "broken" or row["reason"]
