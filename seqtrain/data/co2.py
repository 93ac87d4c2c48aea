"""Weekly atmospheric CO2 at Mauna Loa, 1958 to 2001 (Keeling & Whorf 2004). The table is in the public domain."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from seqtrain.data.kinds import Layout, Series
from seqtrain.reading.splits import TimeSplits, borders_by_share


class Co2(TimeSplits):
    """One `Series` of one channel, parts per million, a row a week, missing weeks NaN.

    Splits by time: the last `test_share` of the weeks, the `valid_share` before them, and the rest.
    """

    def __init__(self, valid_share: float, test_share: float):
        with files("seqtrain.data").joinpath("co2.csv").open(encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("#")]
        table = np.genfromtxt(lines, dtype="M8[D],f8", delimiter=",", names=("date", "ppm"), skip_header=1)
        layout = Layout(("co2",), frequency="W-SAT")
        series = Series("co2", table["date"], table["ppm"][:, None], begin=0, layout=layout)
        super().__init__([series], borders_by_share([series], valid_share, test_share))
