import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import seqtrain
from seqtrain import assemble, cli, folder, run, use
from seqtrain.checkpoint import Checkpoints
from seqtrain.config import UserError
from seqtrain.data import Layout, Pair, Series


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics, tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each task."""
    places = {task: tmp_path_factory.mktemp(task) / "run" for task in tiny.TASKS}
    for task, place in places.items():
        tiny.train(place, task, decode__temperature=0.0)
    return places


LINES = {
    "translation": ["May 3, 2021", "", "4. Juni 1999"],
    "sentiment": ["a good film", "", "not good"],
    "generation": ["the state", "", "of"],
    "forecasting": ["1 2 3 4 5 6 7 8", "[8, 7, 6, 5, 4, 3, 2, null]", "1,2,3,4,5,6,7,nan"],
}


# ---------------------------------------------------------------------------------------------------- what a run leaves


@pytest.mark.parametrize("task", tiny.TASKS)
def test_metrics_of_a_run(task: str, runs: dict[str, Path]):
    found = json.loads((runs[task] / "metrics.json").read_text())
    splits = {"valid", "test", "monitor", "baseline", "baselines", "speed", "parameters", "versions", "data", "curve"}
    assert found.keys() == splits
    names = {
        "translation": {"loss", "exact_match", "bleu", "chrf"},
        "sentiment": {"loss", "accuracy", "macro_f1"},
        "generation": {"loss", "perplexity", "bits_per_char"},
        "forecasting": {"loss", "mae", "rmse", "mse", "mase", "smape"},
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
    assert found["curve"][0].keys() == {"step", "seconds"} | names


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
    }
    kept = {path.name for path in (runs["sentiment"] / "checkpoints").iterdir()}
    assert {"best", "last"} <= kept
    assert all(re.fullmatch(r"best|last|step-\d+", name) for name in kept)


def test_a_run_in_a_sweep_leaves_the_test_split_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scored = []
    loader = run.Task.loader

    def spy(task: Any, records: Any, *how: Any) -> Any:
        scored.append(records)
        return loader(task, records, *how)

    monkeypatch.setattr(run.Task, "loader", spy)
    cfg = tiny.start(tmp_path / "run", "sentiment")
    value = run.train(cfg, tmp_path / "run", sweep=True)
    found = tiny.metrics(tmp_path / "run")
    assert "test" not in found
    assert value == found["monitor"]["value"] == found["valid"]["accuracy"]
    assert sorted(map(len, scored)) == [10, 24]  # validation and training


def test_the_fingerprint_tells_data_apart():
    def series(value: float, begin: int = 1) -> list[Series]:
        return [Series("s", np.array(["2020-01-01"], "datetime64[D]"), np.array([[value]]), begin, Layout(("a",)))]

    records = [[Pair("a", "b")], [Pair("ab", "")], [Pair("a", "c")], ["ab"], series(1), series(2), series(1, begin=0)]
    prints = [assemble.fingerprint({"train": found}) for found in records]
    assert len(set(prints)) == len(records)
    assert assemble.fingerprint({"train": series(np.nan)}) == assemble.fingerprint({"train": series(np.nan)})


def test_an_empty_split_is_told(tmp_path: Path):
    cfg = tiny.start(tmp_path / "run", "generation", data__valid_share=1e-6)
    with pytest.raises(UserError, match="data: the valid split is empty"):
        run.train(cfg, tmp_path / "run")


def test_a_device_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device=cuda: torch finds no such device here"):
        assemble.open_device(tiny.config("sentiment", device__name="cuda"))


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
    expected = seqtrain.load(runs[task]).predict(LINES[task])
    option = tiny.config(task)["data"]["_target_"].rpartition(".")[0]
    monkeypatch.setitem(sys.modules, option, None)  # its import fails
    loaded = seqtrain.load(runs[task])
    assert loaded.predict(LINES[task]) == expected
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
    cfg = folder.read_config(runs["sentiment"]) | {"output": str(tmp_path / "found.json")}
    use.evaluate(cfg, runs["sentiment"])
    valid, *rest = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "found.json").read_text())
    assert valid == f"valid  {use.line(found['valid'])}"
    assert rest[0].strip().startswith("(baseline, majority class: accuracy ")
    assert found["test"] == tiny.metrics(runs["sentiment"])["test"]


# ---------------------------------------------------------------------------------------------------- prediction


def predict(runs: dict[str, Path], task: str, content: bytes, tmp_path: Path, **how: str) -> list[str]:
    """The lines that mode=predict writes for an input file."""
    (tmp_path / "in").write_bytes(content)
    names = {"input": str(tmp_path / "in"), "output": str(tmp_path / "out")}
    use.predict(folder.read_config(runs[task]) | names | how, runs[task])
    text = (tmp_path / "out").read_bytes().decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


@pytest.mark.parametrize("task", tiny.TASKS)
def test_each_line_has_its_answer_in_order(task: str, runs: dict[str, Path], tmp_path: Path):
    expected = [use.one_line(answer) for answer in seqtrain.load(runs[task]).predict(LINES[task])]
    text = "\n".join(LINES[task]).encode()
    without_end, windows = text, text.replace(b"\n", b"\r\n") + b"\r\n"
    for content in (without_end, text + b"\n", windows):
        found = predict(runs, task, content, tmp_path)
        if task == "forecasting":  # the last digit depends on which lines are answered together
            np.testing.assert_allclose([*map(json.loads, found)], [*map(json.loads, expected)], rtol=1e-5)
        else:
            assert found == expected
    assert predict(runs, task, b"", tmp_path) == []


@pytest.mark.parametrize("task", tiny.TASKS)
def test_json_lines_hold_inputs_outputs_and_what_else_is_known(task: str, runs: dict[str, Path], tmp_path: Path):
    found = [
        json.loads(line) for line in predict(runs, task, "\n".join(LINES[task]).encode(), tmp_path, format="jsonl")
    ]
    assert [answer["input"] for answer in found] == LINES[task]
    keys = {"translation": {"log_prob", "alignment"}, "sentiment": {"scores"}, "generation": {"log_prob"}}
    assert all(answer.keys() == {"input", "output"} | keys.get(task, set()) for answer in found)


def test_strange_lines(runs: dict[str, Path], tmp_path: Path):
    lines = ["", " ", "\t", "x" * 200_000, "\u2028\x0b\x85", "\U0001f600", "\\n", "good"]
    found = predict(runs, "sentiment", "\n".join(lines).encode(), tmp_path)
    assert len(found) == len(lines)
    assert found[-1] == seqtrain.load(runs["sentiment"]).predict(["good"])[0]


def test_an_answer_stays_on_its_line():
    assert use.one_line("a\nb\\n\rc") == r"a\nb\\n\rc"
    assert use.one_line([1.5, None]) == "[1.5, null]"


def test_what_is_no_utf8_is_told(runs: dict[str, Path], tmp_path: Path):
    with pytest.raises(UserError, match=r"input=.*: not UTF-8"):
        predict(runs, "sentiment", b"good\nb\xff\xfed\n", tmp_path)


def test_the_line_of_a_mistake_is_counted_from_the_beginning_of_the_file(runs: dict[str, Path], tmp_path: Path):
    good = b"1 2 3 4 5 6 7 8" + b" " * 1000 + b"\n"
    with pytest.raises(UserError, match="input, line 131: expected numbers, found 'x'"):
        predict(runs, "forecasting", good * 130 + b"x\n", tmp_path)
    assert len((tmp_path / "out").read_text().splitlines()) >= 60  # what came before was answered


def test_a_table_is_answered_by_a_table(runs: dict[str, Path], tmp_path: Path):
    rows = "".join(f"{np.datetime64('1700-01-02') + 7 * i},{300 + i % 52}\n" for i in range(9000))  # several blocks
    found = predict(runs, "forecasting", b"date,co2\n" + rows.encode(), tmp_path)
    assert found[0] == "date,co2"
    assert [line.split(",")[0] for line in found[1:]] == ["1872-06-29", "1872-07-06", "1872-07-13", "1872-07-20"]
    objects = predict(runs, "forecasting", b"date,co2\n" + rows.encode(), tmp_path, format="jsonl")
    assert [json.loads(line)["output"] for line in objects] == found[1:]
    with pytest.raises(UserError, match="co2 is 'x', which is no number"):
        predict(runs, "forecasting", b"date,co2\n1700-01-02,x\n", tmp_path)
    assert (tmp_path / "out").read_text() == ""


def test_an_output_that_cannot_be_written_is_told(runs: dict[str, Path], tmp_path: Path):
    with pytest.raises(UserError, match="this is the input too"):
        predict(runs, "sentiment", b"good", tmp_path, output=str(tmp_path / "in"))
    assert (tmp_path / "in").read_bytes() == b"good"
    with pytest.raises(UserError, match="the file cannot be written"):
        predict(runs, "sentiment", b"good", tmp_path, output=str(tmp_path / "no" / "out"))


def test_lines_are_answered_as_they_come(monkeypatch: pytest.MonkeyPatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as source:
        monkeypatch.setattr(sys, "stdin", source)
        found = use.blocks("-")
        os.write(writing, b"one\ntwo\nthr")
        assert next(found) == ["one", "two"]
        os.write(writing, b"ee\n\nfo")
        assert next(found) == ["three", ""]
        os.write(writing, b"ur")
        os.close(writing)
        assert list(found) == [["four"]]


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
    found = re.search(r"interrupted at step (\d+); to go on: seqtrain (resume=\S+)$", told, re.MULTILINE)
    assert found, told
    step = int(found[1])
    assert Checkpoints(place).load("last").training["progress"]["step"] == step
    end = f"trainer.max_steps={step + 7}"
    again = subprocess.run(
        [sys.executable, "-m", "seqtrain", found[2], end], capture_output=True, text=True, cwd=tmp_path, env=environment
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
