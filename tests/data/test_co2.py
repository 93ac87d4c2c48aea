import subprocess
import sys

import numpy as np
import pytest

from seqtrain.commands.assembly import fingerprint
from seqtrain.data.co2 import Co2


@pytest.fixture(scope="module")
def data() -> Co2:
    return Co2(valid_share=0.1, test_share=0.2)


def test_is_2284_weeks_in_parts_per_million_with_gaps(data: Co2):
    (series,) = data.read("test")
    assert series.values.shape == (2284, 1)
    assert series.layout.targets == ("co2",)
    assert series.times[0] == np.datetime64("1958-03-29")
    assert set(np.diff(series.times)) == {np.timedelta64(7, "D")}
    assert np.isnan(series.values).sum() == 59
    assert series.values[0, 0] == pytest.approx(316.1)
    assert 310 < np.nanmin(series.values) < np.nanmax(series.values) < 375


def test_targets_of_the_splits_follow_one_another(data: Co2):
    train, valid, test = (data.read(split)[0] for split in ("train", "valid", "test"))
    assert train.begin == 0
    assert valid.begin == len(train.values) == len(train.times)
    assert test.begin == len(valid.values)
    assert (len(valid.values) - valid.begin, len(test.values) - test.begin) == (228, 457)
    assert np.array_equal(test.values[: valid.begin], train.values, equal_nan=True)


def test_reading_twice_gives_the_same(data: Co2):
    again = Co2(valid_share=0.1, test_share=0.2).read("valid")[0]
    assert np.array_equal(again.values, data.read("valid")[0].values, equal_nan=True)


def test_an_unknown_split_is_refused(data: Co2):
    with pytest.raises(ValueError, match="train, valid, test, not dev"):
        data.read("dev")


def test_its_fingerprint_is_that_of_the_table_in_statsmodels(data: Co2):
    """Runs that were trained when statsmodels held the table go on with this one."""
    records = {split: data.read(split) for split in ("train", "valid", "test")}
    assert fingerprint(records) == "2acf339b297654b40a675053243cb732ba808488e5933db481c1238b4a5fabc9"


def test_it_needs_no_other_package():
    code = "import sys; sys.modules |= dict.fromkeys(('statsmodels', 'pandas')); from seqtrain.data.co2 import Co2"
    subprocess.run([sys.executable, "-c", f"{code}; print(Co2(0.1, 0.2).read('train')[0].name)"], check=True)
