"""What stays the same in each series, such as the type of a shop, as numbers that stand at every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqtrain.data.kinds import Series


def static_features(records: Sequence[Series]) -> dict[str, list[float]]:
    """The numbers of each series, by its name: of a column of numbers its standard scores over the series, of another
    column a 1 for the category of the series and a 0 for each other one."""
    columns = [np.zeros((len(records), 0))]
    for values in zip(*(series.static for series in records), strict=True):
        if all(isinstance(value, float) for value in values):
            column = np.array(values)[:, None]
            columns.append((column - column.mean()) / (column.std() or 1.0))
        else:
            columns.append(
                np.array([[value == category for category in sorted(set(values))] for value in values], float)
            )
    rows = np.concatenate(columns, 1).tolist()
    return dict(zip((series.name for series in records), rows, strict=True))
