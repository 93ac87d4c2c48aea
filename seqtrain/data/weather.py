"""Daily weather in Seattle, 2012 to 2015 (NOAA, as vega-datasets has it)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqtrain.data.kinds import Layout
from seqtrain.reading.splits import TimeSplits
from seqtrain.reading.tables import open_table
from seqtrain.reading.time_tables import to_series
from seqtrain.storage.downloads import fetch


class Weather(TimeSplits):
    """One `Series` of one channel, the highest temperature of the day in °C. Whole years are the splits, so that each
    has every season: 2012 and 2013 for training, 2014 for validation, 2015 for the test. Other columns are
    precipitation (mm), temp_min (°C) and wind (m/s)."""

    def __init__(self, past: Sequence[str]):
        file = fetch("weather/seattle-weather.csv")
        layout = Layout(("temp_max",), past=tuple(past), frequency="D")
        (series,) = to_series([open_table(str(file), "data", {}).frame()], layout, file.name)
        borders = [np.datetime64("2014-01-01"), np.datetime64("2015-01-01")]
        super().__init__([series._replace(name="Seattle")], borders)
