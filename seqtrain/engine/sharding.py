"""Weights, gradients and the state of the optimizer shared out among the processes that train together, for models too
large for one of them: ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054), by torch's `fully_shard` (Zhao et al. 2023,
arXiv:2304.11277). Every process has the same rows of each weight, that of its gradient and of its moments.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.backbones.base import Stack
from seqtrain.backbones.recurrent import Recurrent
from seqtrain.contract import Batch, State
from seqtrain.engine.objective import Objective
from seqtrain.models.base import Encoder
from seqtrain.trees import map_tensors

LARGE = 2**20  # weights of a table that is a unit of its own


class Sharded(nn.Module):
    """An objective whose weights are shared out. Those of a unit (see `units`) are whole only while it works, forward
    and backward; all others are so from the beginning of a pass to its end.

    All processes have to do the same passes, since a unit works when all of them have come to it. example: makes one
    example, on which a process without rows works for nothing. gradients: the type in which they are sent.
    """

    def __init__(self, objective: Objective, gradients: str, device: torch.device, example: Callable[[], Batch]):
        super().__init__()
        import torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        # It warns of changes in place to the outputs of units, which are views; no layer here makes such changes.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        sent = MixedPrecisionPolicy(reduce_dtype=torch.bfloat16 if gradients == "bfloat16" else None)
        self.units = [*units(objective.model), objective]
        for unit in self.units:
            fully_shard(unit, mesh=mesh, mp_policy=sent)
        state: Any = objective
        state._get_fsdp_state()._lazy_init()  # else the first unit that works by itself would be taken for the whole
        self.module = objective
        self.example = example
        self.weights = [weight for weight in objective.parameters() if weight.requires_grad]

    def forward(self, batch: Batch, state: State = None) -> tuple[Tensor, Tensor, State]:
        """See `Objective`; of a batch without rows, loss and count are zeros."""
        if batch.size:
            return self.module(batch, state)
        loss, items, _ = self.module(self.example())
        return 0 * loss, 0 * items, None

    def complete(self) -> list[bool]:
        """Returns, for each weight, whether it has a gradient, the mean of those of all processes."""
        return [weight.grad is not None for weight in self.weights]

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Gives each process the whole weights within a `with` block, in which it may use the model alone, but not
        train it."""
        shards: list[Any] = self.units
        for unit in shards:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for unit in shards:
                unit.set_reshard_after_forward(unit is not self.module, recurse=False)
                unit.reshard()


def units(model: Any) -> list[nn.Module]:
    """The parts of a model that have their weights only while they work: layers of backbones and large tables.

    Each process has to call them equally often. Where training walks step by step, as with input feeding, only those of
    the encoder are units: the others would be sent at each step.
    """
    parts = [part for part in model.modules() if isinstance(part, Encoder)] if model.loops else [model]
    modules = [module for part in parts for module in part.modules()]
    backbones = [module for module in modules if isinstance(module, Stack | Recurrent)]
    lists = [child for backbone in backbones for child in backbone.children() if isinstance(child, nn.ModuleList)]
    layers = [layer for each in lists for layer in each]
    inner = {module for layer in layers for module in layer.modules()}
    tables = [module for module in modules if isinstance(module, nn.Embedding | nn.Linear) and module not in inner]
    holders = Counter(weight for _, weight in model.named_parameters(remove_duplicate=False))

    def of_one(module: nn.Module) -> bool:
        """Whether no other part has the same weights, as tied ones are."""
        return all(holders[weight] == 1 for weight in module.parameters())

    return list(filter(of_one, [*layers, *(table for table in tables if table.weight.numel() >= LARGE)]))


def whole(tensor: Any) -> Tensor:
    """A tensor of which this process may have only a part; all have to ask for it."""
    return tensor.full_tensor() if is_shared(tensor) else tensor


def collected(tree: Any, keep: bool) -> Any:
    """A tree with whole tensors on the CPU in place of those that are shared out; all processes have to ask for it.
    keep: whether this one wants them; it has empty ones otherwise."""

    def collect(tensor: Any) -> Tensor:
        if not is_shared(tensor):
            return tensor
        full = tensor.full_tensor()
        return full.cpu() if keep else full.new_empty(0, device="cpu")

    return map_tensors(collect, tree)


def like(value: Any, weight: Any) -> Any:
    """A value that belongs to a weight, such as its mean. Where the weight is shared out so is the value, which the
    first process alone needs to have, see `outline`; all have to ask for it."""
    if not isinstance(value, Tensor) or value.shape != weight.shape or not is_shared(weight):
        return value
    from torch.distributed.tensor import distribute_tensor

    here = torch.empty_like(value, device=weight.device) if value.is_meta else value.to(weight.device)
    return distribute_tensor(here, weight.device_mesh, weight.placements)


def outline(checkpoint: Any, model: nn.Module) -> Any:
    """A checkpoint without the numbers of the weights and of what belongs to them, for processes to which `like` will
    give their part."""
    names = {name for name, _ in model.named_parameters()}

    def emptied(tree: Any) -> Any:
        return map_tensors(lambda tensor: tensor.to("meta") if tensor.ndim else tensor, tree)

    def weights(stored: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: emptied(weight) if name in names else weight for name, weight in stored.items()}

    training = checkpoint.training
    emptier = {name: emptied(training[name]) for name in ("optimizer", "average")}
    training = training | emptier | {"weights": weights(training["weights"])}
    return checkpoint._replace(weights=weights(checkpoint.weights), training=training)


def is_shared(tensor: Any) -> bool:
    """Whether it is one of torch's distributed tensors, whose module takes a second to import."""
    return hasattr(tensor, "full_tensor")
