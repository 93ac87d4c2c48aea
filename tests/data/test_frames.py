import gzip
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seqtrain.config import UserError
from seqtrain.data import Layout, Series, frames
from seqtrain.data.series import OwnSeries

HEAD = "date,shop,sales,holiday"
ROWS = [f"2024-01-{i + 1:02},north,{i}.5,{i % 2}" for i in range(10)]
OPTIONS: dict[str, Any] = dict.fromkeys(("valid", "test", "id", "frequency", "date_format"))
OPTIONS |= {"date": "date", "targets": ["sales"], "past": [], "known": [], "valid_share": 0.2, "test_share": 0.3}
OPTIONS |= {"encoding": "utf-8"}


def table(place: Path, *lines: str, name: str = "t.csv") -> str:
    file = place / name
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def own(file: str, **changes: Any) -> OwnSeries:
    return OwnSeries(**OPTIONS | {"train": file} | changes)


def only(file: str, **changes: Any) -> Series:
    (series,) = own(file, **changes).series
    return series


# ---------------------------------------------------------------------------------------------------- what is read


def test_columns_become_values_and_covariates(tmp_path: Path):
    data = own(table(tmp_path, HEAD, *ROWS, ROWS[3].replace("north", "south")), id="shop", known=["holiday"])
    north, south = data.series
    assert (north.name, south.name) == ("north", "south")
    assert north.layout == Layout(("sales",), (), ("holiday",), "date", "shop", "D", None)
    assert north.values[:, 0].tolist() == [i + 0.5 for i in range(10)]
    assert north.known is not None
    assert north.known[:, 0].tolist() == [0, 1] * 5
    assert north.times[[0, -1]].astype("datetime64[D]").astype(str).tolist() == ["2024-01-01", "2024-01-10"]
    assert south.values.tolist() == [[3.5]]


def test_by_default_all_other_columns_are_targets(tmp_path: Path):
    rows = [row.replace("north", "7") for row in ROWS]
    assert only(table(tmp_path, HEAD, *rows), targets=[], known=["holiday"]).layout.targets == ("shop", "sales")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.parquet.gz", "t.tsv", "semicolon.csv", "bom.csv"])
def test_every_kind_of_file_reads_the_same(tmp_path: Path, name: str):
    expected, file = only(table(tmp_path, HEAD, *ROWS)), tmp_path / name
    lines = "\n".join([HEAD, *ROWS])
    if "parquet" in name:
        frame = pd.DataFrame([row.split(",") for row in ROWS], columns=HEAD.split(","))
        frame = frame.assign(date=pd.to_datetime(frame.date), sales=frame.sales.astype(float))
        file.write_bytes(frame.to_parquet())
    else:
        by = {"t.tsv": "\t", "semicolon.csv": ";"}.get(name, ",")
        file.write_text(("\ufeff" if name == "bom.csv" else "") + lines.replace(",", by), encoding="utf-8")
    if name.endswith(".gz"):
        file.write_bytes(gzip.compress(file.read_bytes()))
    found = only(str(file))
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.times, expected.times)


def test_gaps_become_missing_rows_and_disorder_is_sorted_and_both_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    expected = only(table(tmp_path, HEAD, *ROWS))
    rows = [ROWS[i] for i in (0, 1, 2, 9, 5, 6, 7, 8, 4)]
    rows[1] = rows[1].replace("1.5", "NA")
    found = only(table(tmp_path, HEAD, *rows[:4], "", *rows[4:]))
    np.testing.assert_array_equal(found.times, expected.times)
    assert np.flatnonzero(np.isnan(found.values[:, 0])).tolist() == [1, 3]
    np.testing.assert_array_equal(found.values[4:], expected.values[4:])
    told = caplog.text
    assert "the rows were not in the order of their dates; they were sorted" in told
    assert "1 dates have no row, the first is 2024-01-04; they count as missing" in told
    assert "the dates are D apart" in told


@pytest.mark.parametrize(
    ("dates", "frequency"),
    [
        (pd.date_range("2024-01-01", periods=9, freq="h"), "h"),
        (pd.date_range("2024-01-01", periods=9, freq="15min"), "15min"),
        (pd.date_range("2024-01-01", periods=9, freq="7D"), "7D"),
        (pd.date_range("2024-01-01", periods=9, freq="B"), "B"),
        (pd.date_range("2024-01-01", periods=30, freq="MS").delete(7), "MS"),
        (pd.date_range("2024-01-31", periods=30, freq="ME"), "ME"),
        (pd.date_range("2023-02-01", periods=9, freq="QS-FEB"), "QS-FEB"),
        (pd.date_range("2001-12-31", periods=9, freq="YE"), "YE-DEC"),
    ],
)
def test_the_step_is_told_by_the_dates(tmp_path: Path, dates: pd.DatetimeIndex, frequency: str):
    series = only(table(tmp_path, "date,sales", *(f"{date},{i}" for i, date in enumerate(dates))))
    assert series.layout.frequency == frequency
    assert set(dates.to_numpy().astype("datetime64[s]")) <= set(series.times)
    assert len(series.times) == len(pd.date_range(dates[0], dates[-1], freq=frequency))


def test_dates_with_a_zone_are_taken_to_utc_and_other_forms_are_named(tmp_path: Path):
    zoned = only(table(tmp_path, "date,sales", "2024-03-31T00:00+01:00,1", "2024-03-31T03:00+02:00,2"), frequency="2h")
    assert zoned.times.astype(str).tolist() == ["2024-03-30T23:00:00", "2024-03-31T01:00:00"]
    named = only(table(tmp_path, "date,sales", "01.02.2024,1", "02.02.2024,2", "03.02.2024,3"), date_format="%d.%m.%Y")
    assert named.times.astype("datetime64[D]").astype(str).tolist() == ["2024-02-01", "2024-02-02", "2024-02-03"]


# ---------------------------------------------------------------------------------------------------- splits


def test_splits_are_cut_at_the_same_dates_for_all(tmp_path: Path):
    data = own(table(tmp_path, HEAD, *ROWS, *(row.replace("north", "south") for row in ROWS[4:])), id="shop")
    spans = {split: [(one.name, one.begin, len(one.values)) for one in data.read(split)] for split in frames.SPLITS}
    assert spans == {
        "train": [("north", 0, 5), ("south", 0, 1)],
        "valid": [("north", 5, 7), ("south", 1, 3)],
        "test": [("north", 7, 10), ("south", 3, 6)],
    }
    with pytest.raises(ValueError, match="train, valid, test, not dev"):
        data.read("dev")


def test_files_can_be_the_splits(tmp_path: Path):
    files = [table(tmp_path, HEAD, *ROWS[i:j], name=f"{i}.csv") for i, j in ((0, 5), (5, 8), (8, 10))]
    data = own(files[0], valid=files[1], test=files[2])
    assert [(one.begin, len(one.values)) for split in frames.SPLITS for one in data.read(split)] == [
        (0, 5),
        (5, 8),
        (8, 10),
    ]
    with pytest.raises(
        UserError, match=r"5\.csv begins at 2024-01-06 .*, and .*8\.csv ends at 2024-01-10 .*follow one"
    ):
        own(files[0], valid=files[2], test=files[1])
    with pytest.raises(UserError, match=r"valid and data\.test: give both"):
        own(files[0], valid=files[1])


# ---------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("lines", "options", "problem"),
    [
        ([HEAD, *ROWS], {"targets": ["sale"]}, "there is no column sale.*sales.*it has date, shop, sales, holiday"),
        ([HEAD, *ROWS], {"known": ["sales"]}, "the column sales is named twice in the settings"),
        ([HEAD, *ROWS], {"targets": ["shop"]}, r"line 2: shop is 'north', which is no number \(10 cells"),
        ([HEAD, *ROWS[:3], ROWS[3].replace("3.5", "3,5")], {}, "line 5: 5 cells; the head has 4 columns"),
        ([HEAD, *ROWS[:3], ROWS[3].replace("3.5", "inf")], {}, "line 5: sales is 'inf', which is no number$"),
        ([HEAD, *ROWS, ROWS[2]], {}, r"1 date\(s\) come twice: 2024-01-03 \(.*line 12\); keep one.*data\.id=COLUMN"),
        (
            [HEAD, *ROWS, ROWS[2]],
            {"id": "shop"},
            r"come twice: 2024-01-03 of north \(.*line 12\); keep one row a date$",
        ),
        (
            [HEAD, *ROWS[:2], "31/12/2024,a,1,1"],
            {},
            "line 4: date is '31/12/2024', which is no date such as .*date_format",
        ),
        (
            [HEAD, *ROWS],
            {"date_format": "%d/%m/%Y"},
            "line 2: date is '2024-01-01', which is no date of the form %d/%m",
        ),
        ([HEAD, *ROWS, "2024-01-10 12:00,a,1,1"], {}, "line 12: 2024-01-10 12:00:00 lies between the steps of D"),
        ([HEAD, *ROWS, "2124-01-10,a,1,1"], {}, "36,534 steps of D, and only 11 rows; check these two"),
        ([HEAD, *ROWS], {"frequency": "fortnight"}, "data.frequency=fortnight: pandas knows no such step"),
        ([HEAD, ROWS[0]], {}, "one row a series does not tell the step"),
        ([HEAD], {}, "there are no rows below the names of the columns"),
        (["date,sales,sales", "2024-01-01,1,2"], {}, "there are two columns of the name sales"),
        ([HEAD, "2024-01-01,a,,1", "2024-01-02,a,,1"], {}, "the column sales holds no number at all"),
        ([HEAD, *ROWS], {"valid_share": 0.5, "test_share": 0.5}, "leave nothing to train on"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, lines: list[str], options: dict[str, Any], problem: str):
    with pytest.raises(UserError, match=problem):
        own(table(tmp_path, *lines), **options)


def test_files_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    there = table(tmp_path, HEAD, *ROWS)
    with pytest.raises(UserError, match=r"s\.csv: there is no such file.*t\.csv"):
        own(there.replace("t.csv", "s.csv"))
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty\.csv: the file is empty"):
        own(str(tmp_path / "empty.csv"))
    (tmp_path / "latin.csv").write_bytes(f"{HEAD}\n{ROWS[0]}\n{ROWS[1]}\n".replace("north", "Köln").encode("latin1"))
    with pytest.raises(
        UserError, match=r"latin\.csv: not UTF-8 at line 2; it looks like cp1252: data\.encoding=cp1252 reads"
    ):
        own(str(tmp_path / "latin.csv"))
    assert only(str(tmp_path / "latin.csv"), encoding="cp1252", id="shop", targets=["sales"]).name == "Köln"
    with pytest.raises(UserError, match=r"data\.encoding=utf9: there is no such encoding; did you mean utf-8"):
        own(there, encoding="utf9")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(Path(there).read_bytes())[:-30])
    with pytest.raises(UserError, match=r"data\.train=.*cut\.csv\.gz: the gzipped file is damaged or cut off"):
        own(str(tmp_path / "cut.csv.gz"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"bad\.parquet: this is no whole Parquet file"):
        own(str(tmp_path / "bad.parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"Parquet needs pyarrow: pip install 'seqtrain\[parquet\]'"):
        own(str(tmp_path / "bad.parquet"))


def test_pandas_is_imported_for_the_first_table_and_not_before():
    code = "import sys, seqtrain.data.series, seqtrain.tasks.forecasting; print('pandas' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
