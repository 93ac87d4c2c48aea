"""Electricity Transformer Temperature, hourly (Zhou et al. 2021, arXiv:2012.07436; CC BY-ND 4.0)."""

from __future__ import annotations

from seqtrain.data.kinds import Layout
from seqtrain.reading.splits import TimeSplits
from seqtrain.reading.tables import open_table
from seqtrain.reading.time_tables import to_series
from seqtrain.storage.downloads import fetch

CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")  # six loads and the temperature of the oil


class ETT(TimeSplits):
    """One `Series` of seven channels, a row an hour, with the usual splits: 12 months of 30 days for training, 4 for
    validation, 4 for the test; later rows are not used."""

    def __init__(self, set: str):
        file = fetch(f"ett/{set}.csv")
        table = open_table(str(file), "data", {}).frame()
        (series,) = to_series([table], Layout(CHANNELS, frequency="h"), file.name)
        super().__init__([series._replace(name=set).cut(0, 14400)], list(series.times[[8640, 11520]]))
