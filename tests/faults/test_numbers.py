"""Numbers that go wrong: the step and the layer that are named are right, and the replay reproduces them."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from seqtrain.commands import replay, train
from seqtrain.config import UserError
from seqtrain.engine import objective
from seqtrain.engine.checkpoint import Checkpoints, random_state
from seqtrain.engine.objective import Objective
from seqtrain.engine.trainer import Diverged, Trainer

STEP = 4
NAN = float("nan")


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics(), tiny.no_figures():
        yield


class Spoil(torch.autograd.Function):
    """Passes values on; the gradient becomes NaN."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * NAN


def spoil(monkeypatch: pytest.MonkeyPatch, where: str, step: int) -> None:
    """From the given call of `backward` on, counted from 1, one layer goes wrong: its output, or only its gradient."""
    kind, _, name = where.partition(" ")
    backward, count = objective.backward, 0

    def spy(spoiled: Objective, *rest: Any) -> Any:
        nonlocal count
        count += 1
        if count != step:
            return backward(spoiled, *rest)
        if kind == "loss":
            with monkeypatch.context() as context:
                likelihood = type(spoiled.likelihood)
                loss = likelihood.loss
                context.setattr(likelihood, "loss", lambda *a: loss(*a) * NAN)
                return backward(spoiled, *rest)
        change = Spoil.apply if kind == "gradient" else lambda x: x * NAN
        layer = spoiled.model.get_submodule(name)
        forward = layer.forward
        layer.forward = lambda *a, **k: change_first(forward(*a, **k), change)
        try:
            return backward(spoiled, *rest)
        finally:
            layer.forward = forward

    monkeypatch.setattr(objective, "backward", spy)


def change_first(output: Any, change: Any) -> Any:
    if isinstance(output, tuple):
        return (change(output[0]), *output[1:])
    return change(output)


LAYERS = {
    "sentiment": ("encoder.embedding", "encoder.backbone.ahead.0"),
    "translation": ("encoder.embedding", "output"),
    "generation": ("embedding", "output"),
    "forecasting": ("output",),
}
WHERE = [
    (task, f"{kind} {layer}") for task, layers in LAYERS.items() for layer in layers for kind in ("output", "gradient")
]


def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, where: str) -> tuple[dict[str, Any], str]:
    """The configuration of a run that was spoiled at STEP, and how it ended."""
    cfg = tiny.start(tmp_path / "run", task, model__dropout=0.3)
    with monkeypatch.context() as context:
        spoil(context, where, STEP)
        with pytest.raises(Diverged) as caught:
            train.train(cfg, tmp_path / "run")
    return cfg, str(caught.value)


@pytest.mark.parametrize(("task", "where"), [*WHERE, *((task, "loss") for task in LAYERS)])
def test_the_step_and_the_layer_are_named(
    task: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, told = stopped(tmp_path, monkeypatch, task, where)
    kind, _, layer = where.partition(" ")
    what = "the gradient" if kind == "gradient" else "the training loss"
    assert told.startswith(
        f"{what} is nan at step {STEP}: a lower optimizer.lr may help; to see where: seqtrain mode=replay"
    )
    assert told.endswith(f"checkpoint={tmp_path / 'run'}")
    capsys.readouterr()
    with monkeypatch.context() as context:
        spoil(context, where, 1)
        replay.replay(cfg, tmp_path / "run")
    found = capsys.readouterr().out
    assert found.startswith(f"step {STEP}: the loss is ")
    named = "of scores that are numbers all" if kind == "loss" else f"{layer} ("
    assert named in found
    assert found.count(" (") == (kind != "loss")

    replay.replay(cfg, tmp_path / "run")
    assert "it did not happen again" in capsys.readouterr().out


def test_the_batch_and_the_generators_are_those_of_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replayed step, not spoiled, has the loss that the step has in a run that is not spoiled."""
    seen: list[Any] = []
    backward = objective.backward

    def note(*args: Any) -> Any:
        random, found = random_state(torch.device("cpu"))["random"], backward(*args)
        seen.append((random, *found[:2]))
        return found

    cfg, _ = stopped(tmp_path, monkeypatch, "sentiment", "loss")
    monkeypatch.setattr(objective, "backward", note)
    tiny.train(tmp_path / "whole", "sentiment", model__dropout=0.3)
    whole = seen[STEP - 1]
    seen.clear()
    replay.replay(cfg, tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(whole, seen[0], strict=True))


def test_the_data_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer.update

    def spy(trainer: Trainer, job: Any, group: Any) -> Any:
        if job.progress.step + 1 == STEP:
            group[0].source[1, 2] = torch.inf
        return update(trainer, job, group)

    cfg = tiny.start(tmp_path / "run", "forecasting")
    monkeypatch.setattr(Trainer, "update", spy)
    with pytest.raises(Diverged, match=f"at step {STEP}"):
        train.train(cfg, tmp_path / "run")
    replay.replay(cfg, tmp_path / "run")
    assert f"step {STEP}: the data: source of the batch hold" in capsys.readouterr().out


def test_weights_that_were_no_numbers_before_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer.update

    def spy(trainer: Trainer, job: Any, group: Any) -> Any:
        if job.progress.step + 1 == STEP:
            with torch.no_grad():
                dict(job.model.named_parameters())["encoder.embedding.map.weight"][:] = NAN
        return update(trainer, job, group)

    cfg = tiny.start(tmp_path / "run", "sentiment")
    monkeypatch.setattr(Trainer, "update", spy)
    with pytest.raises(Diverged):
        train.train(cfg, tmp_path / "run")
    replay.replay(cfg, tmp_path / "run")
    assert "the weight encoder.embedding.map.weight is no number already" in capsys.readouterr().out


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_bad_steps_are_skipped_so_often_and_no_more(
    allowed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny.start(tmp_path / "run", "sentiment", trainer__skip_bad_steps=allowed, trainer__max_steps=6)
    for step in (2, 4):
        spoil(monkeypatch, "loss", step)
    if allowed < 2:
        with pytest.raises(Diverged, match=f"at step {2 if allowed == 0 else 4}"):
            train.train(cfg, tmp_path / "run")
        return
    train.train(cfg, tmp_path / "run")
    progress = Checkpoints(tmp_path / "run").load("last").training["progress"]
    assert (progress["step"], progress["skipped"]) == (6, 2)


def test_a_skipped_step_leaves_the_weights_as_they_were(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainer, job, _ = tiny.job(tiny.start(tmp_path / "run", "generation", trainer__skip_bad_steps=1), tmp_path / "run")
    batches = list(job.train.epoch())[:2]
    trainer.update(job, batches[:1])
    before, carried = {n: p.clone() for n, p in job.model.state_dict().items()}, job.carried
    spoil(monkeypatch, "gradient output", 1)
    loss, count = trainer.update(job, batches[1:])
    assert (float(loss), float(count)) == (0, 0)
    assert job.carried is carried
    assert all(torch.equal(weight, before[name]) for name, weight in job.model.state_dict().items())
    assert all(p.grad is None for p in job.model.parameters())


def test_a_run_without_a_bad_step_has_nothing_to_replay(tmp_path: Path) -> None:
    cfg = tiny.start(tmp_path / "run", "sentiment")
    with pytest.raises(UserError, match="there is nothing to replay"):
        replay.replay(cfg, tmp_path / "run")


@pytest.mark.parametrize("task", tiny.TASKS)
def test_no_sound_layer_is_ever_blamed(task: str) -> None:
    """Hooks that took a masked score for a fault would name the wrong layer."""
    _, job, _ = tiny.job(tiny.config(task))
    with replay.Watch(job.model) as watch:
        objective.backward(job.objective, list(job.train.epoch())[:1], None)
    assert watch.calls
    assert watch.forward() is None
    assert watch.backward() is None
