"""Several processes that share out the weights train what one would have trained."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import tiny
import torch
from processes import LONG, TORCHRUN, command, family, told, wait_for
from test_processes import last, run, start

from seqtrain import cli
from seqtrain.commands import train
from seqtrain.commands.assembly import Assembly
from seqtrain.config import UserError
from seqtrain.engine import memory, objective, sharding
from seqtrain.engine.checkpoint import pack
from seqtrain.models.base import Model

SHARD = {"device__shard": True, "trainer__precision": "float32"}


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    with tiny.no_figures():
        yield


def model(task: str, axes: Any = None, **changes: Any) -> Model:
    made: Any = tiny.job(tiny.config(task, axes, **changes))[1].model
    return made


def names_of_units(model: Model) -> set[str]:
    units = sharding.units(model)
    return {name for name, module in model.named_modules() if module in units}


# ---------------------------------------------------------------------------------------------------- what is a unit


def test_layers_and_large_tables_are_units_but_not_what_is_tied(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = {"encoder.backbone.ahead.0", "encoder.backbone.back.0", "lower.ahead.0"}
    assert names_of_units(model("translation", model__num_layers=1)) == layers
    monkeypatch.setattr(sharding, "LARGE", 100)
    tied = names_of_units(model("translation", model__num_layers=1, model__tie_embeddings=True))
    assert layers <= tied
    assert not tied & {"embedding.map", "output.scores"}
    apart = names_of_units(model("translation", model__num_layers=1, model__tie_embeddings=False))
    assert apart >= {*layers, "embedding.map", "output.scores", "encoder.embedding.map"}


@pytest.mark.parametrize("key", ["input_feeding", "coverage", "teacher_forcing"])
def test_a_decoder_that_walks_step_by_step_has_no_units(key: str) -> None:
    change = {"model__" + key: {"input_feeding": True, "coverage": 1.0, "teacher_forcing": 0.5}[key]}
    assert not [name for name in names_of_units(model("translation", **change)) if not name.startswith("encoder.")]


# ---------------------------------------------------------------------------------------------------- the same training


def test_a_run_goes_on_whether_sharded_or_not_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Of three processes the last batch of an epoch has rows for two; some weights are frozen, others averaged."""
    how = {"trainer__accumulate": 2, "trainer__ema": 0.9, "trainer__average": 2, "trainer__clip": 0.5}
    how |= {"trainer__freeze": ["encoder.embedding"], "trainer__eval_every": 4, "data__size": 22}
    axes = {"schedule": "constant", "backbone": "transformer"}
    whole = start(tmp_path / "whole", "translation", axes, **SHARD | how, trainer__max_steps=10)
    train.train(whole | {"device": whole["device"] | {"shard": False}}, tmp_path / "whole")
    cfg = start(tmp_path / "cut", "translation", axes, **SHARD | how)
    for steps, size in ((4, 3), (7, 1), (10, 2)):
        cfg["trainer"]["max_steps"], cfg["device"]["shard"] = steps, size > 1
        run(cfg, tmp_path / "cut", size, resume=steps > 4) if size > 1 else train.train(cfg, tmp_path / "cut", True)
    one, other = last(tmp_path / "whole"), last(tmp_path / "cut")
    same_weights(tmp_path / "cut", tmp_path / "whole")
    for part in ("weights", "optimizer", "average"):
        (form, tensors), (same, others) = pack(one.training[part]), pack(other.training[part])
        assert form == same
        torch.testing.assert_close(others, tensors, rtol=1e-4, atol=1e-5)
    curves = [found.training["progress"]["curve"] for found in (one, other)]
    losses = [[(row["train_loss"], row["loss"]) for row in curve if row["step"] % 4 == 0] for curve in curves]
    assert losses[0][:1] == [pytest.approx(losses[1][0], abs=1e-5)]


def test_a_batch_that_does_not_fit_ends_the_run_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "backward", Mock(side_effect=MemoryError))
    _, job, _ = tiny.job(tiny.config("sentiment"))
    job.objective = Mock(spec=sharding.Sharded)
    with pytest.raises(
        UserError, match=r"^step 1: a batch does not fit in memory, and device\.shard=true cannot cut it"
    ):
        memory.gradients(job, [job.train.example()])


def test_one_process_has_nobody_to_share_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*LONG, "device.shard=true", f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert "device.shard=true shares out the weights among processes, and there is one" in capsys.readouterr().err


def test_an_optimizer_of_whole_weights_is_refused_before_data_are_read() -> None:
    cfg = tiny.config("sentiment", {"data": "labelled"}, **SHARD, data__train="nowhere.csv")
    cfg["optimizer"] = {"_target_": "torch.optim.Adafactor", "lr": 0.1}
    with pytest.raises(UserError, match=r"^optimizer=Adafactor does not go with device\.shard=true"):
        Assembly(cfg).check()


# ---------------------------------------------------------------------------------------------------- torchrun


def same_weights(place: Path, wanted: Path) -> None:
    for name, weight in last(wanted).weights.items():
        torch.testing.assert_close(last(place).weights[name], weight, rtol=1e-5, atol=1e-5, msg=name)


def test_what_torchrun_starts_anew_goes_on_sharded(tmp_path: Path) -> None:
    """One of two processes is killed in the middle; the weights are those of one process that nothing happens to."""
    how = {"trainer__precision": "float32", "trainer__max_steps": 60, "trainer__eval_every": 60}
    for name in ("one", "two"):
        cfg = start(tmp_path / name, "sentiment", **how, trainer__save_every=5)
    train.train(cfg, tmp_path / "one")
    anew = (*TORCHRUN[:3], "--max-restarts=1", *TORCHRUN[3:])
    with command(["resume=two", "device.shard=true"], tmp_path, anew) as process:
        wait_for((tmp_path / "two" / "checkpoints" / "last").exists)
        os.kill(family()[-1], 9)
        assert process.wait(120) == 0, told(tmp_path)
    assert "going on at step" in (tmp_path / "two" / "train.log").read_text()
    same_weights(tmp_path / "two", tmp_path / "one")


def test_two_machines_train_what_one_process_does(tmp_path: Path) -> None:
    """Two commands of torchrun, one process each, that meet at a port; the second one's weights are never written."""
    for name in ("one", "two"):
        cfg = start(tmp_path / name, "sentiment", trainer__precision="float32")
    train.train(cfg, tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = ("--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--nproc-per-node=1")
    machine = (*TORCHRUN[:3], *meet, *TORCHRUN[4:])
    (tmp_path / "other").mkdir()
    with (
        command([f"resume={tmp_path / 'two'}", "device.shard=true"], tmp_path, machine) as first,
        command([f"resume={tmp_path / 'two'}", "device.shard=true"], tmp_path / "other", machine) as second,
    ):
        assert first.wait(60) == second.wait(60) == 0, told(tmp_path)
    assert len(last(tmp_path / "two").training["others"]) == 1
    same_weights(tmp_path / "two", tmp_path / "one")
