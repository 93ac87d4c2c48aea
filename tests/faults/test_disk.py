"""A disk that is full or read-only costs a checkpoint, never the ones before it, and TensorBoard costs nothing."""

import errno
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from harness import Server, differences, scalars, serving, words

from seqtrain.commands import train
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.recorder import Recorder
from seqtrain.storage import cache
from seqtrain.storage.disk import Folder


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "volume"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_at_each_write(
    tmp_path: Path, scale: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second save fails at its n-th write, for every n; training goes on, and the third is whole."""
    write = Folder.write
    with tiny.no_figures():
        for n in (range(3, 9, 4), range(1, 9))[scale]:
            cfg = tiny.start(tmp_path / str(n), "sentiment", trainer__max_steps=6, trainer__eval_every=2)
            step, count = "", 0

            def failing(files: Folder, name: str, content: bytes, n: int = n) -> None:
                nonlocal step, count
                if found := re.match(r"checkpoints/\.(step-\d+)/", name):
                    step = found[1]
                if step == "step-4" and name.startswith("checkpoints/"):
                    count += 1
                    if count == n:
                        (files.path / name).write_bytes(content[: len(content) // 2])
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(files.path / name))
                write(files, name, content)

            with monkeypatch.context() as context:
                context.setattr(Folder, "write", failing)
                caplog.clear()
                train.train(cfg, tmp_path / str(n))
            told = [record.message for record in caplog.records if record.levelname == "ERROR"]
            assert len(told) == (n <= count)
            assert n == 8 or told  # the eighth file is that which names the best weights, where they are new
            for line in told:
                assert line.startswith("step 4: the checkpoint could not be saved (")
                assert "No space left on device" in line
            found = Checkpoints(tmp_path / str(n))
            assert found.load("last").training["progress"]["step"] == 6
            assert {found.named("best"), found.named("last")} <= set(found.steps())


def test_a_full_disk(server: Server, volume: Path, tmp_path: Path) -> None:
    """Something else fills the disk while a run saves; the run goes on, says so, and can be resumed."""
    long = "trainer.max_steps=60"  # the disk is full long before the end
    code, told = server.run(words("sentiment", tmp_path / "whole", long), tmp_path)
    assert code == 0, told
    place = volume / "run"
    process = server.start(words("sentiment", place, long), tmp_path)
    while not (place / "checkpoints" / "last").exists():
        pass
    with (volume / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            pass
    code = process.wait()
    assert code == 1, process.told  # the last save failed, too
    assert "No space left on device" in process.told
    assert "the checkpoint could not be saved" in process.told
    assert f"when that is mended: seqtrain resume={place}" in process.told
    assert "seqtrain" in process.told
    Checkpoints(place).load("last")
    (volume / "ballast").unlink()
    code, told = server.run([f"resume={place}"], tmp_path)
    assert code == 0, told
    assert not differences(place, tmp_path / "whole")


def test_a_read_only_disk(server: Server, volume: Path, tmp_path: Path) -> None:
    place = volume / "run"
    code, told = server.run(words("sentiment", place), tmp_path)
    assert code == 0, told
    subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
    code, told = server.run([f"resume={place}"], tmp_path)
    assert (code, told) == (2, f"seqtrain: {place}: the folder cannot be written (Read-only file system)\n")
    code, told = server.run(words("sentiment", volume / "other"), tmp_path)
    assert code == 2
    assert "the folder cannot be created (Read-only file system)" in told
    (tmp_path / "in.txt").write_text("good\n")
    code, told = server.run(["mode=predict", f"checkpoint={place}", "input=in.txt"], tmp_path)
    assert code == 0, told


def test_tensorboard_never_ends_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    recorder = Recorder(tmp_path, 0)
    broken = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_: object) -> None:
        raise broken

    monkeypatch.setattr(recorder.writer, "add_scalar", fail)
    writer = recorder.writer
    for step in range(3):
        recorder.scalars(step, {"loss": 1.0}, "train")
    recorder.flush()
    recorder.close()
    writer.close()
    (record,) = caplog.records
    assert "TensorBoard cannot record any more" in record.message


def test_a_run_folder_that_is_renamed_keeps_its_events(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "run").mkdir()
    before = threading.active_count()
    recorder = Recorder(tmp_path / "run", 0)
    recorder.scalars(1, {"loss": 1.0}, "train")
    recorder.flush()
    assert threading.active_count() == before  # a thread of TensorBoard's would print its traceback
    (tmp_path / "run").rename(tmp_path / "renamed")
    recorder.scalars(2, {"loss": 1.0}, "train")
    recorder.close()
    assert not caplog.records
    assert scalars(tmp_path / "renamed") == {"train/loss": [1, 2]}


def test_what_a_killed_preparation_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path))
    left = tmp_path / "prepared" / ".making-left" / "made"
    left.mkdir(parents=True)
    (left / "values").write_bytes(b"half")
    found = []

    def make(folder: Path) -> None:
        found.extend(folder.parent.parent.glob(".making-*"))
        if folder.name == "made":
            (folder / "report.json").write_text(json.dumps(1))
            cache.prepared("another, at the same time", lambda other: None)  # leaves what is being made alone

    assert (cache.prepared("key", make) / "report.json").exists()
    assert left.parent not in found
    assert len(found) == 1
    assert not list((tmp_path / "prepared").glob(".making-*"))
