"""Weekly atmospheric CO2 at Mauna Loa, 1958 to 2001 (Keeling & Whorf 2004), as it ships with statsmodels."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np

from seqtrain.data import Layout, Series, check_split


def table() -> Path:
    """The file inside the installed statsmodels, found without importing it: that takes seconds."""
    package = importlib.util.find_spec("statsmodels")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("data=co2 reads a table that ships with statsmodels, which is not installed")
    return Path(package.submodule_search_locations[0], "datasets", "co2", "co2.csv")


class Co2:
    """One `Series` of one channel, parts per million, a row a week, missing weeks NaN.

    Splits by time: the last `test_share` of the weeks, the `valid_share` before them, and the rest.
    """

    kind = "series"

    def __init__(self, valid_share: float, test_share: float):
        with table().open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        days = [f"{row['date'][:4]}-{row['date'][4:6]}-{row['date'][6:]}" for row in rows]
        self.times = np.array(days, dtype="datetime64[D]")
        self.values = np.array([[float(row["co2"] or "nan")] for row in rows])
        valid, test = (round(len(rows) * share) for share in (valid_share + test_share, test_share))
        self.spans = {
            "train": (0, len(rows) - valid),
            "valid": (len(rows) - valid, len(rows) - test),
            "test": (len(rows) - test, len(rows)),
        }

    def read(self, split: str) -> list[Series]:
        check_split(split)
        begin, end = self.spans[split]
        return [Series("co2", self.times[:end], self.values[:end], begin, Layout(("co2",), frequency="W-SAT"))]
