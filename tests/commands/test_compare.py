"""mode=compare: what it says of runs that differ in a seed, of better ones, and of such that cannot be compared."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from seqtrain import cli
from seqtrain.commands import compare
from seqtrain.commands.loaded import load
from seqtrain.config import UserError
from seqtrain.evaluation import metrics
from seqtrain.evaluation.significance import paired
from seqtrain.tasks.base import Task

pytestmark = pytest.mark.usefixtures("own_log")
SMALL = {"data__size": 40, "data__test_size": 30, "trainer__max_steps": 10}


@pytest.fixture(autouse=True)
def few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.commands.compare.TRIALS", 100)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentiment by two seeds, and with words in windows; the other runs are copies."""
    place = tmp_path_factory.mktemp("compared")
    with tiny.no_figures():
        for seed in (1, 2):
            tiny.train(place / f"lstm{seed}", "sentiment", seed=seed, **SMALL)
        tiny.train(place / "bag", "sentiment", {"backbone": "feedforward"}, seed=1, **SMALL)
    shutil.copytree(place / "lstm1", place / "lstm3")
    shutil.copytree(place / "lstm1", place / "other")
    config = (place / "other" / "config.yaml").read_text()
    (place / "other" / "config.yaml").write_text(config.replace("test_size: 30", "test_size: 29"))
    return place


def said(place: Path, runs: str, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    capsys.readouterr()
    code = cli.main(["mode=compare", f"runs={runs.replace('@', str(place))}", *more])
    out, err = capsys.readouterr()
    assert code == (2 if err else 0), err
    return (err or out).splitlines()


def test_a_run_and_itself(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(place, "[@/lstm1,@/lstm1]", capsys)
    assert lines[1] == "(none)"
    assert "no difference in accuracy that is more than chance (p = 1.000)" in lines
    assert lines[-1] == "no example changed its accuracy"


def test_two_runs(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(place, "[@/lstm1,@/bag]", capsys, f"output={tmp_path / 'out.csv'}", "seed=4")
    assert lines[0].split() == ["setting", "A", "B"]
    assert lines[1].split() == ["backbone", "lstm", "feedforward"]
    rows = {line.split()[0]: line.split() for line in lines if line}
    scores = [load(place / name).evaluate("test") for name in ("lstm1", "bag")]
    assert rows["accuracy"][1:3] == [f"{score['accuracy']:#.4g}" for score in scores]
    assert "30 test examples, 100 trials of each test, seed=4" in lines
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["example", "target", "A", "B", "accuracy A", "accuracy B"]
    changes = [abs(float(row["accuracy A"]) - float(row["accuracy B"])) for row in table]
    assert changes == sorted(changes, reverse=True)
    assert np.mean([float(row["accuracy B"]) for row in table]) == pytest.approx(scores[1]["accuracy"])
    assert [(row["A"] == row["target"]) for row in table] == [row["accuracy A"] == "1.0" for row in table]


def test_groups_of_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(place, "[@/lstm*,[@/lstm2,@/lstm3]]", capsys)
    assert lines[1].split() == ["seed", "1", "|", "2", "2", "|", "1"]
    assert "3 and 2 runs, mean ± standard deviation, Welch's t-test" in lines
    assert any(line.startswith("no difference in accuracy") for line in lines)
    assert "two" in said(place, "[@/lstm*,@/bag]", capsys)[0]


def test_what_cannot_be_compared(place: Path, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert "different test data" in said(place, "[@/lstm1,@/other]", capsys)[-1]
    assert "different tasks" in said(place, f"[@/lstm1,{runs['tagging']}]", capsys)[-1]
    assert "expected two runs" in said(place, "[@/lstm1]", capsys)[0]
    assert "no such folder; did you mean" in said(place, "[@/lstm1,@/lstn2]", capsys)[0]
    assert "did you mean data.size" in said(place, "[@/lstm1,@/lstm2]", capsys, "data.sise=3")[0]
    assert cli.main(["mode=compare"]) == 2


@pytest.mark.parametrize("task", tiny.TASKS)
def test_every_task(task: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with tiny.few_topics(), tiny.no_figures():
        other = tmp_path / "other"
        shutil.copytree(runs[task], other)
        lines = said(tmp_path, f"[{runs[task]},{other}]", capsys)
    monitor = load(runs[task]).task.monitor
    assert any(line.startswith(f"no difference in {monitor}") for line in lines)


def test_a_task_that_only_compares_is_drawn_from_as_well() -> None:
    class Own(Task):
        def compare(self, outputs: Any, targets: Any) -> dict[str, float]:
            return {"median": float(np.median(np.subtract(outputs, targets)))}

    found = paired(Own().compare_weighted([1.0, 2, 3, 4, 5, 9], [0.0] * 6), 3, seed=0, trials=20)["median"]
    assert (found.a, found.b) == (2, 5)
    assert found.low >= 1


def test_weights_are_counts() -> None:
    """What is made of sums is what is made of the examples, each so many times."""
    outputs, targets = ["a b c d", "a b", "c d e f g"], ["a b c d", "a c", "c d f e g"]
    weights = np.array([2.0, 0, 3])
    rows = [0, 0, 2, 2, 2]
    for make in (metrics.translation, metrics.transcription):
        repeated = make([outputs[row] for row in rows], [targets[row] for row in rows])()
        assert make(outputs, targets)(weights) == pytest.approx(repeated)


def test_a_foreign_measure_is_refused(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.commands.loaded.Loaded.totals", lambda self, split: {"sum": 1.0})
    loaded = load(runs["sentiment"])
    with pytest.raises(UserError, match="measures no single examples"):
        compare.measured(loaded)
