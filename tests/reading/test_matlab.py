"""MATLAB files against those that scipy writes."""

import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from seqtrain.reading.matlab import read_matlab


def written(compressed: bool, **values: object) -> bytes:
    file = io.BytesIO()
    savemat(file, values, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_and_cells(compressed: bool):
    random = np.random.default_rng(0)
    rolls = np.empty(3, object)
    for i, kind in enumerate((np.uint8, np.float64, np.int32)):
        rolls[i] = random.integers(0, 9, (i + 1, 5)).astype(kind)
    found = read_matlab(written(compressed, rolls=rolls, x=np.arange(6.0).reshape(2, 3)))
    assert found["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [roll.tolist() for roll in found["rolls"]] == [roll.tolist() for roll in rolls]


def test_what_is_no_such_file_is_refused(tmp_path: Path):
    whole = written(True, x=np.arange(60.0))
    for data in (b"", b"x" * 500, whole[:-20], whole[:131]):
        with pytest.raises(ValueError, match="MATLAB"):
            read_matlab(data)
