"""What trackers of other projects are told of a run."""

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from seqtrain.config import UserError
from seqtrain.engine import trackers
from seqtrain.engine.recorder import Recorder
from seqtrain.engine.trackers import Tracking

SETTINGS = {"seed": 0, "model": "Seq2Seq"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: Any) -> Any:
    """A local store of MLflow, as its client reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own libraries
        from mlflow import MlflowClient

    address = f"sqlite:///{tmp_path / 'runs.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return lambda: MlflowClient(address)


def test_mlflow_keeps_a_run_that_is_interrupted_and_goes_on(tmp_path: Path, store: Any):
    folder = tmp_path / "run"
    folder.mkdir()
    first = Recorder(folder, 0, Tracking("mlflow", folder, SETTINGS))
    first.scalars(1, {"loss": 3.0}, "train")
    first.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = store()
        (place,) = [one.experiment_id for one in client.search_experiments() if one.name == "seqtrain"]
        assert [run.info.status for run in client.search_runs([place])] == ["KILLED"]
    again = Recorder(folder, 1, Tracking("mlflow", folder, SETTINGS | {"trainer.epochs": 9}))
    again.scalars(2, {"loss": 2.0}, "train")
    final = again.final()
    final.hparams(2, {"seed": 0}, {"with_best_weights/valid_loss": 1.5})
    final.close()
    again.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (run,) = client.search_runs([place])
        history = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "train/loss")]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert history == [(1, 3.0), (2, 2.0)]
    assert run.data.metrics["with_best_weights/valid_loss"] == 1.5
    assert run.data.params == {"seed": "0", "model": "Seq2Seq", "trainer.epochs": "9"}


class Stub:
    """A package that keeps what it is told. Of the last call of `init` it is the run, too."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def Settings(self, **options: Any) -> Any:
        return options

    def init(self, **options: Any) -> Any:
        self.calls.append(("init", options))
        return self

    def log(self, values: Any, step: int | None = None) -> None:
        self.calls.append(("log", (values, step)))

    def finish(self, **how: Any) -> None:
        self.calls.append(("finish", how))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_others_are_told_the_same_and_nothing_leaves_this_machine(name: str, tmp_path: Path, monkeypatch: Any):
    stub = Stub()
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(sys.modules, name, stub)
    tracking = Tracking(name, tmp_path / "run", SETTINGS)
    assert stub.calls == []  # before there is something to tell
    tracking.log(5, {"train/loss": 1.0})
    tracking.close(finished=True)
    tracking.close(finished=False)
    (_, begun), (_, told), (end, how) = stub.calls
    assert (begun["project"], begun["name"], begun["resume"], begun["config"]) == ("seqtrain", "run", "allow", SETTINGS)
    assert begun.get("mode", "offline") == "offline"
    assert told in [({"train/loss": 1.0, "step": 5}, None), ({"train/loss": 1.0}, 5)]
    assert (end, how) in [("finish", {"exit_code": 0}), ("finish", {})]


def test_a_failure_of_a_tracker_ends_the_tracking_and_not_the_run(tmp_path: Path, monkeypatch: Any, caplog: Any):
    def fail(*arguments: Any) -> Any:
        raise ConnectionError("no route to the server")

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", fail)
    recorder = Recorder(tmp_path, 0, Tracking("mlflow", tmp_path, SETTINGS))
    recorder.scalars(1, {"loss": 3.0}, "train")
    recorder.scalars(2, {"loss": 3.0}, "train")
    recorder.close()
    assert [line for line in caplog.messages if "mlflow" in line] == [
        "tracker=mlflow cannot record any more (no route to the server); the run goes on"
    ]
    assert len(recorder.events()) == 1


def test_a_tracker_that_is_missing_is_told_at_the_start(monkeypatch: Any):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'seqtrain\[wandb\]'"):
        trackers.check_tracker("wandb")
    trackers.check_tracker("none")


def test_every_tracker_of_the_configuration_is_there():
    text = (Path(__file__).parents[2] / "configs" / "config.yaml").read_text(encoding="utf-8")
    (comment,) = [line for line in text.splitlines() if line.startswith("tracker:")]
    assert {*trackers.TRACKERS, "none"} <= {*comment.replace(":", " ").split()}
