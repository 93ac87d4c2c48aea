import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import small
import tiny
import torch
from torch.nn import functional as F

from seqtrain.codecs.stream import Window
from seqtrain.commands import train
from seqtrain.config import UserError
from seqtrain.contract import Batching, Examples
from seqtrain.engine.average import Average
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.evaluate import evaluate
from seqtrain.engine.job import Job, Progress
from seqtrain.engine.loader import Loader
from seqtrain.engine.recorder import digits
from seqtrain.engine.trainer import Diverged, Trainer
from seqtrain.likelihoods import categorical
from seqtrain.likelihoods.point import Point
from seqtrain.machine import linear, processor
from seqtrain.machine.cross_entropy import CrossEntropy, cross_entropy
from seqtrain.machine.kernels import Kernels
from seqtrain.machine.signals import Interruption
from seqtrain.tasks.base import Task
from seqtrain.trees import map_tensors

SGD = {"optimizer": "sgd", "schedule": "constant"}


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics(), tiny.no_figures():
        yield


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# ---------------------------------------------------------------------------------------------------- an update


def cut(rows: Any, parts: int) -> list[Any]:
    """The rows of a batch as several batches, of different sizes."""
    size = len(rows.starts if isinstance(rows, Window) else rows)
    places = [0, *np.linspace(1, size, parts).astype(int)]
    slices = [slice(a, b) for a, b in pairwise(places)]
    if isinstance(rows, Window):
        return [Window(rows.starts[s], rows.ends[s], rows.continues) for s in slices]
    return [rows[s] for s in slices]


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("task", tiny.TASKS)
def test_an_update_does_not_depend_on_how_the_batch_is_cut(task: str, clip: float | None):
    found = []
    for parts in (1, 4):
        cfg = tiny.config(task, SGD, trainer__batch_size=8, trainer__clip=clip, seed=1)
        trainer, job, _ = tiny.job(cfg)
        for epoch in range(3):
            rows = job.train.plan(epoch)[0]
            batches = [job.train.examples.batch(part) for part in (cut(rows, parts) if parts > 1 else [rows])]
            assert len(batches) == parts
            loss, count = trainer.update(job, batches)
        found.append((weights(job.model) | {"loss": loss, "count": count}, job.progress.items))
    (one, items), (four, same_items) = found
    for name in one:
        torch.testing.assert_close(four[name], one[name], rtol=1e-6, atol=1e-6, msg=name)
    assert items == same_items


def test_the_gradient_is_that_of_the_mean_over_all_items_and_is_clipped():
    trainer, job, _ = tiny.job(tiny.config("translation", SGD, trainer__clip=None, optimizer__lr=1.0))
    for group in job.optimizer.param_groups:
        group |= {"momentum": 0.0, "nesterov": False, "lr": 1.0}
    start = weights(job.model)
    batches = list(job.train.epoch())[:2]
    likelihood = job.task.spec.likelihood
    losses = [likelihood.loss(job.model(batch), batch).sum() for batch in batches]
    mean = torch.stack(losses).sum() / sum(likelihood.items(batch).sum() for batch in batches)
    gradients = dict(zip(start, torch.autograd.grad(mean, list(job.model.parameters())), strict=True))
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    trainer.update(job, batches)
    for name, weight in weights(job.model).items():
        torch.testing.assert_close(weight, start[name] - gradients[name], rtol=1e-5, atol=1e-6)

    job.average.put(list(start.values()))
    replace(trainer, clip=float(norm) / 3).update(job, batches)
    for name, weight in weights(job.model).items():
        torch.testing.assert_close(weight, start[name] - gradients[name] / 3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_is_that_of_torch(smoothing: float):
    scores, target = torch.randn(7, 5), torch.randint(5, (7,))
    log_p = scores.log_softmax(1)
    by_hand = -(1 - smoothing) * log_p[torch.arange(7), target] - smoothing * log_p.mean(1)
    torch.testing.assert_close(cross_entropy(scores, target, smoothing), by_hand)
    torch.testing.assert_close(categorical.cross_entropy(scores, target, smoothing), by_hand)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_of_cross_entropy_is_that_of_torch(
    smoothing: float, dtype: torch.dtype, weighted: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(CrossEntropy, "CHUNK", 12)  # two rows at a time, and one at last
    target = torch.randint(5, (7,))
    ours = (torch.randn(7, 5) * 30).to(dtype).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    weights = torch.rand(7) if weighted else torch.ones(7)
    (cross_entropy(ours, target, smoothing) * weights).sum().backward()
    (categorical.cross_entropy(theirs, target, smoothing) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_divergence_is_the_mean_of_both_kullback_leibler_divergences():
    a, b = torch.randn(2, 5, 3).unbind()
    p, q = a.softmax(-1), b.softmax(-1)
    expected = (F.kl_div(q.log(), p, reduction="sum") + F.kl_div(p.log(), q, reduction="sum")) / 2
    likelihood = categorical.Categorical(3)
    torch.testing.assert_close(likelihood.divergence(a, b), expected)
    assert likelihood.divergence(a, a) == 0
    assert Point(3).divergence(a, b) is None


@pytest.mark.parametrize("task", ["sentiment", "translation"])
def test_rdrop_without_dropout_changes_nothing_and_with_it_adds_a_divergence(task: str):
    found = {}
    for dropout, rdrop in ((0.0, 0.0), (0.0, 5.0), (0.5, 0.0), (0.5, 5.0)):
        trainer, job, _ = tiny.job(tiny.config(task, model__dropout=dropout, trainer__rdrop=rdrop))
        torch.manual_seed(1)
        trainer.update(job, [next(job.train.epoch())])
        found[dropout, rdrop] = weights(job.model)
    for name, weight in found[0.0, 0.0].items():
        torch.testing.assert_close(found[0.0, 5.0][name], weight, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(found[0.5, 5.0][name], weight) for name, weight in found[0.5, 0.0].items())


def test_vectors_are_left_out_of_weight_decay():
    _, job, _ = tiny.job(tiny.config("sentiment", optimizer__weight_decay=0.5))
    matrices, vectors = job.optimizer.param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.0)
    assert {p.ndim for p in vectors["params"]} == {1}
    assert sum(len(group["params"]) for group in job.optimizer.param_groups) == len(list(job.model.parameters()))


# ---------------------------------------------------------------------------------------------------- evaluation


def score(job: Job, loader: Loader) -> dict[str, float]:
    return job.task.score(evaluate(job.model, job.task, loader, replace(job.decoder, beam_size=1), job.device))


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("translation", "dates"),
        ("sentiment", "reviews"),
        ("generation", "pydocs"),
        ("generation", "places"),
        ("forecasting", "co2"),
    ],
)
def test_metrics_do_not_depend_on_the_batch_size_nor_on_padding(task: str, data: str):
    trainer, job, records = tiny.job(tiny.config(task, {"data": data}, decode__temperature=0.0))
    for group in [list(job.train.epoch())[:3]] * 3:
        trainer.update(job, group)  # scores of an untrained model are too much alike
    cuts = [Batching(1, None), Batching(3, None), Batching(100, None), Batching(None, 40), Batching(None, 300)]
    found = [score(job, Loader.of(job.task.examples(records["valid"]), batching, None)) for batching in cuts]

    class Padded(Examples):
        """Every batch with more padding, full of what must not matter."""

        sizes = job.valid.examples.sizes

        def __getattr__(self, name: str) -> Any:
            return getattr(job.valid.examples, name)

        def batch(self, rows: Any, random: Any = None) -> Any:
            fixed = task in ("sentiment", "forecasting")
            source = 2 if data in ("dates", "reviews") else 0
            return small.with_padding(job.valid.examples.batch(rows), source=source, target=0 if fixed else 2)

    found.append(score(job, Loader(Padded(), job.valid.plan)))
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-5)


def test_a_language_model_carries_its_state_through_evaluation_whatever_the_window():
    """Shorter windows would cost context if the state did not go on."""
    _, job, records = tiny.job(tiny.config("generation"))
    found = []
    for window in (7, 16, 10_000):
        job.task.window = window  # pyright: ignore
        found.append(score(job, Loader.of(job.task.examples(records["valid"]), Batching(8, None), None))["loss"])
    assert found == pytest.approx([found[0]] * 3, rel=1e-6)


def test_samples_are_the_same_at_every_evaluation():
    _, job, _ = tiny.job(tiny.config("generation", decode__temperature=1.0))
    shown = [job.task.show(job.model, job.valid.examples, {}, replace(job.decoder)) for _ in range(2)]
    assert shown[0] == shown[1]


# ---------------------------------------------------------------------------------------------------- the state


def test_the_state_is_carried_on_detached_where_a_batch_continues(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    cfg = tiny.start(tmp_path / "run", "generation", trainer__max_steps=40, trainer__eval_every=100, task__window=40)
    came: list[Any] = []
    went: list[Any] = []
    continues: list[bool] = []
    forward = type(tiny.job(cfg)[1].model).forward

    def spy(model: Any, batch: Any, state: Any = None) -> Any:
        output = forward(model, batch, state)
        if model.training:
            continues.append(batch.continues)
            came.append(state)
            went.append(output.state)
        return output

    monkeypatch.setattr("seqtrain.models.one_to_many.OneToMany.forward", spy)
    train.train(cfg, tmp_path / "run")
    assert len(came) == 40
    assert 2 < sum(not c for c in continues) < 20  # several epochs of several windows
    for i, state in enumerate(came):
        if not continues[i]:
            assert state is None
        else:
            small.same(state, went[i - 1], 0)
            map_tensors(lambda t: pytest.fail("not detached") if t.requires_grad else t, state)


# ---------------------------------------------------------------------------------------------------- the loop


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Steps at which a checkpoint is written, and whether it is the best."""
    found: list[tuple[int, bool]] = []
    original = Checkpoints.save

    def save(self: Checkpoints, step: int, checkpoint: Any, best: bool) -> None:
        found.append((step, best))
        original(self, step, checkpoint, best)

    monkeypatch.setattr(Checkpoints, "save", save)
    return found


def script(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Makes sentiment's validation accuracy what the test wants, and its loss always 1."""
    rest = iter(values)
    monkeypatch.setattr(
        "seqtrain.tasks.classification.Classification.score", lambda *_: {"loss": 1.0, "accuracy": next(rest, 0.123)}
    )


def test_patience_ends_a_run_and_the_best_weights_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: list[tuple[int, bool]]
):
    script(monkeypatch, [0.1, 0.4, 0.4, 0.3])
    scored: list[dict[str, torch.Tensor]] = []

    def note(model: Any, *args: Any) -> Any:
        scored.append(weights(model))
        return evaluate(model, *args)

    monkeypatch.setattr(train, "evaluate", note)
    found = tiny.train(tmp_path / "run", "sentiment", trainer__max_steps=99, trainer__eval_every=2, trainer__patience=2)
    assert [(row["step"], row["accuracy"]) for row in found["curve"]] == [(2, 0.1), (4, 0.4), (6, 0.4), (8, 0.3)]
    assert saved == [(2, True), (4, True), (6, False), (8, False)]
    checkpoints = Checkpoints(tmp_path / "run")
    assert sorted(checkpoints.steps()) == ["step-4", "step-6", "step-8"]
    assert (checkpoints.named("best"), checkpoints.named("last")) == ("step-4", "step-8")
    best = checkpoints.load("best").weights
    assert len(scored) == 3  # the validation split, again after calibration, and the test split
    for found in scored:
        assert all(torch.equal(best[name], weight) for name, weight in found.items())
    last = checkpoints.load("last").weights
    assert any(not torch.equal(best[name], last[name]) for name in best)


def test_steps_of_evaluations_and_checkpoints(tmp_path: Path, saved: list[tuple[int, bool]]):
    found = tiny.train(
        tmp_path / "run", "forecasting", trainer__max_steps=11, trainer__eval_every=4, trainer__save_every=3
    )
    assert [row["step"] for row in found["curve"]] == [4, 8, 11]
    assert [step for step, _ in saved] == [3, 4, 6, 8, 9, 11]
    assert found["speed"]["steps"] == 11


def test_epochs_count_and_evaluations_come_once_an_epoch(tmp_path: Path):
    """24 texts in batches of 5, two to an update: 3 updates an epoch, the last one of a single batch."""
    found = tiny.train(
        tmp_path / "run",
        "sentiment",
        trainer__max_steps=None,
        trainer__epochs=2,
        trainer__eval_every=None,
        trainer__batch_size=5,
        trainer__accumulate=2,
    )
    assert [row["step"] for row in found["curve"]] == [3, 6]
    assert Checkpoints(tmp_path / "run").load("last").training["progress"]["items"] == 2 * 24


@pytest.mark.parametrize("task", ["sentiment", "forecasting"])
def test_a_run_that_diverges_says_so_and_keeps_no_broken_best(task: str, tmp_path: Path):
    with pytest.raises(Diverged, match=r"is (nan|inf) at step \d+: a lower optimizer.lr may help"):
        tiny.train(tmp_path / "run", task, SGD, optimizer__lr=1e60, trainer__max_steps=50, trainer__clip=None)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_batch_learned_by_heart_is_evaluated_every_few_steps(tmp_path: Path):
    """Not at each step, which is an epoch."""
    settings = {"trainer__overfit_batches": 1, "trainer__log_every": 4, "trainer__eval_every": None}
    found = tiny.train(tmp_path / "run", "sentiment", trainer__max_steps=10, **settings)
    assert [row["step"] for row in found["curve"]] == [4, 8, 10]


@pytest.mark.parametrize(("task", "lr", "last"), [("translation", 1e3, True), ("forecasting", 1e4, False)])
def test_a_loss_that_explodes_ends_the_run_and_keeps_the_best(
    task: str, lr: float, last: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """At the last step, or before it where nothing can be hoped for any more; a number or not."""
    settings = {"optimizer__lr": lr, "trainer__max_steps": 40, "trainer__eval_every": 1}
    with pytest.raises(Diverged, match=r"the training has diverged: its loss is [\d.e+]+ at step \d+, and began with"):
        tiny.train(tmp_path / "run", task, SGD, **settings)
    found = Checkpoints(tmp_path / "run")
    assert (found.load("last").training["progress"]["step"] == 40) == last
    assert f"the best weights, of step {found.load('best').training['progress']['step']}, are kept" in caplog.text
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("first", "loss", "limit", "ends"), [(5.0, 51.0, 10, True), (5.0, 49.0, 10, False), (1e-4, 9.0, 10, False)]
)
def test_when_a_loss_has_exploded(first: float, loss: float, limit: float, ends: bool):
    with pytest.raises(Diverged) if ends else nullcontext():
        Trainer.check_loss(Progress(first_loss=first), loss, limit)


def test_an_evaluation_that_was_interrupted_is_told_with_the_training_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    cfg = tiny.start(tmp_path / "run", "sentiment", trainer__eval_every=3, trainer__max_steps=3)
    snapshot = Average.snapshot

    def interrupted(average: Average) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        snapshot(average)

    with monkeypatch.context() as context:
        context.setattr(Average, "snapshot", interrupted)  # the last thing before the first batch
        with pytest.raises(SystemExit):
            train.train(cfg, tmp_path / "run")
    assert "valid  loss" not in caplog.text
    train.train(cfg, tmp_path / "run", resume=True)
    (point,) = tiny.metrics(tmp_path / "run")["curve"]
    assert f"step 3  epoch 0  train loss {digits(point['train_loss'])}" in caplog.text


def test_the_loss_decides_between_equal_monitors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Any):
    scores = iter([{"loss": loss, "accuracy": 1.0} for loss in (0.5, 0.4, 0.6)] + [{"loss": 0.4, "accuracy": 1.0}] * 2)
    monkeypatch.setattr("seqtrain.tasks.classification.Classification.score", lambda *_: next(scores))
    tiny.train(tmp_path / "run", "sentiment", trainer__max_steps=6, trainer__eval_every=2)
    assert saved == [(2, True), (4, True), (6, False)]


@pytest.mark.parametrize("task", tiny.TASKS)
def test_a_seed_gives_the_same_run_twice_and_another_one_another(task: str, tmp_path: Path):
    found = []
    for i, seed in enumerate((3, 3, 4)):
        tiny.train(tmp_path / str(i), task, seed=seed, model__dropout=0.3, trainer__deterministic=i == 1)
        found.append(Checkpoints(tmp_path / str(i)).load("last").weights)
    assert all(torch.equal(weight, found[1][name]) for name, weight in found[0].items())
    assert not any(torch.equal(weight, found[2][name]) for name, weight in found[0].items() if weight.ndim > 1)
    assert not torch.are_deterministic_algorithms_enabled()  # the run after a deterministic one is not


@small.needs_bfloat16
@pytest.mark.parametrize("task", tiny.TASKS)
def test_bfloat16_trains_float32_weights(task: str):
    """With GRUs, since torch has LSTMs in bfloat16 on some CPUs only."""
    trainer, job, _ = tiny.job(tiny.config(task, {"backbone": "gru"}, trainer__precision="bfloat16"))
    exact, same, _ = tiny.job(tiny.config(task, {"backbone": "gru"}))
    batches = list(job.train.epoch())[:1]
    losses = [float(trainer.update(job, batches)[0]) for _ in range(20)]
    assert losses[0] == pytest.approx(float(exact.update(same, batches)[0]), rel=0.02)
    assert losses[0] != float(exact.update(tiny.job(tiny.config(task, {"backbone": "gru"}))[1], batches)[0])
    assert losses[-1] < losses[0]
    assert {weight.dtype for weight in job.model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("able", [pytest.param(True, marks=small.needs_bfloat16), False])
def test_bfloat16_is_refused_where_the_cpu_has_none(able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processor, "runs_bfloat16", lambda: able)
    axes = {"backbone": "gru"}
    cfg = tiny.start(tmp_path / "run", "sentiment", axes, trainer__precision="bfloat16", trainer__max_steps=1)
    if able:
        train.train(cfg, tmp_path / "run")
    else:
        with pytest.raises(UserError, match=r"this CPU has no such arithmetic; trainer\.precision=auto will do"):
            train.train(cfg, tmp_path / "run")


@pytest.mark.parametrize(
    "change", [{"trainer__precision": "bfloat16"}, {"decode__precision": "bfloat16"}, {"device__name": "cuda"}]
)
def test_what_the_machine_lacks_is_said_before_any_data_are_prepared(
    change: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("seqtrain.data.reviews.Reviews.read", lambda *_: pytest.fail("data were read first"))
    with pytest.raises(UserError, match="will do"):
        train.train(tiny.start(tmp_path / "run", "sentiment", **change), tmp_path / "run")


def test_averages_are_what_is_evaluated_and_kept(tmp_path: Path):
    """ema=0.5 after its first update: lerp towards the new weights by 1 - min(0.5, 2/11)."""
    trainer, job, _ = tiny.job(tiny.config("sentiment", trainer__ema=0.5))
    start = weights(job.model)
    trainer.update(job, [next(job.train.epoch())])
    trained = weights(job.model)
    with job.average.applied():
        for name, weight in weights(job.model).items():
            torch.testing.assert_close(weight, start[name] + (1 - 2 / 11) * (trained[name] - start[name]))
    assert all(torch.equal(weight, trained[name]) for name, weight in weights(job.model).items())

    tiny.train(tmp_path / "run", "sentiment", trainer__average=2, trainer__keep=9)  # evaluations at steps 3 and 6
    third, sixth = (Checkpoints(tmp_path / "run").read(f"step-{step}") for step in (3, 6))
    for name, weight in sixth.weights.items():
        mean = (third.training["weights"][name] + sixth.training["weights"][name]) / 2
        torch.testing.assert_close(weight, mean)


def test_a_profile_is_written_on_request(tmp_path: Path):
    tiny.train(tmp_path / "run", "sentiment", trainer__profile=True, trainer__max_steps=16, trainer__eval_every=16)
    assert "aten::" in (tmp_path / "run" / "profile.txt").read_text()
    assert (tmp_path / "run" / "trace.json").stat().st_size


# ---------------------------------------------------------------------------------------------------- interruption


def test_a_signal_is_noted_and_a_second_interrupt_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption, interruption.held():
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The process gets a SIGTERM in the middle of an update."""
    update = Trainer.update

    def spy(trainer: Trainer, job: Job, group: Any) -> Any:
        if job.progress.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(trainer, job, group)

    monkeypatch.setattr(Trainer, "update", spy)


def assert_equal(a: Any, b: Any, place: str = "") -> None:
    """Bit by bit, but for the time it took."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        for key in a.keys() - {"seconds"}:
            assert_equal(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), place
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_equal(one, other, f"{place}.{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), place
    else:
        assert a == b, place


HARD = tiny.HARD | {"optimizer__lr": 0.05}


@pytest.mark.parametrize(
    ("task", "backbone"),
    [*((task, "lstm") for task in tiny.TASKS), *(("generation", name) for name in ("mingru", "tcn", "transformer"))],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(
    task: str, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    axes = {"schedule": "plateau", "backbone": backbone}
    whole = tiny.train(tmp_path / "whole", task, axes, **HARD)
    cfg = tiny.start(tmp_path / "cut", task, axes, **HARD)
    with monkeypatch.context() as context:
        interrupt(context, step=4)
        with pytest.raises(SystemExit) as caught:
            train.train(cfg, tmp_path / "cut")
    assert caught.value.code == 128 + signal.SIGTERM
    stopped = Checkpoints(tmp_path / "cut").load("last").training
    assert stopped["progress"]["step"] == 4
    assert stopped["progress"]["position"] > 0  # in the middle of an epoch
    assert task != "generation" or stopped["carried"] is not None
    torch.manual_seed(99)
    train.train(cfg, tmp_path / "cut", resume=True)

    resumed = tiny.metrics(tmp_path / "cut")
    for found in (whole, resumed):
        found.pop("speed")
    assert_equal(resumed, whole)
    one, other = (Checkpoints(tmp_path / name) for name in ("whole", "cut"))
    assert one.named("best") == other.named("best")
    for pointer in ("best", "last"):
        assert_equal(other.load(pointer)._asdict(), one.load(pointer)._asdict())


@pytest.mark.parametrize("task", tiny.TASKS)
def test_a_resumed_run_takes_the_kernels_that_it_took_before(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whatever is faster by then: others would give other bits."""
    monkeypatch.setattr(linear, "LARGE", 1)
    monkeypatch.setattr(Kernels, "fastest", lambda self, work, ways, make: ways[-1])
    axes = {"schedule": "plateau"}
    tiny.train(tmp_path / "whole", task, axes, **HARD)
    cfg = tiny.start(tmp_path / "cut", task, axes, **HARD)
    with monkeypatch.context() as context:
        interrupt(context, step=4)
        with pytest.raises(SystemExit):
            train.train(cfg, tmp_path / "cut")
    monkeypatch.setattr(Kernels, "fastest", lambda self, work, ways, make: ways[0])
    train.train(cfg, tmp_path / "cut", resume=True)
    whole, cut = (Checkpoints(tmp_path / name).load("last").training for name in ("whole", "cut"))
    assert {"laid out", "oneDNN"} & set(whole["kernels"]["ways"].values())
    assert_equal(cut["weights"], whole["weights"])


def test_a_lowered_learning_rate_stays_low(tmp_path: Path):
    cfg = tiny.start(tmp_path / "run", "sentiment", {"schedule": "plateau"}, schedule__patience=1)
    _, job, _ = tiny.job(cfg, tmp_path / "run")
    for better in (True, False, False, False):
        job.schedule.observe(better)
    job.save()
    _, resumed, _ = tiny.job(cfg, tmp_path / "run")
    resumed.restore(job.checkpoints.load("last"))
    assert resumed.schedule.factor(100, 100) == 0.5
    resumed.schedule.observe(False)
    assert resumed.schedule.factor(100, 100) == 0.25


def test_a_resumed_run_follows_what_its_configuration_says_now(tmp_path: Path):
    cfg = tiny.start(tmp_path / "run", "sentiment", trainer__max_steps=3, trainer__ema=0.0)
    train.train(cfg, tmp_path / "run")
    cfg["trainer"] |= {"max_steps": 6, "ema": 0.5}
    cfg["optimizer"] |= {"lr": 0.125}
    cfg["schedule"] |= {"floor": 1.0}
    train.train(cfg, tmp_path / "run", resume=True)
    training = Checkpoints(tmp_path / "run").load("last").training
    assert [group["lr"] for group in training["optimizer"]["param_groups"]] == [0.125, 0.125]
    assert training["average"]["updates"] == 3
    assert training["progress"]["step"] == 6


def test_a_run_that_has_ended_has_nothing_left_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    cfg = tiny.start(tmp_path / "run", "sentiment")
    value = train.train(cfg, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert train.train(cfg, tmp_path / "run", resume=True) == value
    assert "nothing is left to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_run_killed_before_its_metrics_were_written_still_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cfg = tiny.start(tmp_path / "run", "sentiment")
    with monkeypatch.context() as context:
        context.setattr(train, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.train(cfg, tmp_path / "run")
    train.train(cfg, tmp_path / "run", resume=True)
    assert tiny.metrics(tmp_path / "run")["speed"]["steps"] == 6


def test_the_direction_of_every_monitor():
    directions = {"accuracy": "max", "bleu": "max", "mae": "min", "bits_per_char": "min", "loss": "min", "mase": "min"}
    for monitor, direction in directions.items():
        assert Task.direction.fget(Mock(monitor=monitor)) == direction  # pyright: ignore
