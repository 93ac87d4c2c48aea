"""Learning-rate schedules: `factor(step, total)` is what the learning rate is multiplied by before update `step` (from
0) of `total`; `observe(better)` hears after each evaluation whether the monitor has got better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Constant:
    """The warm-up takes a tenth of all updates at most: on few data it must not be all of the training."""

    warmup_steps: int

    def factor(self, step: int, total: int) -> float:
        return min(1.0, (step + 1) / max(self.warmup(total), 1))

    def warmup(self, total: int) -> int:
        return min(self.warmup_steps, total // 10)

    def observe(self, better: bool) -> None:
        pass

    def state(self) -> dict[str, Any]:
        """What has changed since the start; attributes by name."""
        return {}


@dataclass
class Cosine(Constant):
    """Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts. `floor` is the share left at the end."""

    floor: float

    def factor(self, step: int, total: int) -> float:
        done = min(1.0, max(0, step - self.warmup(total)) / max(1, total - self.warmup(total)))
        return super().factor(step, total) * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2)


@dataclass
class InverseSqrt(Constant):
    """Vaswani et al. 2017, arXiv:1706.03762: the square root of the warm-up over the step."""

    def factor(self, step: int, total: int) -> float:
        return super().factor(step, total) * min(1.0, math.sqrt(max(self.warmup(total), 1) / (step + 1)))


class Plateau(Constant):
    """Multiplies by `factor` after more than `patience` evaluations in a row that were not better."""

    def __init__(self, warmup_steps: int, factor: float, patience: int):
        super().__init__(warmup_steps)
        self.drop = factor
        self.patience = patience
        self.level = 1.0
        self.stale = 0

    def factor(self, step: int, total: int) -> float:
        return super().factor(step, total) * self.level

    def observe(self, better: bool) -> None:
        self.stale = 0 if better else self.stale + 1
        if self.stale > self.patience:
            self.level, self.stale = self.level * self.drop, 0

    def state(self) -> dict[str, Any]:
        return {"level": self.level, "stale": self.stale}
