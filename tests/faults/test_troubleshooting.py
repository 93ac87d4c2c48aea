"""docs/troubleshooting.md quotes what the faults print: every message of it is provoked here."""

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from seqtrain import checkpoint, cli, disk, folder, replay, run, use
from seqtrain.batch import Batch
from seqtrain.checkpoint import Checkpoints
from seqtrain.config import sources
from seqtrain.record import Recorder
from seqtrain.train import Trainer

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
    run.train(tiny.start(place, "sentiment", **changes), place)


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
    run.check_data(Checkpoints(place).load("last"), "another")


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
        use.load(place)

    return fault


def full(at: int) -> Callable[[Path, Patch], None]:
    """The disk is full from the n-th write of a checkpoint on, for one checkpoint."""

    def fault(place: Path, patch: Patch) -> None:
        count = 0

        def write(file: Path, content: bytes) -> None:
            nonlocal count
            count += file.name == "model.safetensors"
            if count == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
            original(file, content)

        original = disk.write
        patch.setattr(checkpoint, "write", write)
        cli.guard(lambda: train(place, patch, trainer__max_steps=6, trainer__eval_every=3), place)

    return fault


def broken_events(place: Path, patch: Patch) -> None:
    recorder = Recorder(place, 0)
    writer = recorder.writer
    patch.setattr(writer, "add_scalar", lambda *_: 1 / 0)
    recorder.scalars(1, {"loss": 1.0}, "train")
    writer.close()


def bad(factor: Callable[[torch.Tensor], torch.Tensor], **changes: Any) -> Callable[[Path, Patch], None]:
    """What the loss is multiplied with, once, after two steps."""

    def fault(place: Path, patch: Patch) -> None:
        task = type(tiny.job(tiny.config("sentiment"))[1].task)
        loss, count = task.loss, 0

        def spy(*args: Any) -> Any:
            nonlocal count
            count += torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            found = loss(*args)
            return (factor(found[0]), found[1]) if count == 3 else found

        patch.setattr(task, "loss", spy)
        train(place, patch, **changes)

    return fault


def infinite_slope(loss: torch.Tensor) -> torch.Tensor:
    return loss + (loss - loss).sqrt()


def nothing_to_replay(place: Path, patch: Patch) -> None:
    replay.replay(folder.read_config(place), place)


def small_memory(room: int) -> Callable[[Path, Patch], None]:
    def fault(place: Path, patch: Patch) -> None:
        backward = Trainer.backward

        def spy(
            trainer: Trainer, model: Any, task: Any, group: list[Batch], carried: Any, bound: int | None = None
        ) -> Any:
            if bound is None or bound > room:
                raise MemoryError
            return backward(trainer, model, task, group, carried, bound)

        patch.setattr(Trainer, "backward", spy)
        train(place, patch, trainer__max_steps=2)

    return fault


def lose_one(place: Path, patch: Patch) -> None:
    update = Trainer.update

    def spy(trainer: Trainer, job: Any, group: list[Batch]) -> Any:
        job.team.others[0].kill()
        return update(trainer, job, group)

    patch.setattr(Trainer, "update", spy)
    train(place, patch, device__processes=2)


def fitted() -> Any:
    return type(tiny.job(tiny.config("sentiment"))[1].task)


FAULTS: dict[str, tuple[bool, Callable[[Path, Patch], object]]] = {  # whether it befalls a run that is there already
    "interrupted at step": (False, lambda place, patch: stop(place, patch, Trainer, "update")),
    "interrupted before": (False, lambda place, patch: stop(place, patch, fitted(), "fit")),
    "has ended": (False, lose_one),
    "another run is writing": (True, lock_twice),
    "a resumed run keeps its … (": (True, lambda p, _: folder.run_config(p, sources.Configs(), ["seed=5"], "train")),
    "data: their content": (True, other_data),
    "trying the one before": (True, damaged),
    "no whole checkpoint": (True, all_damaged),
    "does not fit this configuration": (True, misfit),
    "a larger model": (True, configured("hidden_size: 8 ", "hidden_size: 900000 ")),
    "names code outside": (True, configured("seqtrain.tasks.sentiment.Sentiment", "mine.Task")),
    "cannot be read": (True, configured("seed: ", "seed: [")),
    "this section is missing": (True, configured("task:", "tusk:")),
    "could not be saved": (False, full(1)),
    "when that is mended": (False, full(2)),
    "the folder cannot be written": (True, lock_nothing),
    "TensorBoard": (True, broken_events),
    "the training loss is": (False, bad(lambda loss: loss * torch.nan)),
    "the gradient is": (False, bad(infinite_slope)),
    "skipped": (False, bad(lambda loss: loss * torch.nan, trainer__skip_bad_steps=1)),
    "nothing to replay": (True, nothing_to_replay),
    "a batch of": (False, small_memory(60)),
    "not even one example": (False, small_memory(1)),
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
