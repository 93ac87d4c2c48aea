import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.config import UserError
from seqtrain.data.files import File
from seqtrain.data.tables import Parallel, Table, csv_splitter, open_table, quoted_rows

COLUMNS: dict[str, str | int] = {"data.text": "text", "data.label": "label"}


def table(tmp_path: Path, name: str, content: str, form: str | None = None, **columns: str | int) -> Table:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    wanted = {f"data.{key}": column for key, column in columns.items()} or COLUMNS
    return open_table(str(path), "data.train", wanted, form, "utf-8")


ROWS = [("a", "1"), ("b, 'c' ", "2"), ("ü", "3")]


@pytest.mark.parametrize(
    ("name", "form", "content"),
    [
        ("t.csv", None, "text,label\na,1\n\"b, 'c' \",2\nü,3\n"),
        ("t.csv", None, "\ufefflabel,other,text\r\n1,x,a\r\n\r\n2,,\"b, 'c' \"\r\n3,,ü"),
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
    split = csv_splitter(",")
    found = Table(file, lambda text: tuple(split(text)), starts, quoted_rows(file, starts, ","))
    assert list(found) == rows


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "text,label\n", "there is a header, and no row below it"),
        ("t.csv", "texts,label\na,1\n", "it has: texts, label; did you mean data.text=texts?"),
        ("t.csv", "Hello there,1\na,1\n", "if that is no header, number the columns: data.text=1"),
        ("t.csv", "text,text,label\na,b,1\n", "2 columns of that name"),
        ("t.csv", "text;label\na;1\n", "separated by semicolons. data.format=csv_semicolon"),
        ("t.tsv", "text,label\na,1\n", "separated by commas. data.format=csv"),
        ("t.csv", "text\tlabel\na\t1\n", "separated by tabs. data.format=csv_tab"),
        ("t.csv", "text,label\na,1\nb\n", "line 3: expected 2 columns, as in the first line, found 1: 'b'"),
        ("t.tsv", "text\tlabel\n\na\tb\tc\n", "line 3: expected 2 columns, as in the first line, found 3"),
        ("t.csv", 'text,label\n"a\n\n",1\n"b,1\n', "line 5: a quote opens a cell and does not close it"),
        ("t.csv", 'text,label\n"a"b,1\n', "line 2: a quote inside a quoted cell must be doubled"),
        ("t.csv", "text,label\ra,1\rb,2\r", "carriage return"),
        ("t.csv", f'text,label\n"{"x" * 600_000}\n{"x" * 600_000}",1\n', "line 2: a quote opens a cell"),
        ("t.txt", "text,label\n", "does not say what form the file has; data.format=csv"),
        ("t.jsonl", '{"text": "a", "label": 1}\n{"text": \n', "line 2: broken JSON"),
        ("t.json", "[1, 2]", "line 1: .* begins no object; expected JSON Lines"),
        (
            "t.jsonl",
            '{"txt": "a", "label": 1}',
            "line 1: there is no 'text'; it has: txt, label; did you mean data.text",
        ),
        ("t.jsonl", '{"text": ["a"], "label": 1}', "line 1: 'text' is a list; expected a text"),
        ("t.jsonl", '{"text": "\\ud83d", "label": 1}', "line 1: half of a surrogate pair"),
        ("t.jsonl", "[" * 100_000, "line 1: broken JSON: nested too deeply"),
    ],
)
def test_what_is_wrong_is_told(name: str, content: str, told: str, tmp_path: Path):
    with pytest.raises(UserError, match=told):
        list(table(tmp_path, name, content))


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
