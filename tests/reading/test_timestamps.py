"""Dates as tables write them: read, brought to a clock with a regular step, and written again."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import read

from seqtrain.codecs.calendar import calendar_features
from seqtrain.config import UserError, build
from seqtrain.data.kinds import Layout, Reading, Series
from seqtrain.reading.frequency import date_range
from seqtrain.reading.timestamps import local, write


def own(place: Path, dates: Any, **options: Any) -> Series:
    """The series of a CSV file with these dates, or, if they are not text, of a Parquet file."""
    file, table = place / "t.csv", pd.DataFrame({"date": dates, "sales": np.arange(len(dates)) * 1.5})
    if isinstance(dates, list):
        table.to_csv(file, index=False)
    else:
        file = place / "t.parquet"
        table.to_parquet(file)
    (series,) = build(read("data", "series") | {"train": str(file)} | options).series
    return series


def clock(series: Series) -> list[str]:
    return local(series.times, series.layout).astype("datetime64[m]").astype(str).tolist()


def ahead(series: Series, size: int = 2) -> list[Any]:
    """The next dates, as a forecast writes them."""
    layout = series.layout
    return write(
        date_range(series.times[0], str(layout.frequency), periods=len(series.times) + size)[-size:].to_numpy(), layout
    )


@pytest.mark.parametrize(
    ("dates", "frequency", "first", "following"),
    [
        (["2010-01-15", "2010-02-15", "2010-04-15"], "month", "2010-01-15", ["2010-05-15", "2010-06-15"]),
        (["2010-01-31", "2010-02-28", "2010-03-31"], "ME", "2010-01-31", ["2010-04-30", "2010-05-31"]),
        (["2000Q1", "2000Q2", "2000Q3"], "QS-JAN", "2000-01-01", ["2000Q4", "2001Q1"]),
        (["2000-Q1", "2000-Q2", "2000-Q3"], "QS-JAN", "2000-01-01", ["2000-Q4", "2001-Q1"]),
        (["Q3 2000", "Q4 2000", "Q1 2001"], "QS-JUL", "2000-07-01", ["Q2 2001", "Q3 2001"]),
        (["2024-W51", "2024-W52", "2025-W01"], "7D", "2024-12-16", ["2025-W02", "2025-W03"]),
        (["2024W51", "2024W52", "2025W01"], "7D", "2024-12-16", ["2025W02", "2025W03"]),
        (["2024-01", "2024-02", "2024-03"], "MS", "2024-01-01", ["2024-04", "2024-05"]),
        ([1999, 2000, 2001], "YS-JAN", "1999-01-01", ["2002", "2003"]),
        ([200011, 200012, 200101], "MS", "2000-11-01", ["200102", "200103"]),
        ([1_000_000, 1_000_001, 1_000_002], "step", "1970-01-12", [1_000_003, 1_000_004]),
        ([20240130, 20240131, 20240201], "D", "2024-01-30", ["2024-02-02", "2024-02-03"]),
        ([1704067200, 1704070800, 1704074400], "h", "2024-01-01", [1704078000, 1704081600]),
        ([1704067200000, 1704067260000, 1704067320000], "min", "2024-01-01", [1704067380000, 1704067440000]),
        ([0, 1, 2, 4], "step", "1970-01-01", [5, 6]),
        ([100, 110, 120], "10step", "1970-01-01", [130, 140]),
    ],
)
def test_the_common_forms_are_read_and_written_again(
    tmp_path: Path, dates: list[Any], frequency: str, first: str, following: list[Any]
):
    series = own(tmp_path, dates)
    assert series.layout.frequency == frequency
    assert clock(series)[0][:10] == first
    assert ahead(series) == following


def test_other_forms_are_named(tmp_path: Path):
    for form, dates in {
        "%d.%m.%Y": ["01.02.2024", "02.02.2024", "03.02.2024"],
        "%d/%m/%Y": ["01/02/2024", "02/02/2024", "03/02/2024"],
        "%Y%j": ["2024032", "2024033", "2024034"],
    }.items():
        assert clock(own(tmp_path, dates, date_format=form))[0] == "2024-02-01T00:00"
    assert ahead(own(tmp_path, ["02/2024", "03/2024", "04/2024"], date_format="%m/%Y")) == ["05/2024", "06/2024"]
    assert ahead(own(tmp_path, ["5/2024", "6/2024", "7/2024"], date_format="%V/%G"))[0] == "08/2024"
    with pytest.raises(UserError, match=r"line 4: date is '2000Q5', which is not a date of the form %YQ%q$"):
        own(tmp_path, ["2000Q1", "2000Q2", "2000Q5"], date_format="%YQ%q")
    with pytest.raises(UserError, match=r"line 3: date is empty; write the date, or leave the row out"):
        own(tmp_path, ["2000Q1", "", "2000Q3"])


@pytest.mark.parametrize(
    ("dates", "cure"),
    [
        (
            ["01/02/2024", "02/02/2024"],
            r"data\.date_format=%d/%m/%Y or data\.date_format=%m/%d/%Y reads it, depending on its meaning",
        ),
        (["01/02/2024", "13/02/2024"], r"data\.date_format=%d/%m/%Y reads it"),
        (["31.12.2023 17:00", "31.12.2023 18:00"], r"'data\.date_format=%d\.%m\.%Y %H:%M' reads it"),
        (["1 January 2024", "2 January 2024"], r"'data\.date_format=%d %B %Y' reads it"),
        (["2024M01", "2024M02"], r"data\.date_format=%YM%m reads it"),
        (["soon", "later"], r"other forms need data\.date_format, such as %d/%m/%Y"),
    ],
)
def test_a_form_that_is_not_clear_is_proposed_and_not_guessed(tmp_path: Path, dates: list[str], cure: str):
    with pytest.raises(UserError, match=rf"line 2: date is '{dates[0]}', which is not a date such as 2024-.*; {cure}$"):
        own(tmp_path, dates)


def test_periods_of_pandas_are_dates(tmp_path: Path):
    assert clock(own(tmp_path, pd.period_range("2024-01", periods=3, freq="M")))[-1] == "2024-03-01T00:00"
    assert own(tmp_path, pd.period_range("2024Q1", periods=3, freq="Q")).layout.frequency == "QS-JAN"


# ---------------------------------------------------------------------------------------------------- zones

BERLIN = "Europe/Berlin"  # 2024: the clocks went forward on 31 March, and back on 27 October
DAYS = pd.date_range("2024-03-29", periods=5, freq="D", tz=BERLIN)
HOURS = pd.date_range("2024-10-26 22:00", periods=8, freq="h", tz=BERLIN)


def test_days_with_an_offset_stay_local_days_and_get_it_back(tmp_path: Path):
    tokyo = own(tmp_path, [f"2024-01-0{day}T00:00:00+09:00" for day in range(1, 5)])
    assert (tokyo.layout.frequency, tokyo.layout.reading.timezone) == ("D", "+09:00")
    assert clock(tokyo)[0] == "2024-01-01T00:00"
    assert ahead(tokyo, 1) == ["2024-01-05T00:00:00+09:00"]
    assert ahead(own(tmp_path, ["2024-01-01 00:00Z", "2024-01-02 00:00Z"]), 1) == ["2024-01-03T00:00:00+00:00"]
    assert ahead(own(tmp_path, ["2024-01-01 00:00:00 UTC", "2024-01-02 00:00:00 UTC"]), 1)[0].startswith("2024-01-03T")


def test_days_over_the_change_to_summer_time_stay_days(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING")
    written = [day.isoformat() for day in DAYS]
    mixed = own(tmp_path, written)
    assert mixed.layout.frequency == "D"
    assert ahead(mixed, 1) == ["2024-04-03"]
    assert "several offsets from UTC, as with summer time: their days are kept" in caplog.text
    caplog.clear()
    for dates, options in ((written, {"timezone": BERLIN}), (DAYS, {}), (DAYS.tz_convert("UTC"), {"timezone": BERLIN})):
        series = own(tmp_path, dates, **options)
        assert clock(series) == [f"2024-03-{day}T00:00" for day in (29, 30, 31)] + [
            "2024-04-01T00:00",
            "2024-04-02T00:00",
        ]
        assert ahead(series, 1) == ["2024-04-03T00:00:00+02:00"]
    assert not caplog.records[1:]


def test_hours_over_the_end_of_summer_time_are_regular(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING")
    written, naive = [hour.isoformat() for hour in HOURS], HOURS.tz_localize(None).astype(str).tolist()
    for dates, options in ((written, {"timezone": BERLIN}), (HOURS, {}), (naive, {"timezone": BERLIN})):
        series = own(tmp_path, dates, **options)
        assert series.layout.frequency == "h"
        assert clock(series) == HOURS.tz_localize(None).to_numpy().astype("datetime64[m]").astype(str).tolist()
        assert ahead(series, 1) == ["2024-10-27T05:00:00+01:00"]
    assert len(caplog.records) == 0
    assert ahead(own(tmp_path, written), 1) == ["2024-10-27T04:00:00+00:00"]
    assert "several offsets from UTC, as with summer time: UTC is used; data.timezone=NAME" in caplog.text


def test_what_the_change_makes_ambiguous_is_named_as_such(tmp_path: Path):
    naive = HOURS.tz_localize(None).astype(str).tolist()
    with pytest.raises(UserError, match=r"come twice: 2024-10-27 02:00:00 .*where the clocks went back, the zone"):
        own(tmp_path, naive)
    with pytest.raises(UserError, match=r"line 6: 2024-10-27 02:00:00 may be before or after the clocks go back"):
        own(tmp_path, [*naive[:4], *naive[5:]], timezone=BERLIN, frequency="h")
    with pytest.raises(UserError, match=r"line 3: 2024-03-31 02:00:00 does not exist: the clocks go forward over it"):
        own(tmp_path, ["2024-03-31 01:00", "2024-03-31 02:00", "2024-03-31 03:00"], timezone=BERLIN)
    with pytest.raises(UserError, match=r"line 3: 2024-01-02 00:00:00 has no offset from UTC, and others have"):
        own(tmp_path, ["2024-01-01 00:00Z", "2024-01-02 00:00"])
    with pytest.raises(UserError, match=r"data\.timezone=Europe/Berln: there is no such time zone.*Europe/Berlin"):
        own(tmp_path, naive, timezone="Europe/Berln")


def test_the_calendar_is_that_of_the_zone(tmp_path: Path):
    series = own(tmp_path, HOURS)
    hours = calendar_features(local(series.times, series.layout), ["hour_of_day"])
    expected = 2 * np.pi * np.array([22, 23, 0, 1, 2, 2, 3, 4]) / 24
    np.testing.assert_allclose(hours, np.stack([np.sin(expected), np.cos(expected)], 1), atol=1e-12)


def test_a_reading_without_settings_adds_nothing_to_a_hash():
    assert list(Reading()) == []
    assert list(Layout(("a",)).reading) == []
    assert list(Reading(timezone="UTC", aggregate="sum")) == ["timezone=UTC", "aggregate=sum"]


def test_fractions_of_a_second_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    series = own(tmp_path, [f"2024-01-01 00:00:00.{i}" for i in range(5)])
    assert series.layout.frequency == "100ms"
    assert np.diff(series.times).tolist() == [np.timedelta64(100, "ms")] * 4
