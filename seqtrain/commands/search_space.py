"""The settings that a search looks through, in the words of Hydra's sweeps: a,b,c and choice(), range(), interval(),
int(interval()), tag(log, interval())."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from seqtrain.commands.sweep import split
from seqtrain.commands.sweep_table import REPEATS
from seqtrain.config import UserError
from seqtrain.config.overrides import parse_value, sweep_texts
from seqtrain.config.spelling import did_you_mean, near

TAGS = ("log",)


class Space(NamedTuple):
    """fixed: the overrides of all jobs. searched: what each key may be; its categories are texts in Hydra's grammar.
    repeats: overrides with which each setting is tried: one list for each seed and fold."""

    fixed: list[str]
    searched: dict[str, BaseDistribution]
    repeats: list[list[str]]

    def overrides(self, values: dict[str, Any], repeat: int) -> list[str]:
        """Returns the overrides of a job."""
        texts = {key: value if isinstance(value, str) else repr(value) for key, value in values.items()}
        return [*self.fixed, *(f"{key}={texts[key]}" for key in self.searched), *self.repeats[repeat]]

    def grid(self) -> dict[str, list[Any]]:
        """Returns all values of each key. Raises `UserError` where one has no end of them."""
        return {key: points(key, distribution) for key, distribution in self.searched.items()}

    def combinations(self) -> float:
        """Returns how many combinations there are."""
        return math.prod(map(size, self.searched.values()))


def read_space(lines: Sequence[str], config_loader: Any) -> Space:
    """Reads the overrides of a sweep; a later one of the same key replaces an earlier one. Raises `UserError`."""
    parser = OverridesParser.create(config_loader=config_loader)
    overrides = {split(line)[0]: parser.parse_override(line) for line in lines}
    space = Space([], {}, [])
    repeats: list[list[str]] = []
    for name, override in overrides.items():
        key = override.get_key_element()
        if not override.is_sweep_override():
            space.fixed.append(str(override.input_line))
        elif name in REPEATS:
            repeats.append([f"{key}={text}" for text in repeated_values(override)])
        else:
            space.searched[key] = distribution(override)
    if not space.searched:
        raise UserError("hydra/sweeper=optuna: nothing is searched: give a setting several values, such as "
                        "optimizer.lr='tag(log,interval(1e-4,1e-2))'")  # fmt: skip
    return space._replace(repeats=[list(each) for each in itertools.product(*repeats)])


def repeated_values(o: Override) -> list[str]:
    if isinstance(o.value(), IntervalSweep):
        raise UserError(f"{o.input_line}: each setting is tried with each {o.key_or_group}: give a list, such as 1,2,3")
    return sweep_texts(o)


def distribution(o: Override) -> BaseDistribution:
    """Returns what values an override may have."""
    value: Any = o.value()
    if wrong := next((tag for tag in value.tags if tag not in TAGS), None):
        raise UserError(f"{o.input_line}: there is no tag {wrong}, only log{did_you_mean(near(wrong, TAGS))}")
    log = "log" in value.tags
    if log and not isinstance(value, IntervalSweep):
        raise UserError(f"{o.input_line}: the tag log goes with interval")
    if isinstance(value, IntervalSweep):
        return interval(o, value.start, value.end, log)
    if isinstance(value, RangeSweep):
        numbers = sorted(parse_value(text) for text in sweep_texts(o))
        if not numbers:
            raise UserError(f"{o.input_line}: this range is empty")
        step, low, high = abs(value.step), numbers[0], numbers[-1]
        if all(isinstance(number, int) for number in numbers):
            return IntDistribution(low, high, step=int(step))
        return FloatDistribution(low, low + step * round((high - low) / step), step=step)
    return CategoricalDistribution(list(dict.fromkeys(sweep_texts(o))))


def interval(o: Override, low: Any, high: Any, log: bool) -> BaseDistribution:
    if type(low) not in (int, float):
        raise UserError(f"{o.input_line}: an interval is of numbers: interval(LOW,HIGH) or int(interval(LOW,HIGH))")
    if low >= high:
        raise UserError(f"{o.input_line}: the interval ends at {high}, which is not above its beginning, {low}")
    if log and low <= 0:
        raise UserError(f"{o.input_line}: with the tag log an interval begins above 0")
    return IntDistribution(low, high, log=log) if isinstance(low, int) else FloatDistribution(low, high, log=log)


def points(key: str, values: BaseDistribution) -> list[Any]:
    """Returns all values of a key."""
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    assert isinstance(values, IntDistribution | FloatDistribution)
    if values.step is None:
        raise UserError(f"{key}: hydra.sweeper.sampler=grid takes lists and ranges; an interval has no end of values")
    return [values.low + i * values.step for i in range(int(size(values)))]


def size(values: BaseDistribution) -> float:
    """Returns how many values a key has."""
    if isinstance(values, CategoricalDistribution):
        return len(values.choices)
    assert isinstance(values, IntDistribution | FloatDistribution)
    return math.inf if values.step is None else round((values.high - values.low) / values.step) + 1
