import numpy as np
import pytest

from seqtrain.codecs.seasons import candidates, find_period
from seqtrain.data.kinds import Layout, Series


def series(values: np.ndarray, frequency: str) -> Series:
    times = np.datetime64("2024-01-01", "s") + np.arange(len(values))
    return Series("s", times, values.reshape(len(values), -1), 0, Layout(("a",), frequency=frequency))


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        *(("s", [60, 3600]), ("10s", [6, 360]), ("min", [60, 1440]), ("5min", [12, 288]), ("15min", [96, 672])),
        *(("30min", [48, 336]), ("h", [24, 168]), ("60min", [24, 168]), ("3h", [8, 56]), ("7h", [24]), ("5h", [])),
        *(("D", [7]), ("B", [5]), ("7D", [52]), ("W-SUN", [52]), ("2W-SUN", [26]), ("SMS-15", [24])),
        *(("MS", [12]), ("BME", [12]), ("3MS", [4]), ("month", [12]), ("QS-OCT", [4]), ("YE-DEC", [1]), ("5D", [73])),
        *(("fortnight", []), (None, [])),
    ],
)
def test_the_season_follows_from_the_frequency(frequency: str | None, expected: list[int]):
    assert candidates(frequency) == expected


def test_of_several_the_one_that_the_training_part_repeats_best():
    random, hours = np.random.default_rng(0), np.arange(24 * 7 * 4)
    daily, weekly = np.sin(2 * np.pi * hours / 24), random.normal(size=168)[hours % 168]
    noise = 0.1 * random.normal(size=len(hours))
    assert find_period([series(daily + noise, "h")], 24) == 24
    assert find_period([series(daily + weekly + noise, "h")], 24) == 168
    assert find_period([series(daily, "h")], 24) == 24  # both are without error, the shorter one is taken
    gaps = np.where(random.random(len(hours)) < 0.3, np.nan, daily + weekly + noise)
    assert find_period([series(gaps, "h"), series(np.full(9, 3.0), "h")], 24) == 168
    # over 1000 hours ahead both repeat what lies weeks back, and the day that is repeated is one of the week's
    assert find_period([series(daily + weekly + noise, "h")], 1000) == 168


def test_a_channel_of_large_numbers_does_not_decide_alone():
    random, hours = np.random.default_rng(0), np.arange(24 * 7 * 4)
    weekly, daily = random.normal(size=168)[hours % 168], 1000 * random.normal(size=24)[hours % 24]
    several = np.stack([daily + 100 * random.normal(size=len(hours)), weekly, 1 + weekly], 1)
    assert find_period([series(several, "h")], 24) == 168


@pytest.mark.parametrize(("rows", "expected"), [(336, 168), (335, 24), (30, 24), (24, 1), (2, 1)])
def test_a_season_has_to_fit_twice_or_else_the_shortest_once(rows: int, expected: int):
    values = np.random.default_rng(0).normal(size=168)[np.arange(rows) % 168]
    assert find_period([series(values, "h")], 24) == expected
