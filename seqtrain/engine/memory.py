"""Gradients of batches that may not fit in memory: such a batch is processed in parts, with the same gradient."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seqtrain.config import UserError
from seqtrain.contract import Batch, State
from seqtrain.engine import objective
from seqtrain.engine.checkpoint import random_state, set_random_state
from seqtrain.engine.sharding import Sharded

if TYPE_CHECKING:
    from seqtrain.engine.job import Job

log = logging.getLogger(__name__)


def gradients(job: Job, group: list[Batch]) -> tuple[Tensor, Tensor, State]:
    """Adds up the gradients of a group of batches; returns the summed loss, the count of target items, and the state
    that is carried on: see `objective.backward`.

    When memory runs out, it starts again with parts of half the positions, and the rest of the run keeps this bound.
    Several processes start again together when one of them has to. Loss and count are sums over all processes.
    """
    batches = [batch for batch in group if batch.size]  # with few rows, a process may have none
    if isinstance(job.objective, Sharded):
        return in_step(job, group, batches)
    random = random_state(job.device)
    while True:
        loss, count = torch.zeros(2, device=job.device)
        carried = None
        ran_out = False
        try:
            with job.team.raising_lost():
                loss, count, carried = objective.backward(job.objective, batches, job.carried, job.progress.bound)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            ran_out = True
        # Not in the `except` block, during which the memory of the failed call is not freed.
        loss, count, numbers = job.team.agree(loss, count, [ran_out, *sizes(batches)], job.interruption, job.objective)
        if not numbers[0]:
            job.progress.count(*numbers[1:])
            return loss, count, carried
        job.optimizer.zero_grad(set_to_none=True)
        set_random_state(random, job.device)
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
        job.progress.bound = lower_bound(job, batches)


def in_step(job: Job, group: list[Batch], batches: list[Batch]) -> tuple[Tensor, Tensor, State]:
    """`gradients` of processes that share out the weights: no one of them can begin again without the others."""
    try:
        with job.team.raising_lost():
            loss, count, carried = objective.backward(job.objective, group, job.carried)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(
            f"step {job.progress.step + 1}: a batch does not fit in memory, and device.shard=true cannot cut it: "
            "smaller batches do, with trainer.accumulate to the same gradient"
        ) from error
    loss, count, numbers = job.team.agree(loss, count, list(sizes(batches)), job.interruption, job.objective)
    job.progress.count(*numbers)
    return loss, count, carried


def sizes(batches: list[Batch]) -> tuple[int, int, int]:
    """Returns the numbers of target items, of padding positions, and of all positions of source and target."""
    items = padding = positions = 0
    for batch in batches:
        assert batch.target_lengths is not None
        real, total = batch.positions()
        items += int(batch.target_lengths.sum())
        padding += total - real
        positions += total
    return items, padding, positions


def lower_bound(job: Job, batches: list[Batch]) -> int:
    """Returns a new bound of the positions processed at once: half of the largest number that any process has tried.
    Raises `UserError` where that was not more than one example."""
    totals = [(total, total // batch.size) for batch in batches for _, total in [batch.positions()]]
    batch, example = map(max, zip(*[(0, 0), *totals], strict=True))
    batch, example = map(max, zip(*job.team.gather((batch, example)), strict=True))
    tried = min(job.progress.bound or batch, batch)  # larger batches were cut to the bound
    if tried <= example:
        raise UserError(f"not even one example of {example:,} positions fits in memory; shorter ones "
                        "(task.max_length, task.window) or a smaller model may")  # fmt: skip
    log.warning("step %d: a batch of %s positions does not fit in memory; from now on larger ones than %s are cut, "
                "to the same gradient", job.progress.step + 1, f"{tried:,}", f"{tried // 2:,}")  # fmt: skip
    return tried // 2


def out_of_memory(error: Exception) -> bool:
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
