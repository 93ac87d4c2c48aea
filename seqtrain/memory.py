"""Batches that do not fit in memory are cut, to the same gradient."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqtrain.batch import Batch
from seqtrain.checkpoint import random_state, set_random_state
from seqtrain.config import UserError

if TYPE_CHECKING:
    from seqtrain.train import Job

log = logging.getLogger(__name__)


def fit_in_memory(
    job: Job, group: list[Batch], backward: Callable[[int | None], tuple[Tensor, Tensor, Any]]
) -> tuple[Tensor, Tensor, Any]:
    """Calls `backward` with the bound on the positions of a batch, and where the memory does not suffice, from the
    start with half of it; the rest of the run keeps the bound that was found. Several processes do so together, when
    one of them must: group holds the batches of all, backward works on this one's part, and the sums are of all."""
    random = random_state(job.device)
    while True:
        try:
            loss, count, carried = backward(job.progress.bound)
            short = False
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            loss, count, carried, short = *torch.zeros(2, device=job.device), None, True
        loss, count, short = job.team.add_up(job.model, loss, count, short, job.interruption)
        if not short:
            return loss, count, carried
        job.optimizer.zero_grad(set_to_none=True)  # outside the handler, which keeps what the failed call allocated
        set_random_state(random, job.device)
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
        sizes = [(batch.positions()[1] // len(batch.target), len(batch.target)) for batch in group]
        largest = max(example * -(-rows // job.team.size) for example, rows in sizes)  # of the parts
        example = max(example for example, _ in sizes)
        bound = min(job.progress.bound or largest, largest) // 2
        if min(job.progress.bound or largest, largest) <= example:
            raise UserError(f"not even one example of {example:,} positions fits in memory; shorter ones "
                            "(task.max_length, task.window) or a smaller model may")  # fmt: skip
        job.progress.bound = bound
        log.warning("step %d: a batch of %s positions does not fit in memory; from now on larger ones than %s are cut, "
                    "to the same gradient", job.progress.step + 1, f"{largest:,}", f"{bound:,}")  # fmt: skip


def parts(batch: Batch, bound: int | None) -> list[slice]:
    """The rows of a batch in parts of at most `bound` positions, or of one row."""
    rows = len(batch.target)
    size = rows if bound is None else max(1, rows * bound // max(batch.positions()[1], 1))
    return [slice(start, start + size) for start in range(0, rows, size)]


def out_of_memory(error: Exception) -> bool:
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
