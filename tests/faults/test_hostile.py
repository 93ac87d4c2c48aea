"""Folders of strangers: refused with a reason, in a moment, and nothing in them is run, followed or believed."""

import hashlib
import json
import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
import tiny

from seqtrain import use
from seqtrain.checkpoint import DAMAGE
from seqtrain.config import UserError
from seqtrain.folder import read_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hostile") / "run"
    with tiny.no_figures():
        tiny.train(place, "sentiment", trainer__max_steps=1, trainer__eval_every=1)
    return place


def step(run: Path) -> Path:
    return run / "checkpoints" / "step-1"


def sign(run: Path) -> None:
    """What a stranger can do, too: checksums that are right."""
    record = json.loads((step(run) / "checksums.json").read_bytes())
    for name in record["sha256"]:
        if (step(run) / name).is_file():
            record["sha256"][name] = hashlib.sha256((step(run) / name).read_bytes()).hexdigest()
    (step(run) / "checksums.json").write_text(json.dumps(record))


def put(run: Path, name: str, content: bytes) -> None:
    (step(run) / name).unlink()
    (step(run) / name).write_bytes(content)
    sign(run)


def config(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new))


def link_out(path: Path) -> None:
    run = next(parent for parent in path.parents if parent.name == "run")
    path.symlink_to(path.rename(run.parent / "out"))


class Payload:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


def header(claim: int, text: bytes = b"{}") -> bytes:
    return struct.pack("<Q", claim) + text


MODEL = "model.safetensors"
TERABYTES = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
TARGET = "_target_: seqtrain.tasks.sentiment.Sentiment"
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pickle renamed": (lambda run: put(run, MODEL, pickle.dumps(Payload(run / "RUN"))), "no whole checkpoint"),
    "os.system": (lambda run: config(run, TARGET, "_target_: os.system"), "names code outside"),
    "subprocess.run": (lambda run: config(run, TARGET, "_target_: subprocess.run"), "names code outside"),
    "through a module of ours": (lambda run: config(run, TARGET, "_target_: seqtrain.tasks.base.np.load"), "cannot be"),
    "a function of ours": (lambda run: config(run, TARGET, "_target_: seqtrain.cli.main"), "names code outside"),
    "behind an alias": (
        lambda run: config(run, TARGET, "_target_: &run os.system\n  monitored: *run"),
        "has an alias, *run",
    ),
    "a list as a target": (lambda run: config(run, TARGET, "_target_: [os.system]"), "_target_"),
    "an interpolation": (lambda run: config(run, TARGET, "_target_: ${oc.env:PATH}"), "names code outside"),
    "a YAML bomb": (
        lambda run: (run / "config.yaml").write_text(
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        ),
        "has an alias",
    ),
    "YAML, deeply nested": (lambda run: (run / "config.yaml").write_text("a: " + "[" * 100_000), "nested more than 20"),
    "a huge configuration": (lambda run: (run / "config.yaml").write_text("a: 1\n" * 10**6), "expected at most"),
    "JSON, deeply nested": (lambda run: put(run, "task.json", b"[" * 10**6), "no whole checkpoint"),
    "training state, deeply nested": (
        lambda run: put(run, "training.json", b'{"tuple": [' * 10**5 + b"]}" * 10**5),
        "no whole checkpoint",
    ),
    "a header that claims terabytes": (lambda run: put(run, MODEL, header(2**42)), "no whole checkpoint"),
    "a tensor that claims terabytes": (
        lambda run: put(run, MODEL, header(len(TERABYTES), TERABYTES)),
        "no whole checkpoint",
    ),
    "a file that is a hole": (lambda run: os.truncate(step(run) / MODEL, 2**42), "hardly any are there"),
    "a model that claims terabytes": (
        lambda run: config(run, "hidden_size: 8 ", "hidden_size: 900000 "),
        "larger model than there are weights",
    ),
    "layers without end": (
        lambda run: config(run, "num_layers: 1 ", "num_layers: 99999999 "),
        "larger model than there are weights",
    ),
    "a link out": (
        lambda run: link_out(step(run) / MODEL),
        "is a link out of the folder",
    ),
    "a folder that is a link out": (
        lambda run: link_out(step(run)),
        "is a link out of the folder",
    ),
    "a link to a device": (
        lambda run: ((step(run) / MODEL).unlink(), (step(run) / MODEL).symlink_to("/dev/zero")),
        "is a link out of the folder",
    ),
    "a configuration that is a link out": (
        lambda run: link_out(run / "config.yaml"),
        "is a link out of the folder",
    ),
    "a pipe": (lambda run: ((step(run) / MODEL).unlink(), os.mkfifo(step(run) / MODEL)), "is no regular file"),
    "a pipe as configuration": (
        lambda run: ((run / "config.yaml").unlink(), os.mkfifo(run / "config.yaml")),
        "is no regular file",
    ),
    "a pipe as pointer": (
        lambda run: (
            [(run / "checkpoints" / p).unlink() or os.mkfifo(run / "checkpoints" / p) for p in ("best", "last")]
            and os.truncate(step(run) / MODEL, 3)
        ),
        "no whole checkpoint",
    ),
    "a pointer out": (
        lambda run: (
            (run / "checkpoints" / "best").write_text("../../../etc\n"),
            step(run).rename(run / "checkpoints" / "x"),
        ),
        "no whole checkpoint",
    ),
    "another task's state": (lambda run: put(run, "task.json", b'{"labels": 3}'), "does not fit this configuration"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused(name: str, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    copytree(trained, run)
    spoil, reason = HOSTILE[name]
    spoil(run)
    begin = time.process_time()
    with pytest.raises(UserError) as caught:
        use.Loaded(read_config(run), run)
    assert time.process_time() - begin < 2  # of the processor, whatever else the machine does
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not (run / "RUN").exists()


def test_the_same_folder_unspoiled_is_used(trained: Path, tmp_path: Path) -> None:
    copytree(trained, tmp_path / "run")
    assert use.load(tmp_path / "run").predict(["good"])


def test_damage_covers_what_a_broken_file_raises() -> None:
    assert {OSError, ValueError, RecursionError, MemoryError} <= set(DAMAGE)
