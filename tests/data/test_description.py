import numpy as np

from seqtrain.data import Layout, Series
from seqtrain.data.description import describe_series


def make(name: str, rows: int, begin: int = 0, gaps: tuple[int, ...] = ()) -> Series:
    values = np.arange(float(rows))[:, None]
    values[list(gaps)] = np.nan
    times = np.datetime64("2024-01-01") + np.arange(rows)
    return Series(name, times, values, begin, Layout(("sales",), known=("holiday",), frequency="D"))


def test_series_in_a_few_lines():
    train = [make("a", 20, gaps=(3, 4, 5, 9)), make("b", 7), make("c", 6)]
    found = describe_series({"train": train, "valid": [make("a", 30, begin=20), make("b", 22, begin=20)]}, 5, 3)
    assert found == [
        "3 series of sales, one row every D; known ahead: holiday",
        "train: 2024-01-01 to 2024-01-20, 33 steps, 13 windows, 12.12% missing, the longest gap 3 steps",
        "train: 2 series too short for a window of 5 + 3 steps: b, c; task.context=3 would take all",
        "valid: 2024-01-21 to 2024-01-30, 12 steps, 8 windows, nothing missing",
        "valid: 1 series too short for a window of 5 + 3 steps: b; the shortest part has 2 steps, "
        "which task.horizon may not exceed",
    ]
