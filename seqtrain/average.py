"""The weights that are evaluated and kept: the trained ones, or an average of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average with decay `ema` (Polyak & Juditsky 1992), or, with `last` above 1, the mean of the
    weights at the last evaluations (Izmailov et al. 2018, arXiv:1803.05407). Off where ema is 0 and last is 1."""

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
        """After each update of the weights. The decay is smaller at first, so that the start is soon forgotten."""
        if self.ema:
            self.updates += 1
            decay = min(self.ema, (1 + self.updates) / (10 + self.updates))
            for mean, parameter in zip(self.mean, self.parameters, strict=True):
                mean.lerp_(parameter.detach(), 1 - decay)

    def snapshot(self) -> None:
        """Before each evaluation."""
        if self.last > 1:
            weights = [mean.clone() for mean in self.mean] or self.copy()
            self.snapshots = [*self.snapshots[1 - self.last :], weights]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the averaged weights into the model for a while."""
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
        if self.ema:
            self.mean, self.updates = state["mean"] or self.copy(), state["updates"]
        self.snapshots = state["snapshots"][-self.last :] if self.last > 1 else []
