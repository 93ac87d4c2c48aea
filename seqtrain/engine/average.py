"""Weight averaging: the weights that are evaluated and saved are the trained ones or an average of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.engine.sharding import like


class Average:
    """Averages the weights of a model: an exponential moving average with decay `ema` (Polyak & Juditsky 1992), or,
    with `last` above 1, the mean over the last evaluations (Izmailov et al. 2018, arXiv:1803.05407). With ema 0 and
    last 1 there is no average."""

    def __init__(self, model: nn.Module, ema: float, last: int):
        self.parameters = list(model.parameters())
        self.ema = ema
        self.last = last
        self.mean = self.copy() if ema else []
        self.snapshots: list[list[Tensor]] = []
        self.updates = 0

    def copy(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters]

    def update(self) -> None:
        """Takes in the new weights; called after each update. The decay is smaller at first, so that the untrained
        weights are soon forgotten."""
        if self.ema:
            self.updates += 1
            decay = min(self.ema, (1 + self.updates) / (10 + self.updates))
            for mean, parameter in zip(self.mean, self.parameters, strict=True):
                mean.lerp_(parameter.detach(), 1 - decay)

    def snapshot(self) -> None:
        """Adds the weights to those that are averaged over evaluations; called before each evaluation."""
        if self.last > 1:
            weights = [mean.clone() for mean in self.mean] or self.copy()
            self.snapshots = [*self.snapshots[1 - self.last :], weights]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the model the averaged weights within a `with` block, and then the trained ones again."""
        weights = self.mean
        if self.snapshots:
            weights = [torch.stack(same).mean(0) for same in zip(*self.snapshots, strict=True)]
        if not weights:
            yield
            return
        trained = self.copy()
        self.put(weights)
        try:
            yield
        finally:
            self.put(trained)

    @torch.no_grad()
    def put(self, weights: list[Tensor]) -> None:
        for parameter, weight in zip(self.parameters, weights, strict=True):
            parameter.copy_(weight)

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "snapshots": self.snapshots, "updates": self.updates}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores `state`; raises ValueError where the weights do not have the shapes and types of the model's."""
        forms = [(parameter.shape, parameter.dtype) for parameter in self.parameters]
        for weights in (state["mean"], *state["snapshots"]):
            if weights and [(weight.shape, weight.dtype) for weight in weights] != forms:
                raise ValueError("average: weights of other shapes or types")
        if self.ema:
            self.mean, self.updates = self.placed(state["mean"]) or self.copy(), int(state["updates"])
        self.snapshots = [self.placed(weights) for weights in state["snapshots"][-self.last :]] if self.last > 1 else []

    def placed(self, weights: list[Tensor]) -> list[Tensor]:
        """Weights on the device of the model's."""
        pairs = zip(weights, self.parameters, strict=bool(weights))
        return [like(weight, parameter).to(parameter.device) for weight, parameter in pairs]
