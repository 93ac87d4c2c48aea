import csv
import gzip
import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from seqtrain.config import UserError
from seqtrain.reading.files import File
from seqtrain.reading.rows import quoted_rows, split_csv
from seqtrain.reading.tables import Parallel, TextTable, open_table

COLUMNS: dict[str, str | int] = {"data.text": "text", "data.label": "label"}


def table(tmp_path: Path, name: str, content: str, form: str | None = None, **columns: str | int) -> TextTable:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    wanted = {f"data.{key}": column for key, column in columns.items()} or COLUMNS
    found = open_table(str(path), "data.train", wanted, form, "utf-8")
    assert isinstance(found, TextTable)
    return found


ROWS = [("a", "1"), ("b, 'c' ", "2"), ("ü", "3")]


@pytest.mark.parametrize(
    ("name", "form", "content"),
    [
        ("t.csv", None, "text,label\na,1\n\"b, 'c' \",2\nü,3\n"),
        ("t.csv", None, "\ufefflabel,other,text\r\n1,x,a\r\n\r\n2,,\"b, 'c' \"\r\n3,,ü"),
        ("t.csv", None, "text,label\ra,1\r\"b, 'c' \",2\rü,3\r"),
        ("t.dat", "csv_semicolon", "text;label\na;1\nb, 'c' ;2\nü;3\n"),
        ("t.dat", "csv_tab", "text\tlabel\n\"a\"\t1\nb, 'c' \t2\nü\t3\n"),
        ("t.TSV", None, "text\tlabel\na\t1\n\nb, 'c' \t2\nü\t3\n"),
        (
            "t.jsonl",
            None,
            '{"text": "a", "label": 1}\n{"label": 2, "text": "b, \'c\' "}\n\n{"text": "ü", "label": "3"}',
        ),
    ],
)
def test_forms_of_a_table(name: str, form: str | None, content: str, tmp_path: Path):
    assert list(table(tmp_path, name, content, form)) == ROWS


def test_columns_by_number_are_those_of_a_file_without_a_header(tmp_path: Path):
    assert list(table(tmp_path, "t.tsv", "x\ta\t1\nx\tb\t2\n", text=2, label=3)) == [("a", "1"), ("b", "2")]


def test_a_quote_is_a_sign_like_any_other_in_tsv(tmp_path: Path):
    assert table(tmp_path, "t.tsv", 'text\tlabel\n"a\t1\nb"\t2\n')[0] == ('"a', "1")


def test_values_of_json(tmp_path: Path):
    content = '{"text": 1.5, "label": true}\n{"text": "\\ud83d\\ude00", "label": null}\n'
    assert list(table(tmp_path, "t.jsonl", content)) == [("1.5", "true"), ("😀", "")]


@pytest.mark.parametrize("name", ["t.parquet", "t.xlsx", "T.XLSX", "t.parquet.GZ"])
def test_tables_that_are_no_text(name: str, tmp_path: Path):
    rows = [("a", 1, "x"), ("=1+1", 2.5, None), (None, 3, "NA"), ("NA", 4, "")]
    frame = pd.DataFrame(rows, columns=["text", "label", "other"])
    file = sheet(frame, tmp_path / name)
    texts, labels = zip(*open_table(file, "data.train", COLUMNS, None, "utf-8"), strict=True)
    assert texts == ("a", "=1+1", "", "NA")
    assert labels == (("1.0", "2.5", "3.0", "4.0") if "parq" in name else ("1", "2.5", "3", "4"))
    wanted: dict[str, str | int] = {"data.text": "other"}
    other = open_table(file, "data.train", wanted)
    assert (other[0], other.row(0)) == (("x",), {"text": "a", "label": 1, "other": "x"})
    with pytest.raises(UserError, match=r"it has: text, label, other; did you mean data\.text=text\?"):
        open_table(file, "data.train", {"data.text": "txt"}, None, "utf-8")


def test_a_workbook_without_a_header_and_its_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    book = Workbook()
    for row in [("x", "a"), ("y", "b")]:
        book.worksheets[0].append(row)
    book.create_sheet("more")
    book.save(tmp_path / "t.xlsx")
    found = open_table(str(tmp_path / "t.xlsx"), "data.train", {"data.text": 2}, None, "utf-8")
    assert (list(found), found.place(1).rpartition(", ")[2]) == ([("a",), ("b",)], "row 2")
    assert (found.header, found.row(0)) == (None, {"1": "x", "2": "a"})
    assert "only the first of 2 sheets is read: Sheet" in caplog.text


def test_keys_of_json_inside_others(tmp_path: Path):
    content = '{"content": {"body": "a", "n": {"l": 1}}, "content.n.l": 7}\n{"content": {"body": "b", "n": {"l": 2}}}\n'
    columns = {"text": "content.body", "label": "content.n.l"}
    assert list(table(tmp_path, "t.jsonl", content, **columns)) == [("a", "7"), ("b", "2")]
    with pytest.raises(UserError, match=r"it has: content\.body, content\.n\.l.*did you mean data\.text=content\.body"):
        list(table(tmp_path, "t.jsonl", content, text="content.bdy"))


def test_rows_with_all_their_cells(tmp_path: Path):
    file = tmp_path / "t.csv"
    file.write_text('id,text,,\n7,"a\nb",x,y\n')
    found = open_table(str(file), "data.train", {"data.text": "text"})
    assert list(found) == [("a\nb",)]
    assert found.row(0) == {"id": "7", "text": "a\nb", "": "x", ".1": "y"}
    assert found.header == ["id", "text", "", ".1"]
    numbered = open_table(str(file), "data.train", {"data.text": 2})
    assert (numbered.header, numbered.row(0)["2"]) == (None, "text")


def sheet(frame: pd.DataFrame, file: Path) -> str:
    """Writes a table, in the form that its name ends in."""
    content = io.BytesIO()
    if "parquet" in file.name:
        frame.to_parquet(content)
    else:
        book = Workbook()
        for row in [list(frame.columns), *frame.astype(object).where(frame.notna(), None).itertuples(index=False)]:
            book.worksheets[0].append(list(row))
        for cell in (cell for row in book.worksheets[0].iter_rows() for cell in row if cell.data_type == "f"):
            cell.data_type = "s"
        book.save(content)
    file.write_bytes(gzip.compress(content.getvalue()) if file.suffix == ".GZ" else content.getvalue())
    return str(file)


CELL = st.text(st.sampled_from(list('ab",;\n\t ü\r')), max_size=5)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_every_csv_that_python_writes_is_read(rows: list[tuple[str, str]], end: str, quote_all: bool):
    out = io.StringIO()
    bare = any("\r" in cell for row in rows for cell in row)  # Python leaves it unquoted, and does not read it then
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL if quote_all or bare else csv.QUOTE_MINIMAL).writerows(
        rows
    )
    file = File("t.csv", out.getvalue().encode(), 0, "")
    starts = file.line_starts()
    lines = quoted_rows(file, starts, ",", "csv", "data.train")
    found = TextTable(file, starts, lines, lambda text: dict(zip("ab", split_csv(text, ","), strict=True)), {})
    assert [tuple(found.row(i).values()) for i in range(len(found))] == rows


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "text,label\n", "there is a header, and no row below it"),
        ("t.csv", "texts,label\na,1\n", "it has: texts, label; did you mean data.text=texts?"),
        ("t.csv", "Hello there,1\na,1\n", "if that is no header, number the columns: data.text=1"),
        ("t.csv", "text,text,label\na,b,1\n", "2 columns of that name"),
        ("t.csv", "text;label\na;1\n", "separated by semicolons. data.format=csv_semicolon"),
        ("t.csv", '"text";"label"\n"a";1\n', "line 1: is it separated by semicolons. data.format=csv_semicolon"),
        ("t.csv", 'text\tlabel\n"a"\t1\n', "line 2: is it separated by tabs. data.format=csv_tab"),
        ("t.tsv", "text,label\na,1\n", "separated by commas. data.format=csv"),
        ("t.csv", "text\tlabel\na\t1\n", "separated by tabs. data.format=csv_tab"),
        ("t.csv", "text,label\na,1\nb\n", "line 3: expected 2 columns, as in the first line, found 1: 'b'"),
        ("t.tsv", "text\tlabel\n\na\tb\tc\n", "line 3: expected 2 columns, as in the first line, found 3"),
        ("t.csv", 'text,label\n"a\n\n",1\n"b,1\n', "line 5: a quote opens a cell and does not close it"),
        ("t.csv", 'text,label\n"a"b,1\n', "line 2: a quote inside a quoted cell must be doubled"),
        ("t.csv", "text,label\na,1\rb,2\n", "line 2: a carriage return"),
        ("t.csv", f'text,label\n"{"x" * 600_000}\n{"x" * 600_000}",1\n', "line 2: a quote opens a cell"),
        ("t.txt", "text,label\n", "does not say what form the file has; data.format=csv"),
        ("t.jsonl", '{"text": "a", "label": 1}\n{"text": \n', "line 2: broken JSON"),
        ("t.json", "[1, 2]", "line 1: .* is no object; expected JSON Lines"),
        (
            "t.jsonl",
            '{"txt": "a", "label": 1}',
            "line 1: there is no 'text'; it has: txt, label; did you mean data.text",
        ),
        ("t.jsonl", '{"text": ["a"], "label": 1}', "line 1: 'text' is a list; expected a text"),
        ("t.jsonl", '{"text": "\\ud83d", "label": 1}', "line 1: half of a surrogate pair"),
        ("t.jsonl", "[" * 100_000, "line 1: broken JSON: nested too deeply"),
        ("t.jsonl", "1" * 5000, "line 1: broken JSON: a number has more digits than can be read"),
    ],
)
def test_what_is_wrong_is_told(name: str, content: str, told: str, tmp_path: Path):
    with pytest.raises(UserError, match=told):
        list(table(tmp_path, name, content))


def test_commas_where_semicolons_were_expected_are_told(tmp_path: Path):
    (tmp_path / "t.csv").write_text("text,label\na,1\n")
    with pytest.raises(UserError, match=r"is it separated by commas\? data\.format=csv reads that"):
        open_table(str(tmp_path / "t.csv"), "data.train", {"data.text": "text"}, "csv_semicolon")


def test_wrong_numbers_are_told(tmp_path: Path):
    with pytest.raises(UserError, match=r"data\.label=3: the rows of .* have 2 columns"):
        table(tmp_path, "t.tsv", "a\t1\n", text=1, label=3)
    with pytest.raises(UserError, match="give names, or, for files without a header, numbers"):
        table(tmp_path, "t.tsv", "a\t1\n", text=1, label="label")


def test_rows_are_found_in_any_order(tmp_path: Path):
    rows = [(f"text {i}\n{i}", str(i)) for i in range(100)]
    content = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)
    found = table(tmp_path, "t.csv", content)
    assert [found[i] for i in reversed(range(100))] == rows[::-1]
    assert found.place(1) == f"{tmp_path / 't.csv'}, line 4"
    json_rows = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    assert list(table(tmp_path, "t.jsonl", json_rows)) == rows


def test_parallel_files_have_as_many_lines():
    def file(name: str, text: str) -> File:
        return File(name, text.encode(), 0, name)

    assert list(Parallel([file("en", "a\nb\n"), file("de", "x\r\ny")])) == [("a", "x"), ("b", "y")]
    with pytest.raises(UserError, match="en has 2 lines, de has 3 lines"):
        Parallel([file("en", "a\nb\n"), file("de", "x\ny\n\n")])


# -------------------------------------------------------------------------------- as DataFrames

SALES = pd.DataFrame({"day": ["a", "b"], "sales": [1.5, 2.5]})


def frame(file: Path) -> pd.DataFrame:
    return open_table(str(file), "data.train", {}).frame()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("day,sales\na,1\n,\nb,2\n", [2, 4]),
        ("\ufeffday; sales\n\na;1\n;\nb;2", [3, 5]),
        ('day\t"sales"\ra\t1\r\t\rb\t2\r', [2, 4]),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt"])
def test_the_delimiter_of_a_table_of_time_series_is_guessed(tmp_path: Path, name: str, content: str, lines: list[int]):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    found = frame(tmp_path / name)
    assert found.columns.tolist() == ["day", "sales"]
    assert found.to_numpy().tolist() == [["a", "1"], ["b", "2"]]
    assert found.index.tolist() == [f"{tmp_path / name}, line {line}" for line in lines]


def test_a_named_index_of_parquet_is_a_column(tmp_path: Path):
    for name, table in {
        "named": SALES.set_index("day"),
        "plain": SALES[1:],
        "twice": SALES.set_index("day", drop=False),
    }.items():
        table.to_parquet(tmp_path / f"{name}.parquet")
        assert list(frame(tmp_path / f"{name}.parquet").columns) == ["day", "sales"]


def test_the_first_sheet_of_a_workbook_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "t.xlsx"
    with pd.ExcelWriter(file) as book:
        SALES.to_excel(book, sheet_name="one", index=False)
        SALES[:1].to_excel(book, sheet_name="two", index=False)
    found = frame(file)
    assert found.sales.tolist() == [1.5, 2.5]
    assert found.index.tolist() == [f"{file}, row 2", f"{file}, row 3"]
    assert "only the first of 2 sheets is read: one" in caplog.text


def test_nested_keys_of_json_lines_are_columns(tmp_path: Path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"day": "a", "shop": {"id": 1}}\n\n{"day": "b", "sales": 2}\n')
    found = frame(file)
    assert found.columns.tolist() == ["day", "shop.id", "sales"]
    assert found.index.tolist() == [f"{file}, line 1", f"{file}, line 3"]
    assert found["sales"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "problem"), [('{"a": 1', "broken JSON"), ("3", "'3' is no object"), ("[" * 9999, "broken JSON")]
)
def test_a_broken_line_of_json_is_named(tmp_path: Path, text: str, problem: str):
    (tmp_path / "t.jsonl").write_text(f'{{"a": 1}}\n{text}\n')
    with pytest.raises(UserError, match=rf"t\.jsonl, line 2: {problem}"):
        frame(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").write_text('{"a": ' * 900 + "1" + "}" * 900)
    with pytest.raises(UserError, match=r"t\.jsonl, line 1: "):
        frame(tmp_path / "t.jsonl")


def test_a_cell_that_swallows_the_file_is_named(tmp_path: Path):
    (tmp_path / "t.csv").write_text(f'day,sales\n1,2\n1,"{"x" * 600_000}\n{"x" * 600_000}\n')
    with pytest.raises(UserError, match=r"t\.csv, line 3: a quote opens a cell and does not close it"):
        frame(tmp_path / "t.csv")


def test_a_workbook_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "t.xlsx").write_bytes(b"PK and no more")
    with pytest.raises(UserError, match=r"t\.xlsx: this is not a complete \.xlsx workbook \(BadZipFile: File is not a"):
        frame(tmp_path / "t.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match=r"Excel needs openpyxl: pip install 'seqtrain\[excel\]'"):
        frame(tmp_path / "t.xlsx")
