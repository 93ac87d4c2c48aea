import gzip
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seqtrain.codecs.static import static_features
from seqtrain.config import UserError
from seqtrain.data.kinds import SPLITS, Layout, Series
from seqtrain.data.series import OwnSeries
from seqtrain.reading.frequency import date_range

HEAD = "date,shop,sales,holiday"
ROWS = [f"2024-01-{i + 1:02},north,{i}.5,{i % 2}" for i in range(10)]
OPTIONS: dict[str, Any] = dict.fromkeys(("valid", "test", "id", "frequency", "date_format"))
OPTIONS |= {
    "date": "date",
    "targets": ["sales"],
    "past": [],
    "known": [],
    "static": [],
    "valid_share": 0.2,
    "test_share": 0.3,
}
OPTIONS |= {"encoding": "utf-8", "timezone": None, "decimal": "point", "thousands": None, "every": None}
OPTIONS |= {"aggregate": "mean"}


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


NAMES = ["t.csv.gz", "t.parquet", "T.PARQUET", "t.parquet.gz", "t.xlsx", "t.jsonl", "t.tsv", "semicolon.csv", "bom.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_file_reads_the_same(tmp_path: Path, name: str):
    expected, file = only(table(tmp_path, HEAD, *ROWS)), tmp_path / name
    lines = "\n".join([HEAD, *ROWS])
    frame = pd.DataFrame([row.split(",") for row in ROWS], columns=HEAD.split(","))
    dated = frame.assign(date=pd.to_datetime(frame.date), sales=frame.sales.astype(float))
    if "parquet" in name.lower():
        file.write_bytes(dated.to_parquet())
    elif name == "t.xlsx":
        dated.to_excel(file, index=False)
    elif name == "t.jsonl":
        frame.assign(sales=dated.sales).to_json(file, orient="records", lines=True)
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
    assert "one row every day (D)" in told


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
        (pd.date_range("2024-01-01", periods=9, freq="SMS"), "SMS"),
        (pd.date_range("2024-01-01", periods=9, freq="BME"), "BME"),
        (date_range("2024-01-15", "month", periods=20).delete(4), "month"),
        (date_range("2024-01-30", "month", periods=20), "month"),
        (date_range("2024-02-15", "3month", periods=9), "3month"),
        (date_range("2020-04-05", "12month", periods=9), "12month"),
    ],
)
def test_the_step_is_told_by_the_dates(tmp_path: Path, dates: pd.DatetimeIndex, frequency: str):
    series = only(table(tmp_path, "date,sales", *(f"{date},{i}" for i, date in enumerate(dates))))
    assert series.layout.frequency == frequency
    assert set(dates.to_numpy().astype("datetime64[s]")) <= set(series.times)
    assert len(series.times) == len(date_range(dates[0], frequency, dates[-1]))


def test_rows_without_an_id_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = [*ROWS, *(row.replace("north", " ") for row in ROWS[:3])]
    (north,) = own(table(tmp_path, HEAD, *rows), id="shop").series
    assert (north.name, len(north.values)) == ("north", 10)
    assert "left out: 3 of 13 rows with an empty shop" in caplog.text
    assert "line 12)" in caplog.text
    numbered = pd.DataFrame({"date": ["2024-01-01", "2024-01-02"] * 2, "shop": [7, 7, None, None], "sales": 1.5})
    numbered.to_parquet(tmp_path / "t.parquet")
    assert only(str(tmp_path / "t.parquet"), id="shop").name == "7"
    with pytest.raises(UserError, match="in every row shop is empty"):
        own(table(tmp_path, HEAD, *rows[10:]), id="shop")


@pytest.mark.parametrize(
    ("cells", "options", "values"),
    [
        (["1,5", "-2,25", "3", "1,2e3"], {"decimal": "comma"}, [1.5, -2.25, 3, 1200]),
        (
            ["1.234,5", "12", "1.234.567", "-1.000"],
            {"decimal": "comma", "thousands": "point"},
            [1234.5, 12, 1234567, -1e3],
        ),
        (["1,234.5", "999", "1,234,567", ""], {"thousands": "comma"}, [1234.5, 999, 1234567, np.nan]),
        (
            ["1 234,5", "1\u00a0234", "1\u202f000 000", "7"],
            {"decimal": "comma", "thousands": "space"},
            [1234.5, 1234, 1e6, 7],
        ),
        (["1'234.5", "1’000", "2", "3"], {"thousands": "apostrophe"}, [1234.5, 1000, 2, 3]),
    ],
)
def test_numbers_as_other_languages_write_them(tmp_path: Path, cells: list[str], options: dict[str, str], values: Any):
    lines = [f"2024-01-0{i + 1};{cell}" for i, cell in enumerate(cells)]
    found = only(table(tmp_path, "date;sales", *lines), **options)
    np.testing.assert_array_equal(found.values[:, 0], values)


@pytest.mark.parametrize("form", ["xlsx", "parquet"])
def test_the_marks_are_those_of_texts_alone(tmp_path: Path, form: str):
    dates, file = pd.date_range("2024-01-01", periods=4), tmp_path / f"t.{form}"
    cells: list[Any] = [105.155, 1.5, 1234.0, 7] if form == "parquet" else [105.155, "1.234,5", 1234, None]
    table = pd.DataFrame({"date": dates, "sales": cells})
    table.to_excel(file, index=False) if form == "xlsx" else table.to_parquet(file)
    found = only(str(file), decimal="comma", thousands="point").values[:, 0]
    expected = cells if form == "parquet" else [105.155, 1234.5, 1234, np.nan]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("cell", "options", "cure"),
    [
        ("3,5", {}, "; data.decimal=comma reads it"),
        ("1.234,5", {}, "; data.decimal=comma data.thousands=point reads it"),
        ("1,234", {}, "; data.decimal=comma, or data.thousands=comma, reads it"),
        ("1,234,567", {}, "; data.thousands=comma reads it"),
        ("1 234", {}, "; data.thousands=space reads it"),
        ("1.5", {"decimal": "comma", "thousands": "point"}, ""),
        ("12,34", {"thousands": "comma"}, "; data.decimal=comma reads it"),
    ],
)
def test_a_number_is_never_guessed(tmp_path: Path, cell: str, options: dict[str, str], cure: str):
    with pytest.raises(UserError, match=rf"line 3: sales is '{re.escape(cell)}', which is not a number{cure}$"):
        own(table(tmp_path, "date;sales", "2024-01-01;7", f"2024-01-02;{cell}"), **options)


def test_irregular_dates_are_brought_to_a_step(tmp_path: Path):
    lines = ["2024-01-01 10:07:13,1,0", "2024-01-01 10:31:00,2,1", "2024-01-01 11:02:59,4,1", "2024-01-01 14:00:01,8,0"]
    file = table(tmp_path, "date,sales,holiday", *lines, lines[-1])
    with pytest.raises(UserError, match=r"lies between the steps.*; data\.every=h resamples dates that are irregular"):
        own(table(tmp_path, "date,sales,holiday", *lines, name="u.csv"))
    found = only(file, every="h", known=["holiday"])
    assert found.layout.frequency == "h"
    assert found.times.astype("datetime64[h]").astype(str).tolist() == [f"2024-01-01T{hour}" for hour in range(10, 15)]
    np.testing.assert_array_equal(found.values[:, 0], [1.5, 4, np.nan, np.nan, 8])
    assert found.known is not None
    np.testing.assert_array_equal(found.known[:, 0], [0.5, 1, np.nan, np.nan, 0])
    np.testing.assert_array_equal(only(file, every="h", aggregate="sum").values[:, 0], [3, 4, np.nan, np.nan, 16])
    empty = table(tmp_path, "date,shop,sales", "2024-01-01,a,1", "2024-01-02,a,2", "2024-01-01,b,", name="v.csv")
    assert [one.values.tolist() for one in own(empty, every="D", id="shop").series] == [
        [[1], [2]],
        [[pytest.approx(np.nan, nan_ok=True)]],
    ]
    for step in ("sometimes", "0h", "-1D", "1 hour ", "month"):
        with pytest.raises(UserError, match=rf"data\.every={step}: there is no such step"):
            own(file, every=step)
    with pytest.raises(UserError, match=r"data\.every=h gives the step already; leave data\.frequency=D out"):
        own(file, every="h", frequency="D")


# ---------------------------------------------------------------------------------------------------- splits


def test_splits_are_cut_at_the_same_dates_for_all(tmp_path: Path):
    data = own(table(tmp_path, HEAD, *ROWS, *(row.replace("north", "south") for row in ROWS[4:])), id="shop")
    spans = {split: [(one.name, one.begin, len(one.values)) for one in data.read(split)] for split in SPLITS}
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
    assert [(one.begin, len(one.values)) for split in SPLITS for one in data.read(split)] == [
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
        ([HEAD, *ROWS], {"targets": ["shop"]}, r"line 2: shop is 'north', which is not a number \(10 cells"),
        (
            [HEAD, *ROWS[:3], ROWS[3].replace("3.5", "3,5")],
            {},
            "line 5: expected 4 columns, as in the first line, found 5",
        ),
        ([HEAD, *ROWS[:3], ROWS[3].replace("3.5", "inf")], {}, "line 5: sales is 'inf', which is not a number$"),
        ([HEAD, *ROWS, ROWS[2]], {}, r"1 date\(s\) come twice: 2024-01-03 \(.*line 12\); keep one.*data\.id=COLUMN"),
        (
            [HEAD, *ROWS, ROWS[2]],
            {"id": "shop"},
            r"come twice: 2024-01-03 of north \(.*line 12\); keep one row a date$",
        ),
        (
            [HEAD, *ROWS[:2], "31/12/2024,a,1,1"],
            {},
            "line 4: date is '31/12/2024', which is not a date such as .*date_format",
        ),
        (
            [HEAD, *ROWS],
            {"date_format": "%d/%m/%Y"},
            "line 2: date is '2024-01-01', which is not a date of the form %d/%m",
        ),
        (
            [HEAD, *ROWS, "2024-01-10 12:00,a,1,1"],
            {},
            r"line 12: 2024-01-10 12:00 lies between the steps, one row every day \(D\) from 2024-01-01 on, as",
        ),
        ([HEAD, *ROWS, "2124-01-10,a,1,1"], {}, r"one row every day \(D\) makes 36,534 from"),
        ([HEAD, *ROWS], {"frequency": "fortnight"}, "data.frequency=fortnight: there is no such step"),
        ([HEAD, ROWS[0]], {}, "a single row of each series does not show the step"),
        ([HEAD], {}, "there is a header, and no row below it"),
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
    with pytest.raises(UserError, match=r"tt\.csv: there is no such file.*t\.csv"):
        own(there.replace("t.csv", "tt.csv"))
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
    with pytest.raises(UserError, match=r"bad\.parquet: this is not a complete Parquet file"):
        own(str(tmp_path / "bad.parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"Parquet needs pyarrow: pip install 'seqtrain\[parquet\]'"):
        own(str(tmp_path / "bad.parquet"))


def test_pandas_is_imported_for_the_first_table_and_not_before():
    code = "import sys, seqtrain.data.series, seqtrain.tasks.forecasting; print('pandas' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


# ---------------------------------------------------------------------------------------------------- static values


def with_kind(place: Path, *kinds: str) -> str:
    rows = [f"2024-01-{i + 1:02},{shop},{i},{kinds[i % len(kinds)]},{area}" for shop, area in AREAS for i in range(9)]
    return table(place, "date,shop,sales,kind,area", *rows)


AREAS = [("north", "10"), ("south", "30")]


def test_static_columns_become_numbers_at_every_step(tmp_path: Path):
    data = own(with_kind(tmp_path, "big"), id="shop", static=["kind", "area"], targets=[])
    assert [series.layout.targets for series in data.series] == [("sales",)] * 2
    assert [series.static for series in data.series] == [("big", 10.0), ("big", 30.0)]
    assert static_features(data.series) == {"north": [1, -1], "south": [1, 1]}
    north, south = data.series
    kinds = [north._replace(static=("small",)), south._replace(static=("big",))]
    assert static_features(kinds) == {"north": [0, 1], "south": [1, 0]}


@pytest.mark.parametrize(
    ("kinds", "changes", "problem"),
    [
        (("big", "small"), {"id": "shop"}, "kind of north is big and small; data.static names what stays the same"),
        (("",), {"id": "shop"}, "t.csv, line 2: kind is empty; each series needs its kind in every row"),
        (("big",), {"id": "shop", "static": ["kin"]}, "there is no column kin.*kind"),
        (("big",), {}, "data.static: what stays the same tells series apart; data.id=COLUMN"),
    ],
)
def test_static_columns_that_are_none(tmp_path: Path, kinds: tuple[str, ...], changes: dict[str, Any], problem: str):
    with pytest.raises(UserError, match=problem):
        own(with_kind(tmp_path, *kinds), **{"static": ["kind"]} | changes)
