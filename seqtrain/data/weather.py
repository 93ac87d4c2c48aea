"""Daily weather in Seattle, 2012 to 2015 (NOAA, as vega-datasets has it)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqtrain.data import Layout, Series, frames
from seqtrain.data.cache import fetch


class Weather:
    """One `Series` of one channel, the highest temperature of the day in °C. Whole years are the splits, so that each
    has every season: 2012 and 2013 for training, 2014 for validation, 2015 for the test.

    past: other columns that are read: precipitation (mm), temp_min (°C), wind (m/s)."""

    kind = "series"

    def __init__(self, past: Sequence[str]):
        file = fetch("weather/seattle-weather.csv")
        layout = Layout(("temp_max",), past=tuple(past), frequency="D")
        (series,) = frames.to_series([frames.read_file(str(file))], layout, file.name)
        self.series = series._replace(name="Seattle")

    def read(self, split: str) -> list[Series]:
        return frames.split([self.series], [np.datetime64("2014-01-01"), np.datetime64("2015-01-01")], split)
