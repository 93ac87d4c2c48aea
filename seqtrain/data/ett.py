"""Electricity Transformer Temperature, hourly (Zhou et al. 2021, arXiv:2012.07436; CC BY-ND 4.0)."""

from __future__ import annotations

from seqtrain.data import Layout, Series, frames
from seqtrain.data.cache import fetch

CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")  # six loads and the temperature of the oil


class ETT:
    """One `Series` of seven channels, a row an hour, split as everyone does: 12 months of 30 days for training, 4 for
    validation, 4 for the test; what comes after is left alone. set: ETTh1 or ETTh2."""

    kind = "series"

    def __init__(self, set: str):
        file = fetch(f"ett/{set}.csv")
        (series,) = frames.to_series([frames.read_file(str(file))], Layout(CHANNELS, frequency="h"), file.name)
        self.series = series._replace(name=set).cut(0, 14400)

    def read(self, split: str) -> list[Series]:
        return frames.split([self.series], list(self.series.times[[8640, 11520]]), split)
