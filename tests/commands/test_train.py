import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tiny
import torch

import seqtrain
from seqtrain import cli
from seqtrain.commands import assembly, evaluate, run_folder, train
from seqtrain.commands.assembly import Assembly
from seqtrain.config import UserError
from seqtrain.data.kinds import Layout, Pair, Series
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.recorder import line
from seqtrain.tasks.base import Task
from seqtrain.tasks.classification import Classification

pytestmark = pytest.mark.usefixtures("own_log")


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics(), tiny.no_figures():
        yield


# ---------------------------------------------------------------------------------------------------- what a run leaves


@pytest.mark.parametrize("task", tiny.TASKS)
def test_metrics_of_a_run(task: str, runs: dict[str, Path]):
    found = json.loads((runs[task] / "metrics.json").read_text())
    splits = {"valid", "test", "monitor", "baseline", "baselines", "signatures"}
    assert found.keys() == splits | {"speed", "parameters", "versions", "data", "curve"}
    assert found["signatures"].keys() == ({"bleu"} if task == "translation" else set())
    names = {
        "translation": {"loss", "exact_match", "bleu", "chrf"},
        "sentiment": {"loss", "accuracy", "macro_f1", "ece", "ece_uncalibrated"},
        "generation": {"loss", "perplexity", "bits_per_char"},
        "tagging": {"loss", "accuracy", "precision", "recall", "f1"},
        "forecasting": {"loss", "mae", "rmse", "mse", "mase", "smape", "crps", "pinball", "coverage", "width"},
        "music": {"loss", "frame_accuracy"},
    }[task]
    assert found["valid"].keys() == found["test"].keys() == names
    assert found["valid"] != found["test"]
    assert found["speed"].keys() == {"items_per_s", "seconds", "padding_share", "peak_memory_mib", "steps"}
    assert found["speed"]["steps"] == 6
    assert 0 <= found["speed"]["padding_share"] < 1
    assert {"python", "seqtrain", "torch", "numpy", "babel"} <= found["versions"].keys()
    assert re.fullmatch("[0-9a-f]{64}", found["data"])
    monitor = found["monitor"]
    assert monitor == {
        "name": monitor["name"],
        "direction": monitor["direction"],
        "value": found["valid"][monitor["name"]],
    }
    assert [row["step"] for row in found["curve"]] == [3, 6]
    calibrated = {"ece_uncalibrated", "crps", "pinball", "coverage", "width"}  # only when training has ended
    assert found["curve"][0].keys() == {"step", "seconds", "train_loss"} | names - calibrated


@pytest.mark.parametrize("task", tiny.TASKS)
def test_the_baseline_is_the_best_of_all_by_the_monitor(task: str, runs: dict[str, Path]):
    found = tiny.metrics(runs[task])
    name, direction = found["monitor"]["name"], found["monitor"]["direction"]
    best = (max if direction == "max" else min)(scores[name] for scores in found["baselines"].values())
    assert found["baseline"][name] == best
    baseline = dict(found["baseline"])
    assert found["baselines"][baseline.pop("name")] == baseline


def test_files_of_a_run(runs: dict[str, Path]):
    names = {path.name for path in runs["sentiment"].iterdir()}
    assert {name for name in names if not name.startswith("events.")} == {
        "config.yaml",
        "data.json",
        "metrics.json",
        "checkpoints",
        "predictions.csv",
        "classes.csv",
        "confusions.csv",
        "thresholds.csv",
        "calibration.json",
    }
    kept = {path.name for path in (runs["sentiment"] / "checkpoints").iterdir()}
    assert {"best", "last"} <= kept
    assert all(re.fullmatch(r"best|last|step-\d+", name) for name in kept)


def test_a_run_in_a_sweep_leaves_the_test_split_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scored = []
    examples = Task.examples

    def spy(task: Any, records: Any) -> Any:
        scored.append(records)
        return examples(task, records)

    monkeypatch.setattr(Task, "examples", spy)
    cfg = tiny.start(tmp_path / "run", "sentiment")
    value = train.train(cfg, tmp_path / "run", swept=[])
    found = tiny.metrics(tmp_path / "run")
    assert "test" not in found
    assert value == found["monitor"]["value"] == found["valid"]["accuracy"]
    assert sorted(map(len, scored)) == [10, 24]  # validation and training


def test_the_fingerprint_tells_data_apart():
    def series(value: float, begin: int = 1) -> list[Series]:
        return [Series("s", np.array(["2020-01-01"], "datetime64[D]"), np.array([[value]]), begin, Layout(("a",)))]

    records = [[Pair("a", "b")], [Pair("ab", "")], [Pair("a", "c")], ["ab"], series(1), series(2), series(1, begin=0)]
    prints = [assembly.fingerprint({"train": found}) for found in records]
    assert len(set(prints)) == len(records)
    assert assembly.fingerprint({"train": series(np.nan)}) == assembly.fingerprint({"train": series(np.nan)})


def test_an_empty_split_is_told(tmp_path: Path):
    cfg = tiny.start(tmp_path / "run", "generation", data__valid_share=1e-6)
    with pytest.raises(UserError, match="data: the valid split is empty"):
        train.train(cfg, tmp_path / "run")


def test_a_device_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device=cuda: torch finds no such device here"):
        assert Assembly(tiny.config("sentiment", device__name="cuda")).device


# ---------------------------------------------------------------------------------------------------- a run folder


def test_the_package_is_light():
    code = (
        "import sys, seqtrain; assert not {'torch', 'numpy', 'hydra', 'importlib.metadata'} & sys.modules.keys();"
        "print(seqtrain.__version__, callable(seqtrain.load)); assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S* True\n", found.stdout)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        seqtrain.laod  # noqa: B018  # pyright: ignore


@pytest.mark.parametrize("task", tiny.TASKS)
def test_predicting_needs_no_data(task: str, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    expected = seqtrain.load(runs[task]).predict(tiny.LINES[task])
    option = tiny.config(task)["data"]["_target_"].rpartition(".")[0]
    monkeypatch.setitem(sys.modules, option, None)  # its import fails
    loaded = seqtrain.load(runs[task])
    assert loaded.predict(tiny.LINES[task]) == expected
    assert loaded.predict([]) == []
    with pytest.raises(UserError, match="it cannot be imported"):
        loaded.evaluate()


@pytest.mark.parametrize("task", tiny.TASKS)
def test_a_loaded_model_scores_what_the_run_scored(task: str, runs: dict[str, Path]):
    found = tiny.metrics(runs[task])
    loaded = seqtrain.load(str(runs[task]))
    assert loaded.evaluate("test") == found["test"]
    assert loaded.evaluate("valid")[found["monitor"]["name"]] == found["monitor"]["value"]
    assert not loaded.model.training


def test_a_folder_that_is_none_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="there is no such folder"):
        seqtrain.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="this is no run folder"):
        seqtrain.load(tmp_path)


def test_evaluate_prints_the_metrics_beside_the_baselines(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cfg = run_folder.read_config(runs["sentiment"]) | {"output": str(tmp_path / "found.json")}
    evaluate.evaluate(cfg, runs["sentiment"])
    valid, *rest = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "found.json").read_text())
    assert valid == f"valid  {line(found['valid'])}"
    assert rest[0].strip().startswith("(baseline, majority class: accuracy ")
    assert found["test"] == tiny.metrics(runs["sentiment"])["test"]


# ---------------------------------------------------------------------------------------------------- the command line

WORDS = [
    "task=sentiment",
    *("data.size=24", "data.valid_size=10", "data.test_size=8"),
    *("model.embedding_size=8", "model.hidden_size=8", "model.dropout=0.2"),
    *("trainer.batch_size=4", "trainer.eval_every=1000000", "trainer.save_every=5"),
    *("device=cpu", "device.threads=1", "schedule=constant"),
]


def test_an_interrupted_command_goes_on_where_it_stopped(tmp_path: Path):
    """SIGINT to a training without end; then the command that it prints, given an end."""
    place = tmp_path / "run"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "seqtrain", *WORDS, f"hydra.run.dir={place}", "trainer.max_steps=1000000"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env=environment
    ) as process:
        while process.poll() is None and not (place / "checkpoints" / "last").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    found = re.search(r"interrupted at step (\d+); to go on: seqtrain (resume=.+)$", told, re.MULTILINE)
    assert found, told
    step = int(found[1])
    assert Checkpoints(place).load("last").training["progress"]["step"] == step
    end = f"trainer.max_steps={step + 7}"
    again = subprocess.run(
        [sys.executable, "-m", "seqtrain", *found[2].split(), end],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert again.returncode == 0, again.stderr

    whole = tmp_path / "whole"
    assert cli.main([*WORDS, end, f"hydra.run.dir={whole}"]) == 0
    expected, resumed = (Checkpoints(path).load("last") for path in (whole, place))
    assert resumed.weights.keys() == expected.weights.keys()
    assert all(torch.equal(weight, expected.weights[name]) for name, weight in resumed.weights.items())
    assert tiny.metrics(place)["test"] == tiny.metrics(whole)["test"]


def test_a_command_that_diverges_ends_with_a_line_and_exit_code_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    words = ["optimizer=sgd", "optimizer.lr=1e60", "trainer.clip=null", "trainer.max_steps=60"]
    assert cli.main([*WORDS, *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    told = capfd.readouterr().err
    assert re.fullmatch(
        r"seqtrain: the training loss is (nan|inf) at step \d+: a lower optimizer\.lr may help; "
        rf"to see where: seqtrain mode=replay checkpoint={tmp_path / 'run'}\n",
        told,
    )


def test_the_baselines_of_the_same_data_and_settings_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """So a sweep computes them once; other data, settings or code, or no cache, make them anew."""
    computed: list[int] = []
    original = Classification.baselines
    monkeypatch.setattr(Classification, "baselines", lambda *args: computed.append(1) or original(*args))
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path / "cache"))
    cfg = tiny.config("sentiment")
    _, job, records = tiny.job(cfg)

    def baselines(cfg: Any, records: Any, split: str = "valid") -> Any:
        parts = Assembly(cfg)
        parts.task, parts.records = job.task, records
        return parts.baselines(split)

    first = baselines(cfg, records)
    assert baselines(cfg | {"seed": 5}, records) == first
    assert len(computed) == 1
    baselines(cfg, records, "test")
    baselines(cfg, records | {"train": records["train"][1:]})
    baselines(cfg | {"task": cfg["task"] | {"max_length": 3}}, records)
    monkeypatch.setattr(assembly, "code", lambda: "another version")
    baselines(cfg, records)
    assert len(computed) == 5
    monkeypatch.setattr("seqtrain.storage.cache.make_private", Mock(side_effect=OSError(30, "Read-only file system")))
    monkeypatch.setattr(assembly, "code", lambda: "a third one")
    assert baselines(cfg, records) == first
    assert len(computed) == 6
