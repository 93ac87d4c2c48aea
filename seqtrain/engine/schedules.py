"""Learning-rate schedules. `factor(step, total)` returns what the learning rate is multiplied by in update `step` (from
0 on) of `total`; `observe(better)` is told after each evaluation whether the monitor is the best so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from seqtrain.config.json_values import is_a


@dataclass
class Constant:
    """A linear warm-up, then a constant rate. The warm-up takes at most a tenth of all updates: with little data it
    would be most of the training."""

    warmup_steps: int
    bounded: ClassVar[bool] = False  # whether it needs to know the number of all updates

    def factor(self, step: int, total: int) -> float:
        return min(1.0, (step + 1) / max(self.warmup(total), 1))

    def warmup(self, total: int) -> int:
        return min(self.warmup_steps, total // 10)

    def observe(self, better: bool) -> None:
        pass

    def state(self) -> dict[str, Any]:
        """Returns the attributes that change in training, by name."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores `state`; raises ValueError for other names or types."""
        current = self.state()
        if state.keys() != current.keys() or not all(is_a(state[name], type(current[name])) for name in current):
            raise ValueError("schedule: its state does not fit")
        vars(self).update(state)


@dataclass
class Cosine(Constant):
    """Cosine decay without restarts (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    floor: float
    bounded: ClassVar[bool] = True

    def factor(self, step: int, total: int) -> float:
        done = min(1.0, max(0, step - self.warmup(total)) / max(1, total - self.warmup(total)))
        return super().factor(step, total) * (self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2)


@dataclass
class InverseSqrt(Constant):
    """Inverse square root decay: sqrt(warm-up / step) after the warm-up (Vaswani et al. 2017, arXiv:1706.03762)."""

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
