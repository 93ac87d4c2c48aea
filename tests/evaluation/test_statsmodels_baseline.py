"""scripts/statsmodels_baseline.py: forecasts from each origin with fixed parameters."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.data.kinds import Layout, Series

ARIMA = pytest.importorskip("statsmodels.tsa.arima.model").ARIMA
ETSModel = pytest.importorskip("statsmodels.tsa.exponential_smoothing.ets").ETSModel


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("baseline", Path("scripts", "statsmodels_baseline.py"))
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def series() -> Series:
    random = np.random.default_rng(0)
    times = np.datetime64("2020-01-01") + np.arange(60)
    values = 10 + np.cumsum(random.normal(size=60)) + np.sin(np.arange(60) / 5)
    return Series("s", times, values[:, None], 50, Layout(("a",)))


def test_forecasts_are_those_of_a_model_that_saw_the_past_only(script: Any, series: Series):
    values = series.values[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script.ORDERS = [(1, 0, 0)]
        found, order = script.arima(series, 50, 4, 1)
        exog = script.fourier(series.times, 1)
        fitted: Any = ARIMA(values[:50], exog[:50], order, trend="c").fit()
        smooth: Any = ETSModel(values[:50], trend="add", damped_trend=True).fit(disp=False)
    assert found.shape == (60 - 50 - 4 + 1, 4)
    np.testing.assert_allclose(found[0], fitted.forecast(4, exog=exog[50:54]), rtol=1e-6)
    later = fitted.append(values[50:53], exog=exog[50:53]).forecast(4, exog=exog[53:57])
    np.testing.assert_allclose(found[3], later, rtol=1e-6)
    np.testing.assert_allclose(script.ets(series, 50, 4)[0], smooth.forecast(4), rtol=1e-6)


def test_a_score_counts_every_window(script: Any, series: Series):
    values = np.array([9.0, 1, 2, 3, 4])[:, None]
    found = script.score(np.zeros((3, 2)), series._replace(values=values, begin=1))
    assert found == {"mae": 15 / 6, "mse": (1 + 4 + 4 + 9 + 9 + 16) / 6, "rmse": (43 / 6) ** 0.5, "windows": 3}
