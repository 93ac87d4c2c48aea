"""Which way of doing the same work is the fastest here: found by trying each way once, and kept in the cache."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqtrain.config import UserError
from seqtrain.config.json_values import is_a
from seqtrain.machine import processor
from seqtrain.storage.cache import cached_value

GAIN = 0.97  # of the plain way's time: what takes more is not worth another way
BUDGET = 1.0  # seconds that all trials of a run take together
SECONDS = 0.03  # that the rounds of one trial take, or MIN_ROUNDS of them
MIN_ROUNDS, MAX_ROUNDS = 3, 30
LIMITS = (*processor.LIMITS, "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")  # environment variables

Ways = Mapping[str, Callable[[], object]]  # by name, the plain one first


class Trial(NamedTuple):
    """What came of trying the ways of some work. milliseconds: the shortest time of each."""

    chosen: str
    milliseconds: dict[str, float]


class OutOfTime(Exception):
    """A trial does not end before the time for all of them is over."""


class Kernels:
    """The ways that the layers of one model have chosen, by the work that is to be done.

    A way is chosen at the first such work: the fastest, if it takes less than `GAIN` of the plain way's time. Trials
    are kept in the cache, for this processor, its threads and the version of torch, so that all later runs choose the
    same. The plain way is taken where the cache cannot be written, and once the trials of this run have taken `BUDGET`;
    a trial that is cut short is not kept, and a later run begins it anew.
    """

    def __init__(self) -> None:
        self.chosen: dict[str, str] = {}
        self.trials: dict[str, Trial] = {}
        self.seconds_left = BUDGET

    def choose(self, work: str, ways: Sequence[str], make: Callable[[], Ways]) -> str:
        """The way to do some work. ways: their names, the plain one first. make: prepares them to be tried."""
        if self.chosen.get(work) not in ways:
            self.chosen[work] = self.fastest(work, ways, make)
        return self.chosen[work]

    def fastest(self, work: str, ways: Sequence[str], make: Callable[[], Ways]) -> str:
        if len(ways) == 1:
            return ways[0]
        try:
            trial = cached_value(json.dumps(["trial", machine(), work, *ways]), lambda: self.tried(make))
        except (UserError, OutOfTime):
            return ways[0]
        self.trials[work] = Trial(*trial)
        return self.trials[work].chosen

    def tried(self, make: Callable[[], Ways]) -> Trial:
        """A trial within the time that is left."""
        begin = time.perf_counter()
        try:
            return race(make, begin + self.seconds_left)
        finally:
            self.seconds_left -= time.perf_counter() - begin

    def state(self) -> dict[str, Any]:
        """For a checkpoint: a resumed run takes the same ways on the same machine."""
        return {"machine": machine(), "ways": dict(self.chosen)}

    def load_state(self, state: Any) -> None:
        """Takes what `state` gave; that of another machine is of no use here."""
        if is_a(state, dict[str, Any]) and state.get("machine") == machine() and is_a(state["ways"], dict[str, str]):
            self.chosen |= state["ways"]


def machine() -> str:
    """What the speed of a kernel depends on."""
    return described(torch.get_num_threads())


@cache
def described(threads: int) -> str:
    limits = [os.environ.get(name) for name in LIMITS] + [torch.backends.cpu.get_cpu_capability()]
    return json.dumps([processor.description(), threads, torch.__version__, limits])


@torch.no_grad()
def race(make: Callable[[], Ways], end: float) -> Trial:
    """Times the ways in turn, each round in the other order, so that a busy machine slows all of them. Two figures have
    to agree that a way is faster than the first: the ratio of the shortest times, and the median of the ratios of each
    round. end: when to give up, by time.perf_counter. Raises OutOfTime where the next call would end later.
    """
    if time.perf_counter() >= end:
        raise OutOfTime
    ways = make()
    plain = next(iter(ways))
    last: dict[str, float] = {}
    for name, way in ways.items():  # the first call makes kernels, and does not count
        if time.perf_counter() + max(last.values(), default=0) > end:
            raise OutOfTime
        last[name] = timed(way)
    rounds: list[dict[str, float]] = []
    enough = min(time.perf_counter() + SECONDS, end)
    while len(rounds) < MIN_ROUNDS or (time.perf_counter() < enough and len(rounds) < MAX_ROUNDS):
        if len(rounds) < MIN_ROUNDS and time.perf_counter() + sum(last.values()) > end:
            raise OutOfTime
        order = list(ways) if len(rounds) % 2 else list(ways)[::-1]
        last = {name: timed(ways[name]) for name in order}
        rounds.append(last)
    shortest = {name: min(times[name] for times in rounds) for name in ways}
    middle = {name: median(times[name] / times[plain] for times in rounds) for name in ways}
    ratios = {name: max(shortest[name] / shortest[plain], middle[name]) for name in ways}
    best = min(ways, key=lambda name: ratios[name])
    return Trial(best if ratios[best] < GAIN else plain, {name: 1000 * s for name, s in shortest.items()})


def timed(way: Callable[[], object]) -> float:
    """Seconds of a call."""
    since = time.perf_counter()
    way()
    return time.perf_counter() - since


def like(rows: int) -> int:
    """The number of rows that stands for all that are about as many: one, those of a step, those of a whole batch."""
    return 1 if rows <= 8 else 64 if rows <= 128 else 256


def sample(rows: int, size: int) -> Tensor:
    """Some numbers, without a draw from a generator: what is tried changes nothing that is trained."""
    return torch.linspace(-1, 1, rows * size).view(rows, size)
