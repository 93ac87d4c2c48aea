"""Folders of strangers: refused with a reason, in a moment, and nothing in them is run, followed or believed."""

import copy
import hashlib
import json
import os
import pickle
import struct
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import tiny
import torch

from seqtrain.codecs import text
from seqtrain.commands.loaded import Loaded, load
from seqtrain.commands.run_folder import read_config
from seqtrain.config import UserError
from seqtrain.engine.checkpoint import DAMAGE, Checkpoint, Checkpoints


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
TARGET = "_target_: seqtrain.tasks.classification.Classification"
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pickle renamed": (lambda run: put(run, MODEL, pickle.dumps(Payload(run / "RUN"))), "no whole checkpoint"),
    "os.system": (lambda run: config(run, TARGET, "_target_: os.system"), "names code outside"),
    "subprocess.run": (lambda run: config(run, TARGET, "_target_: subprocess.run"), "names code outside"),
    "through a module of ours": (
        lambda run: config(run, TARGET, "_target_: seqtrain.tasks.base.np.load"),
        "no option of task",
    ),
    "a function of ours": (lambda run: config(run, TARGET, "_target_: seqtrain.cli.main"), "no option of task"),
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
    "a file that is a hole": (
        lambda run: os.truncate(step(run) / MODEL, 2**42),
        "only a small part of its 4,398,046,511,104 bytes is there",
    ),
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
        "a link; links inside a run folder are not followed",
    ),
    "a folder that is a link out": (
        lambda run: link_out(step(run)),
        "a link; links inside a run folder are not followed",
    ),
    "a link to a device": (
        lambda run: ((step(run) / MODEL).unlink(), (step(run) / MODEL).symlink_to("/dev/zero")),
        "a link; links inside a run folder are not followed",
    ),
    "a configuration that is a link out": (
        lambda run: link_out(run / "config.yaml"),
        "a link; links inside a run folder are not followed",
    ),
    "a pipe": (lambda run: ((step(run) / MODEL).unlink(), os.mkfifo(step(run) / MODEL)), "this is not a regular file"),
    "a pipe as configuration": (
        lambda run: ((run / "config.yaml").unlink(), os.mkfifo(run / "config.yaml")),
        "this is not a regular file",
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
        Loaded(read_config(run), run)
    assert time.process_time() - begin < 2  # of the processor, whatever else the machine does
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not (run / "RUN").exists()


def test_the_same_folder_unspoiled_is_used(trained: Path, tmp_path: Path) -> None:
    copytree(trained, tmp_path / "run")
    assert load(tmp_path / "run").predict(["good"])


def test_damage_covers_what_a_broken_file_raises() -> None:
    assert {OSError, ValueError, RecursionError, MemoryError} <= set(DAMAGE)


# ---------------------------------------------------------------------------------------------------- what it holds

STATES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a schedule's method": lambda t: t["schedule"].update(factor=1.0),
    "a schedule's text": lambda t: t["schedule"].update(level="x"),
    "a step that is no number": lambda t: t["progress"].update(step=float("nan")),
    "a position behind all": lambda t: t["progress"].update(position=1e18),
    "a position far behind": lambda t: t["progress"].update(position=10**18),
    "a curve without steps": lambda t: t["progress"].update(curve=[{}]),
    "a bound of nothing": lambda t: t["progress"].update(bound=0),
    "an unknown field": lambda t: t["progress"].update(fit=1),
    "a list": lambda t: t.update(progress=[]),
    "weights of another shape": lambda t: t["weights"].update({next(iter(t["weights"])): torch.zeros(1)}),
    "weights of another type": lambda t: t.update(weights={n: w.double() for n, w in t["weights"].items()}),
    "no weights": lambda t: t.update(weights={}),
    "an optimizer's larger moments": lambda t: moments(t).update(exp_avg=torch.zeros(2**20)),
    "an optimizer's missing moments": lambda t: moments(t).pop("exp_avg"),
    "an optimizer's text": lambda t: moments(t).update(step="x"),
    "an average of another type": lambda t: t["average"].update(mean=[w.double() for w in t["average"]["mean"]]),
    "an average of another shape": lambda t: t["average"].update(mean=[torch.zeros(1)]),
    "a random state": lambda t: t.update(random=torch.zeros(3, dtype=torch.uint8)),
    "no random state": lambda t: t.pop("random"),
}


def moments(training: dict[str, Any]) -> dict[str, Any]:
    return next(iter(training["optimizer"]["state"].values()))


@pytest.fixture(scope="module")
def resumed() -> tuple[Any, dict[str, Any]]:
    """A job after two steps, and what a checkpoint keeps of it."""
    cfg = tiny.config("sentiment", {"schedule": "plateau"}, trainer__ema=0.9)
    trainer, job, _ = tiny.job(cfg)
    for batch in islice(job.batches(), 2):
        trainer.update(job, [batch])
    return job, job.checkpoint().training


@pytest.mark.parametrize("name", STATES)
def test_a_training_state_is_of_the_kind_that_a_training_leaves(name: str, resumed: tuple[Any, dict[str, Any]]) -> None:
    job, training = resumed
    found = copy.deepcopy(training)
    STATES[name](found)
    with pytest.raises(UserError, match="does not fit this configuration"):
        job.checkpoints.restore(job.restore, Checkpoint({}, found, {}))
    job.checkpoints.restore(job.restore, Checkpoint({}, copy.deepcopy(training), {}))


def test_weights_that_are_no_numbers_are_not_used(tmp_path: Path) -> None:
    """But the older checkpoint is."""
    (tmp_path / "config.yaml").write_text("")
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, value in ((1, 1.0), (2, float("nan"))):
        checkpoints.save(step, Checkpoint({"w": torch.tensor([value])}, {"weights": {}}, {}), best=False)
    assert checkpoints.load("last").weights["w"].item() == 1.0
    checkpoints.remove("step-1")
    with pytest.raises(UserError, match="the weight w is no number"):
        checkpoints.load("last")


TOKENIZERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "normalizers": lambda t: t.update(
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "a" * 999}] * 9}
    ),
    "padding": lambda t: t.update(padding={"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_token": "a"}),
    "an expression": lambda t: t.update(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    ),
    "a mark": lambda t: t["added_tokens"][0].update(content="a"),
    "an id": lambda t: t["model"]["vocab"].update(a=10**9),
    "chance": lambda t: t["model"].update(dropout=0.5),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_is_of_the_form_that_fit_writes(name: str) -> None:
    state = text.fit(["a b a c"] * 9, "bpe", lowercase=False, nfc=False, min_count=1, vocab_size=300).state()
    assert text.load(state).encode("a b")
    model = json.loads(state["model"])
    TOKENIZERS[name](model)
    with pytest.raises(ValueError, match="not as seqtrain makes them"):
        text.load(state | {"model": json.dumps(model)})
