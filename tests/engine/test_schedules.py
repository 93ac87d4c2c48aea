import math

import pytest

from seqtrain.engine.schedules import Constant, Cosine, InverseSqrt, Plateau


def factors(schedule, steps, total: int = 100) -> list[float]:
    return [schedule.factor(step, total) for step in steps]


def test_constant():
    assert factors(Constant(warmup_steps=0), range(3)) == [1, 1, 1]
    assert factors(Constant(warmup_steps=4), range(6)) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_cosine():
    schedule = Cosine(warmup_steps=20, floor=0.1)
    assert factors(schedule, [0, 9, 19, 20], total=200) == pytest.approx([0.05, 0.5, 1, 1])
    quarter = 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2
    assert factors(schedule, [65, 110, 200, 500], total=200) == pytest.approx([quarter, 0.55, 0.1, 0.1])
    assert factors(Cosine(0, 0.0), range(0, 101, 50)) == pytest.approx([1, 0.5, 0])


def test_a_warm_up_takes_a_tenth_of_the_training_at_most():
    assert factors(Constant(warmup_steps=100), [0, 4, 9, 10], total=100) == pytest.approx([0.1, 0.5, 1, 1])
    assert factors(Cosine(warmup_steps=100, floor=0.0), [0, 1, 2, 11, 20], total=20) == pytest.approx(
        [0.5, 1, 1, 0.5, 0]
    )
    assert factors(Constant(warmup_steps=100), [0, 4], total=5) == [1, 1]


def test_inverse_sqrt():
    schedule = InverseSqrt(warmup_steps=100)
    assert factors(schedule, [0, 49, 99, 399, 899], total=1000) == pytest.approx([0.01, 0.5, 1, 0.5, 1 / 3])


def test_plateau_drops_after_more_than_its_patience():
    schedule, found = Plateau(warmup_steps=2, factor=0.5, patience=1), []
    assert factors(schedule, [0, 1, 9]) == [0.5, 1, 1]
    for better in (True, False, False, False, False, True, False, True, False, False):
        schedule.observe(better)
        found.append(schedule.factor(9, 100))
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25, 0.125]


def test_a_plateau_goes_on_from_its_state():
    schedule, other = (Plateau(warmup_steps=0, factor=0.5, patience=1) for _ in range(2))
    for better in (False, False, False):
        schedule.observe(better)
    vars(other).update(schedule.state())
    for one in (schedule, other):
        one.observe(False)
        assert one.factor(9, 100) == 0.25
