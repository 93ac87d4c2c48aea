"""The training objective (the loss of a model) and its gradient."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqtrain.contract import Batch, Likelihood, State
from seqtrain.trees import join, map_tensors


class Objective(nn.Module):
    """The loss of a model, as one module. precision: bfloat16 or float32. rdrop: weight of the divergence between two
    passes with different dropout (R-Drop, Liang et al. 2021, arXiv:2106.14448); 0: one pass."""

    def __init__(self, model: nn.Module, likelihood: Likelihood, precision: str = "float32", rdrop: float = 0.0):
        super().__init__()
        self.model = model
        self.likelihood = likelihood
        self.precision = precision
        self.rdrop = rdrop

    def forward(self, batch: Batch | None, state: State = None) -> tuple[Tensor, Tensor, State]:
        """Returns the summed loss, the count of target items (by their weights), and the detached state; zeros where
        there is no batch."""
        if batch is None:
            return torch.zeros(()), torch.zeros(()), None
        values = next(tensor for tensor in (batch.source, batch.inputs, batch.target) if tensor is not None)
        with torch.autocast(values.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            output = self.model(batch, state)
            loss = self.likelihood.loss(output, batch).sum()
            items = self.likelihood.weight(batch).sum().to(loss.device)
            if self.rdrop:
                second = self.model(batch, state)
                divergence = self.likelihood.divergence(output.scores, second.scores)
                assert divergence is not None
                loss = (loss + self.likelihood.loss(second, batch).sum()) / 2 + self.rdrop * divergence
            if output.penalty is not None:
                loss = loss + output.penalty * items
        return loss, items, map_tensors(Tensor.detach, output.state)


def mean_in_bfloat16(group, bucket):  # without annotations: torch refuses those that are strings
    """The mean of gradients over all processes, sent as bfloat16. torch's own hook for that refuses gloo."""
    sent = (bucket.buffer() / dist.get_world_size()).bfloat16()
    work: Any = dist.all_reduce(sent, async_op=True)
    return work.get_future().then(lambda done: bucket.buffer().copy_(sent))


class Parallel(DistributedDataParallel):
    """An objective whose gradients are averaged over all processes while `backward` still runs. gradients: the type in
    which they are sent."""

    def __init__(self, objective: Objective, gradients: str):
        super().__init__(objective, init_sync=False, gradient_as_bucket_view=True)
        if gradients == "bfloat16":
            self.register_comm_hook(None, mean_in_bfloat16)
        self.broadcast_buffers = False
        self.weights = [weight for weight in objective.parameters() if weight.requires_grad]
        self.with_gradient: set[Tensor] = set()  # the weights that have got a gradient in this update
        self.pending: set[Tensor] | None = None  # in the last pass of an update: those whose gradient is to come
        for weight in self.weights:
            weight.register_post_accumulate_grad_hook(self.note_gradient)

    def note_gradient(self, weight: Tensor) -> None:
        self.with_gradient.add(weight)
        if self.pending is not None:
            self.pending.discard(weight)

    def forward(self, batch: Batch | None, state: State = None) -> tuple[Tensor, Tensor, State]:
        outputs: Any = super().forward(batch, state)
        if self.require_backward_grad_sync:
            self.pending = set(self.weights)
        return outputs

    def complete(self) -> list[bool]:
        """Completes the averaging of an update, in which each process has to contribute a gradient for each weight.

        A weight without one in this process (it had no rows, ran out of memory, or the model does not use the weight)
        contributes zeros. Returns, for each weight, whether it had a gradient here.
        """
        had_gradient = [weight in self.with_gradient for weight in self.weights]
        if self.pending is None:
            self(None)
        for weight in self.weights:
            if self.pending and weight in self.pending:
                weight.flatten()[:0].sum().backward()  # a gradient of zeros
        self.with_gradient.clear()
        self.pending = None
        return had_gradient


def backward(
    objective: nn.Module, group: list[Batch], carried: State, bound: int | None = None
) -> tuple[Tensor, Tensor, State]:
    """Adds up the gradients of a group of batches, each processed in parts of at most `bound` positions.

    carried: the state after the batch before. Returns the summed loss, the count of target items, and the state after
    the last batch.
    """
    device = next(objective.parameters()).device
    loss_sum, count = torch.zeros((), device=device), torch.zeros((), device=device)
    for i, whole in enumerate(group):
        states = []
        for rows in parts(whole, bound):
            batch = whole.select(rows).to(device) if bound else whole.to(device)
            state = map_tensors(lambda t: t[rows], carried) if batch.continues else None  # noqa: B023
            last = i == len(group) - 1 and (rows.stop is None or rows.stop >= whole.size)
            # Gradients are exchanged with other processes only in the last pass.
            with nullcontext() if last or not isinstance(objective, Parallel) else objective.no_sync():
                loss, items, state = objective(batch, state)
                loss.backward()
            states.append(state)
            loss_sum += loss.detach()
            count += items
        carried = join(states)
    return loss_sum, count, carried


def parts(batch: Batch, bound: int | None) -> list[slice]:
    """Divides the rows of a batch into parts of at most `bound` positions, but at least one row."""
    if bound is None:
        return [slice(None)]
    size = max(1, batch.size * bound // max(batch.positions()[1], 1))
    return [slice(start, start + size) for start in range(0, batch.size, size)]
