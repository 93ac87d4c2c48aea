"""A batch that does not fit in memory is cut, to the same gradient."""

import random
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from seqtrain.config import UserError
from seqtrain.engine.objective import parts

SGD = {"optimizer": "sgd", "schedule": "constant"}
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    MemoryError(),
]


@pytest.fixture(autouse=True, scope="module")
def few_topics():
    with tiny.few_topics():
        yield


def limited(
    monkeypatch: pytest.MonkeyPatch, job: Any, error: Exception, room: int | None, at: int | None = None
) -> list[int]:
    """Lets a model fail on batches of more than `room` positions, or at its n-th batch; returns the sizes that came."""
    sizes: list[int] = []
    forward = job.model.forward

    def spy(batch: Any, state: Any = None) -> Any:
        output = forward(batch, state)
        sizes.append(batch.positions()[1])
        if (room is not None and sizes[-1] > room) or len(sizes) == at:
            raise error
        return output

    monkeypatch.setattr(job.model, "forward", spy)
    return sizes


def updated(job: Any, trainer: Any, groups: list[Any]) -> dict[str, torch.Tensor]:
    for group in groups:
        trainer.update(job, group)
    return {name: p.detach().clone() for name, p in job.model.named_parameters()}


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python"])
@pytest.mark.parametrize("task", tiny.TASKS)
def test_a_halved_batch_has_the_same_gradient(task: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a random micro-batch, of three updates of two batches each; the state is carried across the cut."""
    cfg = tiny.config(task, SGD, trainer__batch_size=8, trainer__clip=None)
    found = []
    for fails in (False, True):
        trainer, job, _ = tiny.job(cfg)
        batches = list(job.train.epoch())
        groups = [batches[i : i + 2] for i in (0, 1, 0)]
        if fails:
            limited(monkeypatch, job, error, None, at=random.Random(f"{task} {error}").randint(1, 6))
        found.append(updated(job, trainer, groups))
        assert (job.progress.bound is not None) == fails
    for name, whole in found[0].items():
        torch.testing.assert_close(found[1][name], whole, rtol=1e-5, atol=1e-6, msg=name)


def test_the_bound_is_learned_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainer, job, _ = tiny.job(tiny.start(tmp_path / "run", "sentiment", SGD, trainer__batch_size=8), tmp_path / "run")
    batches = list(job.train.epoch())
    largest = max(batch.positions()[1] for batch in batches)
    sizes = limited(monkeypatch, job, ERRORS[0], largest // 3)
    updated(job, trainer, [batches])
    assert largest // 8 < job.progress.bound <= largest // 3
    sizes.clear()
    updated(job, trainer, [batches] * 2)
    assert max(sizes) <= job.progress.bound  # nothing has to fail again
    job.save()
    assert job.checkpoints.load("last").training["progress"]["bound"] == job.progress.bound


def test_an_example_that_does_not_fit_alone_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, job, _ = tiny.job(tiny.config("translation"))
    limited(monkeypatch, job, ERRORS[0], 1)
    with pytest.raises(UserError, match=r"not even one example of \d+ positions fits in memory"):
        trainer.update(job, [next(job.train.epoch())])


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, job, _ = tiny.job(tiny.config("sentiment"))
    limited(monkeypatch, job, RuntimeError("shape mismatch"), None, at=1)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        trainer.update(job, [next(job.train.epoch())])


@pytest.mark.parametrize("task", tiny.TASKS)
def test_parts_are_the_whole(task: str) -> None:
    _, job, _ = tiny.job(tiny.config(task, trainer__batch_size=7))
    batch = next(job.train.epoch())
    for bound in (None, 1, batch.positions()[1] // 3, batch.positions()[1]):
        rows = [row for part in parts(batch, bound) for row in range(len(batch.target))[part]]
        assert rows == list(range(len(batch.target)))
        cut = [batch.select(part) for part in parts(batch, bound)]
        real = torch.cat([part.real(part.target) for part in cut])
        assert torch.equal(torch.nan_to_num(real), torch.nan_to_num(batch.real(batch.target)))
