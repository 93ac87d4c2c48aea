"""Classical forecasts beside the trained ones: ETS, ARIMA and ARIMA with Fourier terms of the year, on every window of
a split of a daily series.

    python scripts/statsmodels_baseline.py [weather] [horizon] [split] > FILE

Parameters are fitted on the training split, or on all rows before the split that is forecast, and then stay fixed, as a
trained network's do; the state goes on to the origin of each window, whose whole past is known to it. The order of an
ARIMA is that with the lowest AIC. Prints JSON: rows that were fitted -> method -> metrics in the units of the data.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np

try:
    from statsmodels.tsa.arima.model import ARIMA
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel
except ImportError:
    sys.exit("ETS and ARIMA need statsmodels: pip install statsmodels")

from seqtrain.config import build, compose, sources
from seqtrain.data.kinds import Series

ORDERS = [(p, d, q) for p, d, q in product(range(4), (0, 1), range(3)) if p or q]


def fourier(times: np.ndarray, order: int) -> np.ndarray | None:
    """(T, 2 * order) sines and cosines of the year."""
    days = (times - times.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    waves = [wave(2 * np.pi * k * days / 365.25) for k in range(1, order + 1) for wave in (np.sin, np.cos)]
    return np.stack(waves, -1) if waves else None


def arima(series: Series, fitted: int, horizon: int, harmonics: int) -> tuple[np.ndarray, Any]:
    """The (N, horizon) forecasts from each origin, and the order. fitted: rows that the parameters are fitted on."""
    values, times = series.values[:, 0], series.times
    exog = fourier(times, harmonics)

    def made(order: tuple[int, int, int], rows: int) -> ARIMA:
        trend = "c" if order[1] == 0 else "n"
        return ARIMA(values[:rows], None if exog is None else exog[:rows], order, trend=trend)

    fits = {order: made(order, fitted).fit() for order in ORDERS}
    order = min(fits, key=lambda order: fits[order].aic)
    whole = made(order, len(values)).filter(fits[order].params)
    origins = range(series.begin, len(values) - horizon + 1)
    return np.stack([whole.predict(t, t + horizon - 1, dynamic=0) for t in origins]), order


def ets(series: Series, fitted: int, horizon: int) -> np.ndarray:
    """Damped additive trend: a season of 365 days is more than ETS can have."""
    values = series.values[:, 0]
    fit: Any = ETSModel(values[:fitted], trend="add", damped_trend=True).fit(disp=False)
    whole: Any = ETSModel(values, trend="add", damped_trend=True).smooth(fit.params)
    level, slope = (np.asarray(part) for part in (whole.level, whole.slope))
    damping = fit.params[fit.model.param_names.index("damping_trend")]
    sums = np.cumsum(damping ** np.arange(1, horizon + 1))
    origins = np.arange(series.begin, len(values) - horizon + 1) - 1
    return level[origins, None] + slope[origins, None] * sums


def score(forecasts: np.ndarray, series: Series) -> dict[str, Any]:
    true = np.lib.stride_tricks.sliding_window_view(series.values[series.begin :, 0], forecasts.shape[1])
    error = forecasts - true
    mse = float((error**2).mean())
    return {"mae": float(np.abs(error).mean()), "rmse": mse**0.5, "mse": mse, "windows": len(true)}


def baselines(series: Series, fitted: int, horizon: int) -> dict[str, dict[str, Any]]:
    """Each method's metrics on the windows whose targets lie in rows `begin` to the end."""
    found = {"ETS(A,Ad,N)": score(ets(series, fitted, horizon), series)}
    for harmonics in (0, 1, 2):
        forecasts, order = arima(series, fitted, horizon, harmonics)
        name = f"ARIMA with {harmonics} Fourier pairs"
        found[name] = score(forecasts, series) | {"order": order}
    return found


def main(words: Iterable[str]) -> None:
    given = list(words)
    data, horizon, split = (*given, *("weather", "14", "test")[len(given) :])
    config = compose.compose(sources.Configs(), ["task=forecasting", f"data={data}"]).config
    source = build(config["data"])
    (train,), (series,) = source.read("train"), source.read(split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of orders that do not converge, which the AIC passes over
        rows = sorted({len(train.values), series.begin})
        found = {f"{count} rows": baselines(series, count, int(horizon)) for count in rows}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
