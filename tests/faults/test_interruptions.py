"""Signals, two runs in one folder, and the newest unfinished run."""

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from harness import MORE, TASKS, Server, differences, serving, words

from seqtrain.commands import train
from seqtrain.contract import Batching
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.machine.signals import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics(), tiny.no_figures():
        yield


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.01)


def test_signals_at_random_moments(server: Server, tmp_path: Path, scale: int) -> None:
    """From the first checkpoint on: the step ends, all is saved, the command that goes on is printed, and it does."""
    chance, ends, tasks = random.Random("signals"), [], [*TASKS, *MORE]
    for i in range((1, 24)[scale]):
        task, number, folder = tasks[i % len(tasks)], SIGNALS[i % len(SIGNALS)], tmp_path / str(i)
        if i < len(tasks):
            code, told = server.run(words(task, tmp_path / task), tmp_path)
            assert code == 0, told
        folder.mkdir()
        process = server.start(words(task, folder / "run"), folder, fresh=i % 8 == 7)
        wait_for((folder / "run" / "checkpoints" / "last").exists)
        time.sleep(chance.uniform(0, 0.5))
        process.kill(number)
        code = process.wait()
        assert code in (128 + number, 0), process.told  # 0: it had ended
        ends.append(code)
        assert "Traceback" not in process.told
        if code:
            assert re.search(
                r"^interrupted at step \d+; to go on: seqtrain resume=run device=cpu device.threads=1$",
                process.told,
                re.M,
            )
            code, told = server.run([f"resume={folder / 'run'}", "device=cpu", "device.threads=1"], folder)
            assert code == 0, told
        assert not differences(folder / "run", tmp_path / task)
    print(f"signals: {len(ends)} sent, {sum(map(bool, ends))} ended a run, which went on to the same bits, 0 lost")


@pytest.mark.parametrize("task", TASKS)
def test_an_evaluation_is_interrupted_at_once_and_done_again(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hard = {
        "model__dropout": 0.3,
        "trainer__average": 2,
        "trainer__ema": 0.9,
        "trainer__max_steps": 5,
        "trainer__eval_every": 2,
    }
    axes = {"data": "places"} if task == "generation" else {}  # a single text is one batch here
    whole = tiny.train(tmp_path / "whole", task, axes, **hard)
    cfg = tiny.start(tmp_path / "cut", task, axes, **hard)
    model = type(tiny.job(cfg)[1].task)
    measure, batches = model.measure, 0

    def spy(*args: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 1:
            torch.rand(3)  # as a model that draws numbers would
            os.kill(os.getpid(), signal.SIGUSR1)
        return measure(*args)

    # batches of one example, so that there is a second one
    monkeypatch.setattr("seqtrain.commands.assembly.EVALUATION", Batching(1, None))
    with monkeypatch.context() as context:
        context.setattr(model, "measure", spy)
        with pytest.raises(Interrupted) as caught:
            train.train(cfg, tmp_path / "cut")
    assert caught.value.code == 128 + signal.SIGUSR1
    assert batches == 1  # the second batch was not begun
    stopped = Checkpoints(tmp_path / "cut").load("last").training["progress"]
    assert (stopped["step"], stopped["curve"]) == (2, [])
    train.train(cfg, tmp_path / "cut", resume=True)
    resumed = tiny.metrics(tmp_path / "cut")
    assert [row["step"] for row in resumed["curve"]] == [2, 4, 5]
    for pointer in ("last", "best"):
        one, other = (Checkpoints(tmp_path / name).load(pointer) for name in ("whole", "cut"))
        assert all(torch.equal(weight, other.weights[name]) for name, weight in one.weights.items())
    assert resumed["monitor"]["value"] == pytest.approx(whole["monitor"]["value"])


def test_a_second_interrupt_stops_at_once_and_tears_nothing(server: Server, tmp_path: Path) -> None:
    process = server.start(words("sentiment", tmp_path / "run", "trainer.max_steps=100000"), tmp_path)
    wait_for((tmp_path / "run" / "checkpoints" / "last").exists)
    process.kill(signal.SIGINT)
    process.kill(signal.SIGINT)
    assert process.wait() == 130, process.told
    Checkpoints(tmp_path / "run").load("last")


def test_a_folder_belongs_to_one_run_at_a_time(server: Server, tmp_path: Path) -> None:
    """The second is refused; when the first was killed, the lock is gone."""
    place = tmp_path / "run"
    process = server.start(words("sentiment", place, "trainer.max_steps=100000"), tmp_path)
    wait_for((place / "checkpoints" / "last").exists)
    code, told = server.run([f"resume={place}"], tmp_path)
    assert (code, told) == (2, f"seqtrain: {place}: another run is writing into this folder; wait for it or stop it\n")
    code, told = server.run(words("sentiment", place), tmp_path)
    assert code == 2
    process.kill(signal.SIGKILL)
    process.wait()
    step = Checkpoints(place).load("last").training["progress"]["step"]
    code, told = server.run([f"resume={place}", f"trainer.max_steps={step + 3}"], tmp_path)
    assert code == 0, told
    assert f"changed: trainer.max_steps from 100000 to {step + 3}" in told


def test_auto_finds_the_newest_unfinished_run_of_the_same_configuration(server: Server, tmp_path: Path) -> None:
    def stopped(name: str, *more: str) -> Path:
        process = server.start(words("sentiment", tmp_path / "runs" / name, *more), tmp_path)
        wait_for((tmp_path / "runs" / name / "checkpoints" / "last").exists)
        process.kill(signal.SIGKILL)
        process.wait()
        return tmp_path / "runs" / name

    older, newer = stopped("a"), stopped("b")
    other = stopped("c", "seed=1")
    again = words("sentiment", tmp_path / "runs" / "d", "resume=auto")
    for expected in (newer, older, tmp_path / "runs" / "d"):
        code, told = server.run(again, tmp_path)
        assert code == 0, told
        assert (expected / "metrics.json").exists()
    assert not (other / "metrics.json").exists()
    assert not differences(newer, older)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("model.hidden_size=16", "model.hidden_size=16: a resumed run keeps its model (model.hidden_size=8)"),
        ("seed=5", "seed=5: a resumed run keeps its seed (seed=0)"),
        ("data.size=25", "data: their content is not what it was when this run began"),
    ],
)
def test_what_a_resumed_run_cannot_change(change: str, told: str, server: Server, tmp_path: Path) -> None:
    process = server.start(words("sentiment", tmp_path / "run", "trainer.max_steps=100000"), tmp_path)
    wait_for((tmp_path / "run" / "checkpoints" / "last").exists)
    process.kill(signal.SIGKILL)
    process.wait()
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    code, found = server.run([f"resume={tmp_path / 'run'}", change], tmp_path)
    assert code == 2
    assert told in found
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before
