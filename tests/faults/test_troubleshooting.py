"""docs/troubleshooting.md quotes what the faults print: every message of it is provoked here."""

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from seqtrain import cli
from seqtrain.codecs import text
from seqtrain.commands import evaluate, predict, replay, run_folder
from seqtrain.commands import train as command
from seqtrain.commands.loaded import load
from seqtrain.commands.outputs import check_output, check_streams
from seqtrain.config import sources
from seqtrain.config.quoting import resume_command
from seqtrain.contract import Batch
from seqtrain.engine import objective, processes
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.objective import Objective
from seqtrain.engine.recorder import Recorder
from seqtrain.engine.trainer import Trainer
from seqtrain.evaluation import fonts
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.storage import cache, disk
from seqtrain.storage.disk import Folder
from seqtrain.terminal import streams

TEXT = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True, scope="module")
def no_figures():
    with tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trouble") / "run"
    tiny.train(place, "sentiment", trainer__max_steps=2, trainer__eval_every=1)
    return place


def train(place: Path, patch: Patch, **changes: Any) -> None:
    command.train(tiny.start(place, "sentiment", **changes), place)


def stop(place: Path, patch: Patch, method: Any, name: str) -> None:
    original = getattr(method, name)

    def spy(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    patch.setattr(method, name, spy)
    train(place, patch)


def lock_twice(place: Path, patch: Patch) -> None:
    with disk.locked(place), disk.locked(place):
        pass


def lock_nothing(place: Path, patch: Patch) -> None:
    with disk.locked(place / "nowhere"):
        pass


def other_data(place: Path, patch: Patch) -> None:
    command.check_data(Checkpoints(place).load("last"), "another")


def spoil(place: Path, *steps: str) -> None:
    for step in steps:
        (place / "checkpoints" / step / "task.json").write_bytes(b"{")


def damaged(place: Path, patch: Patch) -> None:
    spoil(place, "step-2")
    Checkpoints(place).load("last")


def all_damaged(place: Path, patch: Patch) -> None:
    spoil(place, "step-1", "step-2")
    Checkpoints(place).load("last")


def misfit(place: Path, patch: Patch) -> None:
    Checkpoints(place).restore(lambda kept: kept["nothing"], {})


def configured(old: str, new: str) -> Callable[[Path, Patch], None]:
    def fault(place: Path, patch: Patch) -> None:
        text = (place / "config.yaml").read_text()
        assert old in text
        (place / "config.yaml").write_text(text.replace(old, new))
        load(place)

    return fault


def full(at: int) -> Callable[[Path, Patch], None]:
    """The disk is full from the n-th write of a checkpoint on, for one checkpoint."""

    def fault(place: Path, patch: Patch) -> None:
        count = 0

        def write(files: Folder, name: str, content: bytes) -> None:
            nonlocal count
            count += name.endswith("model.safetensors")
            if count == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(files.path / name))
            original(files, name, content)

        original = Folder.write
        patch.setattr(Folder, "write", write)
        again = resume_command(
            place, {"name": "auto", "threads": None, "processes": 1, "shard": False, "gradients": "float32"}
        )
        cli.exit_code(lambda: train(place, patch, trainer__max_steps=6, trainer__eval_every=3), again)

    return fault


def damaged_cache(place: Path, patch: Patch) -> None:
    patch.setenv("SEQTRAIN_CACHE", str(place))
    for _ in range(2):
        (cache.prepared("key", lambda folder: None) / "more").touch()


def cache_of_another(place: Path, patch: Patch) -> None:
    patch.setenv("SEQTRAIN_CACHE", str(place))
    patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    cache.prepared("key", lambda folder: None)


def broken_events(place: Path, patch: Patch) -> None:
    recorder = Recorder(place, 0)
    writer = recorder.writer
    patch.setattr(writer, "add_scalar", lambda *_: 1 / 0)
    recorder.scalars(1, {"loss": 1.0}, "train")
    writer.close()


def no_font(place: Path, patch: Patch) -> None:
    patch.setattr(fonts, "logged", set())
    fonts.log_missing(["\u0915"])


def bad(factor: Callable[[torch.Tensor], torch.Tensor], **changes: Any) -> Callable[[Path, Patch], None]:
    """What the loss is multiplied with, once, after two steps."""

    def fault(place: Path, patch: Patch) -> None:
        loss, count = Categorical.loss, 0

        def spy(*args: Any) -> Any:
            nonlocal count
            count += torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            return factor(loss(*args)) if count == 3 else loss(*args)

        patch.setattr(Categorical, "loss", spy)
        train(place, patch, **changes)

    return fault


def infinite_slope(loss: torch.Tensor) -> torch.Tensor:
    return loss + (loss - loss).sqrt()


def linked(place: Path) -> None:
    shutil.move(place / "config.yaml", place.parent)
    (place / "config.yaml").symlink_to(place.parent / "config.yaml")
    load(place)


def pipe(place: Path) -> None:
    (place / "train.log").unlink(missing_ok=True)
    os.mkfifo(place / "train.log")
    with disk.locked(place):
        pass


def nothing_to_replay(place: Path, patch: Patch) -> None:
    replay.replay(run_folder.read_config(place), place)


def small_memory(room: int) -> Callable[[Path, Patch], None]:
    def fault(place: Path, patch: Patch) -> None:
        backward = objective.backward

        def spy(of: Objective, group: list[Batch], carried: Any, bound: int | None = None) -> Any:
            if bound is None or bound > room:
                raise MemoryError
            return backward(of, group, carried, bound)

        patch.setattr(objective, "backward", spy)
        train(place, patch, trainer__max_steps=2)

    return fault


def lose_one(place: Path, patch: Patch) -> None:
    processes.launch(2, partial(os._exit, 1), "seqtrain resume=RUN")


def unwritable_output(place: Path, patch: Patch) -> None:
    with open(os.open(os.devnull, os.O_RDONLY), "w") as read_only, redirect_stdout(read_only):
        cli.main(["--version"])


def closed(number: int) -> Callable[[Path, Patch], None]:
    def fault(place: Path, patch: Patch) -> None:
        patch.setattr(streams, "closed", {number})
        check_streams({"input": "-", "output": None})

    return fault


def answered(content: str, name: str = "in", **how: Any) -> Callable[[Path, Patch], None]:
    def fault(place: Path, patch: Patch) -> None:
        (place / name).write_text(content)
        predict.predict(run_folder.read_config(place) | {"input": str(place / name)} | how, place)

    return fault


def evaluated_elsewhere(place: Path, patch: Patch) -> None:
    cfg = run_folder.read_config(place)
    evaluate.evaluate(cfg | {"data": cfg["data"] | {"test_size": 9}}, place)


def fitted() -> Any:
    return type(tiny.job(tiny.config("sentiment"))[1].task)


FAULTS: dict[str, tuple[bool, Callable[[Path, Patch], object]]] = {  # whether it befalls a run that is there already
    "interrupted at step": (False, lambda place, patch: stop(place, patch, Trainer, "update")),
    "interrupted before": (False, lambda place, patch: stop(place, patch, fitted(), "fit")),
    "has ended": (False, lose_one),
    "another run is writing": (True, lock_twice),
    "a resumed run keeps its … (": (
        True,
        lambda p, _: run_folder.run_config(p, sources.Configs(), ["seed=5"], "train"),
    ),
    "is not what it was when": (True, other_data),
    "trying the one before": (True, damaged),
    "no whole checkpoint": (True, all_damaged),
    "does not fit this configuration": (True, misfit),
    "a larger model": (True, configured("hidden_size: 8 ", "hidden_size: 900000 ")),
    "names code outside": (True, configured("seqtrain.tasks.classification.Classification", "mine.Task")),
    "cannot be read": (True, configured("seed: ", "seed: [")),
    "a link; links inside": (True, lambda place, patch: linked(place)),
    "not a regular file": (True, lambda place, patch: pipe(place)),
    "is of this class": (True, configured("seqtrain.tasks.classification.Classification", "seqtrain.cli.main")),
    "is missing; is the file cut off?": (True, configured("task:", "tusk:")),
    "could not be saved": (False, full(1)),
    "when that is mended": (False, full(2)),
    "the folder cannot be written": (True, lock_nothing),
    "it is made again": (False, damaged_cache),
    "only this user can open": (False, cache_of_another),
    "TensorBoard": (True, broken_events),
    "no font here": (True, no_font),
    "cannot be drawn": (True, lambda place, patch: Recorder(place, 0).draw("attention", 1)),
    "the training loss is": (False, bad(lambda loss: loss * torch.nan)),
    "the gradient is": (False, bad(infinite_slope)),
    "has diverged": (False, bad(lambda loss: loss * 1e7)),
    "the model is not better": (False, lambda place, patch: train(place, patch, optimizer__lr=1e-9)),
    "train it again": (False, lambda place, patch: text.load({"unit": "word", "lowercase": False, "items": []})),
    "skipped": (False, bad(lambda loss: loss * torch.nan, trainer__skip_bad_steps=1)),
    "nothing to replay": (True, nothing_to_replay),
    "a batch of": (False, small_memory(60)),
    "not even one example": (False, small_memory(1)),
    "empty": (False, lambda place, patch: cli.main(["resume="])),
    "standard output: ": (False, unwritable_output),
    "standard input is closed": (False, closed(0)),
    "standard output is closed": (False, closed(1)),
    "overwrite=true": (
        True,
        lambda p, _: check_output({"input": None, "output": f"{p}/config.yaml", "overwrite": False}),
    ),
    "has no such column": (True, answered("id,txt\n1,a\n", "in.csv", column="text")),
    "looks like a table's": (True, answered("id,text\n1,a\n")),
    "are read (task": (True, answered("word " * 401)),
    "are its line ends lost": (True, answered("x" * 1_000_001)),
    "trained and scored on": (True, evaluated_elsewhere),
}


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_what_its_fault_prints(
    quoted: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: Patch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (name,) = [name for name in FAULTS if name in quoted]
    there, fault = FAULTS[name]
    place = tmp_path / "run"
    if there:
        shutil.copytree(trained, place)
    told = []
    try:
        fault(place, monkeypatch)
    except (Exception, SystemExit) as error:
        told = str(error).splitlines()
    told += [record.getMessage() for record in caplog.records] + capfd.readouterr().err.splitlines()
    pattern = "".join(".+" if part == "…" else re.escape(part) for part in re.split("(…)", quoted))
    assert [line for line in told if re.fullmatch(f"(seqtrain: )?{pattern}", line)], told


def test_every_fault_is_in_the_page() -> None:
    assert len(QUOTED) == len(FAULTS)
