"""Classical forecasts beside the trained ones: ETS, ARIMA and ARIMA with Fourier terms of the year, on every window of
a split of a daily series.

    python scripts/statsmodels_baseline.py [weather] [horizon] [split] > FILE

Parameters are fitted on the rows before the split and then stay fixed, as a trained network's do; the state goes on to
the origin of each window, whose whole past is known to it. The order of an ARIMA is that with the lowest AIC. Prints
JSON: method -> metrics in the units of the data, the order, and what it was fitted on.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
from statsmodels.tsa.arima.model import ARIMA
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from seqtrain.config import build, compose, sources
from seqtrain.data import Series

ORDERS = [(p, d, q) for p, d, q in product(range(4), (0, 1), range(3)) if p or q]


def fourier(times: np.ndarray, order: int) -> np.ndarray | None:
    """(T, 2 * order) sines and cosines of the year."""
    days = (times - times.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    waves = [wave(2 * np.pi * k * days / 365.25) for k in range(1, order + 1) for wave in (np.sin, np.cos)]
    return np.stack(waves, -1) if waves else None


def arima(values: np.ndarray, times: np.ndarray, begin: int, horizon: int, harmonics: int) -> tuple[np.ndarray, Any]:
    """The (N, horizon) forecasts from each origin, and the order."""
    exog = fourier(times, harmonics)

    def made(order: tuple[int, int, int], rows: int) -> ARIMA:
        trend = "c" if order[1] == 0 else "n"
        return ARIMA(values[:rows], None if exog is None else exog[:rows], order, trend=trend)

    fits = {order: made(order, begin).fit() for order in ORDERS}
    order = min(fits, key=lambda order: fits[order].aic)
    whole = made(order, len(values)).filter(fits[order].params)
    origins = range(begin, len(values) - horizon + 1)
    return np.stack([whole.predict(t, t + horizon - 1, dynamic=0) for t in origins]), order


def ets(values: np.ndarray, begin: int, horizon: int) -> np.ndarray:
    """Damped additive trend: a season of 365 days is more than ETS can have."""
    fitted: Any = ETSModel(values[:begin], trend="add", damped_trend=True).fit(disp=False)
    whole: Any = ETSModel(values, trend="add", damped_trend=True).smooth(fitted.params)
    level, slope = (np.asarray(part) for part in (whole.level, whole.slope))
    damping = fitted.params[fitted.model.param_names.index("damping_trend")]
    sums = np.cumsum(damping ** np.arange(1, horizon + 1))
    origins = np.arange(begin, len(values) - horizon + 1) - 1
    return level[origins, None] + slope[origins, None] * sums


def score(forecasts: np.ndarray, values: np.ndarray, begin: int) -> dict[str, float]:
    true = np.lib.stride_tricks.sliding_window_view(values[begin:], forecasts.shape[1])
    error = forecasts - true
    mse = float((error**2).mean())
    return {"mae": float(np.abs(error).mean()), "rmse": mse**0.5, "mse": mse, "windows": len(true)}


def baselines(series: Series, horizon: int) -> dict[str, dict[str, Any]]:
    """Each method's metrics on the windows whose targets lie in rows `begin` to the end."""
    values, begin = series.values[:, 0], series.begin
    found: dict[str, dict[str, Any]] = {"ETS(A,Ad,N)": score(ets(values, begin, horizon), values, begin)}
    for harmonics in (0, 1, 2):
        forecasts, order = arima(values, series.times, begin, horizon, harmonics)
        name = f"ARIMA + {harmonics} Fourier pair(s)" if harmonics else "ARIMA"
        found[name] = score(forecasts, values, begin) | {"order": order}
    return {name: metrics | {"fitted on": f"{begin} rows before the split"} for name, metrics in found.items()}


def main(words: Iterable[str]) -> None:
    given = list(words)
    data, horizon, split = (*given, *("weather", "14", "test")[len(given) :])
    config = compose.compose(sources.Configs(), ["task=forecasting", f"data={data}"]).config
    (series,) = build(config["data"]).read(split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orders that do not converge are not chosen
        print(json.dumps(baselines(series, int(horizon)), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
