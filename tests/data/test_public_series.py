"""ETT and weather, where their files are."""

import os

import numpy as np
import pytest

from seqtrain.config import build
from seqtrain.data.ett import ETT
from seqtrain.data.weather import Weather
from seqtrain.storage.downloads import downloads
from seqtrain.tasks.forecasting import Forecasting

SPLITS = ("train", "valid", "test")


def needs(file: str) -> pytest.MarkDecorator:
    there = "SEQTRAIN_DATA" in os.environ and (downloads() / file).is_file()
    return pytest.mark.skipif(not there, reason=f"{file} is not in $SEQTRAIN_DATA")


def task(**changes: object) -> Forecasting:
    options = {"context": 96, "horizon": 96, "segment": 24, "apart": True, "calendar": [], "period": 24}
    options |= {"normalize": "window", "standardize": True, "interval": 0.9, "loss": "mae"}
    options |= {"monitor": "mse"}
    return build({"_target_": "seqtrain.tasks.forecasting.Forecasting", **options, **changes})


@needs("ett/ETTh1.csv")
@pytest.mark.parametrize(("horizon", "windows"), [(96, 2785), (192, 2689), (336, 2545), (720, 2161)])
def test_every_window_of_the_public_protocol_of_ett_counts(horizon: int, windows: int):
    data = ETT("ETTh1")
    made = task(horizon=horizon)
    made.fit(data.read("train"))
    assert len(made.examples(data.read("test")).ends) == 7 * windows
    assert len(made.examples(data.read("train")).ends) == 7 * (8640 - 96 - horizon + 1)


@needs("ett/ETTh1.csv")
def test_the_naive_forecasts_of_etth1_have_their_known_errors():
    data = ETT("ETTh1")
    made = task()
    made.fit(data.read("train"))
    found = made.baselines(data.read("train"), data.read("test"))
    assert found["repeat last"]["mse"] == pytest.approx(1.294, abs=5e-4)  # 1.294, 0.713: Zeng et al. 2023, table 2
    assert found["repeat last"]["mae"] == pytest.approx(0.713, abs=5e-4)
    assert found["seasonal naive, period 24"]["mse"] == pytest.approx(0.512, abs=5e-4)


@needs("ett/ETTh1.csv")
def test_the_splits_of_ett_follow_one_another():
    train, valid, test = (ETT("ETTh1").read(split)[0] for split in SPLITS)
    assert [(part.begin, len(part.values)) for part in (train, valid, test)] == [
        (0, 8640),
        (8640, 11520),
        (11520, 14400),
    ]
    assert train.layout.targets == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert str(train.times[0]) == "2016-07-01T00:00:00"
    assert train.values[0, -1] == pytest.approx(30.531)


@needs("weather/seattle-weather.csv")
def test_the_splits_of_the_weather_are_years():
    train, valid, test = (Weather(["wind", "temp_min"]).read(split)[0] for split in SPLITS)
    years = [part.times[part.begin :].astype("datetime64[Y]").astype(str) for part in (train, valid, test)]
    assert [sorted(set(found)) for found in years] == [["2012", "2013"], ["2014"], ["2015"]]
    assert train.values[0].tolist() == [12.8]
    assert train.past is not None
    assert train.past[0].tolist() == [4.7, 5.0]
    assert not np.isnan(test.values).any()
