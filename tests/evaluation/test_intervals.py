import math

import numpy as np
import pytest
from scipy import integrate, stats

from seqtrain.evaluation import intervals

LEVELS = intervals.levels_of(0.9)


def test_the_ends_of_an_interval_are_among_its_levels():
    assert len(LEVELS) == 19
    assert [*sorted(LEVELS)] == LEVELS
    assert [LEVELS[number] for number in intervals.ends(0.9)] == [0.05, 0.95]
    others = intervals.levels_of(0.95)
    assert len(others) == 21
    assert [others[number] for number in intervals.ends(0.95)] == [0.025, 0.975]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("interval", [0.5, 0.9, 0.95])
def test_intervals_cover_what_they_say_where_errors_are_exchangeable(interval: float, mirrored: bool):
    """On average over calibration sets, at least so much, and with n errors at most 2 / (n + 1) more."""
    random, levels, shares = np.random.default_rng(0), intervals.levels_of(interval), []
    low, high = intervals.ends(interval)
    for _ in range(400):
        errors = random.gamma(2, size=(60, 2, 1)) - 1  # skewed, and not around zero
        found = intervals.corrections(
            levels, lambda _, made=errors: made, np.ones(60), np.zeros((60, 1), int), mirrored
        )
        fresh = random.gamma(2, size=(50, 2, 1)) - 1
        shares.append(((found[low] <= fresh) & (fresh <= found[high])).mean())
    assert interval - 0.005 < np.mean(shares) < interval + 2 / 61 + 0.005


def test_wrong_quantiles_are_corrected():
    """A model whose spread is a third of the true one, and whose mean is off by two."""
    random = np.random.default_rng(0)
    place, fresh = random.normal(size=(2, 4000, 1, 1))
    true, levels = place + random.normal(size=place.shape), stats.norm.ppf(LEVELS) / 3 + 2
    channels = np.zeros((4000, 1), int)
    found = intervals.corrections(
        LEVELS, lambda number: true - (place + levels[number]), np.ones(4000), channels, mirrored=False
    )
    below = [(fresh < level + some).mean() for level, some in zip(levels, found, strict=True)]
    np.testing.assert_allclose(below, LEVELS, atol=0.03)


def test_mirrored_errors_move_both_ends_alike_by_the_size_of_the_errors():
    errors = np.random.default_rng(0).normal(1, size=(999, 1, 1))
    alike = np.ones(999), np.zeros((999, 1), int)
    found = intervals.corrections([0.05, 0.5, 0.95], lambda _: errors, *alike, mirrored=True)[:, 0, 0]
    assert found[0] == -found[2]
    assert found[2] == pytest.approx(np.quantile(np.abs(errors), 0.9), rel=0.01)
    assert found[1] == pytest.approx(0, abs=0.01)


def test_a_correction_by_hand():
    errors = np.array([[3.0, 1], [1, math.nan], [2, math.nan]])
    alike = np.ones(3)
    assert intervals.correction(errors, alike, 0.5).tolist() == [2, 1]
    assert intervals.correction(errors, alike, 0.75).tolist() == [3, 1]  # the third of three
    assert intervals.correction(errors, alike, 0.25).tolist() == [1, 1]
    assert intervals.correction(errors, alike, 0.75, pooled=9.0).tolist() == [3, 9]  # a single error has no such rank
    assert intervals.correction(errors[:0], alike[:0], 0.75, pooled=9.0).tolist() == [9, 9]


def test_a_weight_is_how_often_an_error_counts():
    """As if it stood there so many times; the one to come counts once."""
    errors, often = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 4
    for level in (0.1, 0.3, 0.5, 0.8, 0.95):
        repeated = intervals.correction(errors.repeat(often, 0), np.ones(often.sum()), level)
        np.testing.assert_array_equal(intervals.correction(errors, often.astype(float), level), repeated)


def test_late_errors_count_more():
    found = intervals.weights(np.array([0.0, 0.5, 1.0]))
    assert found.tolist() == [0.25, 0.5, 1]


def test_each_step_and_channel_has_its_own_correction():
    random = np.random.default_rng(0)
    spread = np.array([[1.0, 10], [2, 20]])  # step, channel
    apart = np.concatenate([random.normal(size=(2000, 2, 1)) * spread[:, i : i + 1] for i in range(2)])
    channels = np.repeat([0, 1], 2000)[:, None]
    found = intervals.corrections([0.95], lambda _: apart, np.ones(4000), channels, mirrored=False)[0]
    np.testing.assert_allclose(found, 1.645 * spread, rtol=0.1)
    together = np.concatenate([apart[:2000], apart[2000:]], 2)
    same = intervals.corrections([0.95], lambda _: together, np.ones(2000), np.tile([0, 1], (2000, 1)), mirrored=False)[
        0
    ]
    np.testing.assert_array_equal(same, found)


def of(distribution: object, true: float, interval: float = 0.9) -> dict[str, float]:
    quantiles = distribution.ppf(intervals.levels_of(interval))  # pyright: ignore[reportAttributeAccessIssue]
    sums = intervals.sums([np.full((1, 1, 1), value) for value in quantiles], np.full((1, 1, 1), true), interval)
    return intervals.scores({name: value.sum() for name, value in sums.items()} | {"known": 1})


@pytest.mark.parametrize("true", [-1.0, 0.3, 2.5])
def test_the_crps_is_that_of_the_closed_form(true: float):
    """Of the normal distribution (Gneiting & Raftery 2007, equation 21), and of Student's t its integral."""
    normal = true * (2 * stats.norm.cdf(true) - 1) + 2 * stats.norm.pdf(true) - 1 / math.sqrt(math.pi)
    assert of(stats.norm(), true)["crps"] == pytest.approx(normal, rel=0.02)
    t = stats.t(3)
    integral = integrate.quad(lambda x: (t.cdf(x) - (x >= true)) ** 2, -60, 60, points=[true], limit=200)[0]
    assert of(t, true)["crps"] == pytest.approx(integral, rel=0.02)


def test_the_crps_of_a_point_is_its_absolute_error():
    sums = intervals.sums([np.zeros((1, 1, 1))] * 19, np.full((1, 1, 1), 3.0), 0.9)
    assert sums["crps"] == pytest.approx([3.0])


@pytest.mark.parametrize(("true", "covered"), [(-3.0, 0), (0.0, 1), (3.0, 0)])
def test_the_pinball_loss_of_the_ends_is_the_interval_score(true: float, covered: int):
    """Gneiting & Raftery 2007, equation 43: width + 2 / alpha times how far the value is outside; alpha / 4 of it."""
    found = of(stats.norm(), true)
    outside = max(0.0, abs(true) - found["width"] / 2)
    assert found["pinball"] == pytest.approx(0.1 / 4 * (found["width"] + 2 / 0.1 * outside))
    assert found["coverage"] == covered


def test_a_missing_value_counts_nowhere():
    true = np.array([[[1.0], [math.nan]]])
    sums = intervals.sums([np.full((1, 2, 1), float(i)) for i in range(19)], true, 0.9)
    assert all(np.isfinite(value).all() for value in sums.values())
    assert sums["width"].tolist() == [18]
