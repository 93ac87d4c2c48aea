import numpy as np
import pytest

from seqtrain.codecs.calendar import PHASES, calendar_features


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("minute_of_hour", 45 / 60),
        ("hour_of_day", 17 / 24),
        ("day_of_week", 3 / 7),  # a Thursday
        ("day_of_month", 28 / 31),
        ("day_of_year", 59 / 365.25),
        ("month_of_year", 1 / 12),
    ],
)
def test_the_phase_of_a_leap_day(name: str, phase: float):
    times = np.array(["2024-02-29T17:45"], "datetime64[m]")
    assert PHASES[name](times.astype("datetime64[s]")) == pytest.approx(phase)
    np.testing.assert_allclose(
        calendar_features(times, [name]), [[np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)]], rtol=1e-6
    )


def test_features_stand_side_by_side():
    times = np.datetime64("1969-12-29") + np.arange(8)  # a Monday, before 1970
    both = calendar_features(times, ["day_of_week", "day_of_year"])
    assert both.shape == (8, 4)
    np.testing.assert_allclose(both[0, :2], [0, 1])
    np.testing.assert_allclose(both[7, :2], [0, 1], atol=1e-6)
    assert calendar_features(times, []).shape == (8, 0)
