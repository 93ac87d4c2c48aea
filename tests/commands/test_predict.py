"""mode=predict and predict(): lines and tables in, lines and tables out."""

import codecs
import csv
import dataclasses
import gzip
import io
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny

import seqtrain
from seqtrain import cli
from seqtrain.commands import evaluate, inputs, outputs, run_folder
from seqtrain.commands import predict as command
from seqtrain.commands.loaded import Loaded
from seqtrain.config import LineError, UserError
from seqtrain.reading.lines import one_line, unescaped

pytestmark = pytest.mark.usefixtures("own_log")
TABLE = pd.DataFrame({"id": [7, 8, 9], "text": ["a good film", "", "not\ngood, \u4e00"], "note": ["x", None, "=1"]})


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics(), tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def loaded(runs: dict[str, Path]) -> Loaded:
    return seqtrain.load(runs["sentiment"])


def config(runs: dict[str, Path], task: str, **how: Any) -> dict[str, Any]:
    return run_folder.read_config(runs[task]) | how


def predict(runs: dict[str, Path], task: str, content: bytes, tmp_path: Path, **how: Any) -> list[str]:
    """The lines that mode=predict writes for an input file."""
    source = tmp_path / how.pop("name", "in")
    source.write_bytes(content)
    names = {"input": str(source), "output": str(tmp_path / "out"), "overwrite": True}
    command.predict(config(runs, task, **names | how), runs[task])
    text = Path(names["output"]).read_bytes().decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


# ---------------------------------------------------------------------------------------------------- lines


@pytest.mark.parametrize("task", tiny.TASKS)
def test_each_line_has_its_answer_in_order(task: str, runs: dict[str, Path], tmp_path: Path):
    lines = tiny.LINES[task]
    expected = [one_line(answer) for answer in seqtrain.load(runs[task]).predict(lines)]
    text = "\n".join(lines).encode()
    without_end, windows, old = text, text.replace(b"\n", b"\r\n") + b"\r\n", text.replace(b"\n", b"\r") + b"\r"
    marked, packed = codecs.BOM_UTF8 + text, gzip.compress(text[:9]) + gzip.compress(text[9:])
    for content in (without_end, text + b"\n", windows, old, marked, packed):
        found = predict(runs, task, content, tmp_path)
        if task == "forecasting":  # the last digit depends on which lines are answered together
            np.testing.assert_allclose([*map(json.loads, found)], [*map(json.loads, expected)], rtol=1e-5)
        else:
            assert found == expected
    assert predict(runs, task, b"", tmp_path) == []


@pytest.mark.parametrize("task", tiny.TASKS)
def test_json_lines_hold_inputs_outputs_and_what_else_is_known(task: str, runs: dict[str, Path], tmp_path: Path):
    lines = tiny.LINES[task]
    found = [json.loads(line) for line in predict(runs, task, "\n".join(lines).encode(), tmp_path, format="jsonl")]
    assert [answer["input"] for answer in found] == lines
    keys = {"translation": {"log_prob", "alignment"}, "sentiment": {"probability", "scores"}}
    keys |= {"generation": {"log_prob"}, "forecasting": {"lower", "upper"}}
    assert all(answer.keys() - {"unfinished"} == {"input", "output"} | keys.get(task, set()) for answer in found)


def test_a_forecast_of_a_table_is_an_object_for_each_date(runs: dict[str, Path], tmp_path: Path):
    weeks = "\n".join(["date,co2", *(f"{np.datetime64('2024-01-06') + 7 * i},{400 + i}" for i in range(8))])
    found = [json.loads(line) for line in predict(runs, "forecasting", weeks.encode(), tmp_path, format="jsonl")]
    assert [list(answer) for answer in found] == [["date", "co2", "lower", "upper", "output"]] * 4
    assert found[0]["output"] == ",".join(["2024-03-02", *(str(found[0][name]) for name in ("co2", "lower", "upper"))])


@pytest.mark.parametrize("task", ["translation", "sentiment", "forecasting"])
def test_an_empty_line_has_an_empty_answer(task: str, runs: dict[str, Path], tmp_path: Path):
    line = tiny.LINES[task][0]
    (answer,) = predict(runs, task, line.encode(), tmp_path)
    assert predict(runs, task, f"\n{line}\n\n \t\n{line}\n\n".encode(), tmp_path) == ["", answer, "", "", answer, ""]
    assert predict(runs, task, b"\n\n", tmp_path) == ["", ""]


@pytest.mark.parametrize("task", ["sentiment", "forecasting"])
def test_without_lines_there_is_no_answer_and_a_table_has_a_header(task: str, runs: dict[str, Path], tmp_path: Path):
    for name in ("in.txt", "in.jsonl"):
        assert predict(runs, task, b"", tmp_path, name=name) == []
    for name in ("in.csv", "in.tsv"):
        with pytest.raises(UserError, match=r"input=.*: the file is empty"):
            predict(runs, task, b"", tmp_path, name=name)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["2024-01-06,400", "2024-01-13,400,5"], None),
        ([f"{7 * i % 28 + 1:02}/01/2024,400" for i in range(8)], "which is not a date such as .*"),
        (["2024-01-06,400"] * 8, "7 date.s. come twice: .*; keep one row a date"),
        (["2024-01-06,400", "2024-01-08,400"] * 2, None),
        ([f"2024-01-{6 + 7 * i % 21},'4,5'" for i in range(3)], None),
    ],
)
def test_the_cure_of_a_table_to_forecast_is_no_setting_of_other_data(
    rows: list[str], problem: str | None, runs: dict[str, Path], tmp_path: Path
):
    """The embedded series has no setting of how a table is read."""
    text = "\n".join(["date,co2", *rows]).encode()
    with pytest.raises(UserError) as error:
        predict(runs, "forecasting", text, tmp_path, name="in.csv")
    assert "data." not in str(error.value)
    if problem:
        assert re.search(f"{problem}; a table to forecast is written as that of the training was", str(error.value))


def test_strange_lines(runs: dict[str, Path], tmp_path: Path):
    lines = ["", " ", "\t", "x" * 200_000, "\u2028\x0b\x85", "\U0001f600", "\\n", "good"]
    found = predict(runs, "sentiment", "\n".join(lines).encode(), tmp_path)
    assert len(found) == len(lines)
    assert found[-1] == seqtrain.load(runs["sentiment"]).predict("good")


@pytest.mark.parametrize("text", ["a\nb\\n\rc", "\\\\n\\", "\\t \\", "\n"])
def test_an_answer_stays_on_its_line_and_can_come_back(text: str):
    assert "\n" not in one_line(text)
    assert unescaped(one_line(text)) == text


def test_signs_of_lines_and_lists():
    assert one_line("a\nb\\n\rc") == r"a\nb\\n\rc"
    assert one_line([1.5, None]) == "[1.5, null]"
    assert unescaped(r"C:\data \d") == r"C:\data \d"


def test_a_prompt_with_a_line_end(runs: dict[str, Path], tmp_path: Path):
    expected = seqtrain.load(runs["generation"]).predict("the\nstate", details=True)
    for content, form in ((rb"the\nstate", "text"), (b'{"text": "the\\nstate"}', "jsonl")):
        (found,) = predict(runs, "generation", content, tmp_path, input_format=form, format="jsonl")
        assert json.loads(found)["output"] == expected["output"]
        assert expected["output"].startswith("the\nstate")


def test_what_is_cut_off_is_said(runs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lines = ["good", "word " * 402, *["not " * 401] * 9]
    found = predict(runs, "sentiment", "\n".join(lines).encode(), tmp_path, format="jsonl")
    assert [json.loads(line).get("cut") for line in found] == [None, 2, *[1] * 9]
    assert caplog.messages[0] == "input, line 2: 402 tokens, of which the first 400 are read (task.max_length)"
    assert len(caplog.messages) == 6
    assert caplog.messages[-1] == "10 inputs in all are longer than what is read"
    answer = seqtrain.load(runs["translation"]).predict("x" * 300, details=True)
    assert answer["cut"] == 50


@pytest.mark.parametrize(
    ("content", "how", "problem"),
    [
        (b"good\nb\xff\xfed\n", {}, r"input=.*: not UTF-8 at line 2; it looks like .*: encoding=.* reads it"),
        (b"sch\xf6n und gut\n", {}, r"it looks like cp1252: encoding=cp1252 reads it"),
        (b"x" * 1_000_001 + b"\n", {}, "input, line 1: more than 1,000,000 characters; are its line ends lost"),
        (b"a\n" + b"x" * 2_000_000, {}, "input, line 2: more than 1,000,000 characters"),
        (gzip.compress(b"good\n" * 9, mtime=0)[:-9], {}, "the gzipped file is cut off"),
        (gzip.compress(b"good\n" * 99, mtime=0)[:12] + b"xxxxxxxxxxx", {}, "the gzipped file is damaged"),
        (b"id,text\n1,good\n", {}, r"the first line looks like a table's, .* input_format=csv reads that"),
        (b'"text";"id"\n1;good\n', {}, r"input_format=csv_semicolon reads that"),
        (b'{"id": 1, "text": "a"}\n', {}, r"input_format=jsonl reads that"),
        (b'{"id": 1}\n', {"input_format": "jsonl"}, r"input, line 1: there is no 'text'; it has: id"),
        (b'{"text": "a"}\n[[', {"input_format": "jsonl"}, "input, line 2: broken JSON"),
        (b"[" * 50_000, {"input_format": "jsonl"}, "input, line 1: broken JSON: nested too deeply"),
        (
            b'"' + b"x" * 1_000_001 + b'"',
            {"input_format": "csv"},
            "expected at most 1,000,000 in a line; are its line ends lost",
        ),
        (b"good", {"encoding": "utf9"}, r"encoding=utf9: there is no such encoding; did you mean utf-8"),
    ],
)
def test_what_cannot_be_answered_is_told(
    content: bytes, how: dict[str, Any], problem: str, runs: dict[str, Path], tmp_path: Path
):
    with pytest.raises(UserError, match=problem) as caught:
        predict(runs, "sentiment", content, tmp_path, **how)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("line", ["[" * 50_000, "1" * 400, f"[{'1' * 400}]", "1\r2", "x" * 9999])
def test_histories_that_are_none(line: str, runs: dict[str, Path], tmp_path: Path):
    with pytest.raises(LineError, match="input, line 2: ") as caught:
        predict(runs, "forecasting", f"{tiny.LINES['forecasting'][0]}\n{line}\n".encode(), tmp_path)
    assert len(str(caught.value)) < 300


def test_a_label_that_is_none_is_told_in_short():
    task = tiny.config("generation", {"data": "places"})["task"]
    from seqtrain.config import build
    from seqtrain.data.kinds import Labelled

    made = build(task)
    made.fit([Labelled("a", "de"), Labelled("b", "en")])
    with pytest.raises(LineError) as caught:
        made.parse("x" * 100_000, 1)
    assert len(str(caught.value)) < 400


def test_a_long_line_takes_time_in_proportion(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "raw_blocks", lambda name: iter([b"x" * 4] * 200_000 + [b"\ny"]))
    since = time.process_time()
    assert list(inputs.line_blocks("-", "utf-8")) == [["x" * 800_000], ["y"]]
    assert time.process_time() - since < 4  # joined anew for every block, it would be 80 GB to copy


def test_the_line_of_a_mistake_is_counted_from_the_beginning_of_the_file(runs: dict[str, Path], tmp_path: Path):
    good = b"1 2 3 4 5 6 7 8" + b" " * 1000 + b"\n"
    with pytest.raises(UserError, match="input, line 131: expected numbers, found 'x'"):
        predict(runs, "forecasting", good * 130 + b"x\n", tmp_path)
    assert len((tmp_path / "out").read_text().splitlines()) >= 60  # what came before was answered


def test_lines_are_answered_as_they_come(monkeypatch: pytest.MonkeyPatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as source:
        monkeypatch.setattr(sys, "stdin", source)
        found = inputs.line_blocks("-", "utf-8")
        os.write(writing, b"one\ntwo\nthr")
        assert next(found) == ["one", "two"]
        os.write(writing, b"ee\n\nfo")
        assert next(found) == ["three", ""]
        os.write(writing, b"ur")
        os.close(writing)
        assert list(found) == [["four"]]


def test_standard_output_is_utf8_whatever_the_terminal_is(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "in").write_text("\u4e00\n", encoding="utf-8")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    command.predict(config(runs, "sentiment", input=str(tmp_path / "in"), format="jsonl"), runs["sentiment"])
    assert json.loads(raw.getvalue().decode())["input"] == "\u4e00"


# ---------------------------------------------------------------------------------------------------- tables


def as_file(table: pd.DataFrame, name: str, form: str = "") -> bytes:
    """A table as the bytes of a file of that name."""
    out = io.BytesIO()
    kind = name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        table.to_parquet(out)
    elif kind == "xlsx":
        outputs.write_workbook(table, out)
    elif kind == "jsonl":
        rows = table.to_dict("records")
        out.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())
    else:
        table.to_csv(out, index=False, sep={"csv": ",", "semi": ";"}[kind])
    return gzip.compress(out.getvalue()) if name.lower().endswith(".gz") else out.getvalue()


@pytest.mark.parametrize("name", ["t.csv", "T.CSV.GZ", "t.jsonl", "t.parquet", "t.xlsx"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet", "out.xlsx", "out.tsv", "out.txt"])
def test_a_table_is_answered_beside_its_columns(
    name: str, target: str, runs: dict[str, Path], loaded: Loaded, tmp_path: Path
):
    (tmp_path / name).write_bytes(as_file(TABLE, name))
    how = {"input": str(tmp_path / name), "output": str(tmp_path / target)}
    command.predict(config(runs, "sentiment", **how), runs["sentiment"])
    expected = loaded.predict([*TABLE["text"]])
    if target == "out.txt":
        assert (tmp_path / target).read_text().split("\n") == [*expected, ""]
        return
    read = {
        "csv": pd.read_csv,
        "tsv": lambda file: pd.read_csv(file, sep="\t"),
        "jsonl": lambda file: pd.read_json(file, lines=True),
        "parquet": pd.read_parquet,
        "xlsx": pd.read_excel,
    }[target.rpartition(".")[2]]
    found = read(tmp_path / target)
    names = [*TABLE.columns, "output", "probability"]
    assert list(found.columns) == (names + ["scores"] * target.endswith("jsonl"))
    assert found["output"].fillna("").tolist() == expected
    assert found["id"].astype(int).tolist() == [7, 8, 9]
    assert found["note"].fillna("").tolist() == ["x", "", "=1"]
    assert found["probability"].isna().tolist() == [False, True, False]
    if target != "out.tsv":
        assert found["text"].fillna("").tolist() == [*TABLE["text"]]


@pytest.mark.parametrize(("name", "options"), [("out.csv.gz", {}), ("OUT.TSV.GZ", {"sep": "\t"}), ("out.txt.gz", {})])
def test_an_output_that_ends_in_gz_is_gzipped(name: str, options: Any, runs: dict[str, Path], tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(as_file(TABLE, "t.csv"))
    how = {"input": str(tmp_path / "t.csv"), "output": str(tmp_path / name)}
    command.predict(config(runs, "sentiment", **how), runs["sentiment"])
    with gzip.open(tmp_path / name, "rt", encoding="utf-8") as lines:
        assert len(pd.read_csv(lines, skip_blank_lines=False, header=None, **options)) == len(TABLE) + (
            "txt" not in name
        )


@pytest.mark.parametrize("name", ["out.xlsx.gz", "out.parquet.gz"])
def test_a_packed_form_is_not_packed_again(name: str, runs: dict[str, Path], tmp_path: Path):
    (tmp_path / "t.csv").write_bytes(as_file(TABLE, "t.csv"))
    how = {"input": str(tmp_path / "t.csv"), "output": str(tmp_path / name)}
    with pytest.raises(UserError, match=r"output=.*: a .* is packed in itself; leave out \.gz"):
        command.predict(config(runs, "sentiment", **how), runs["sentiment"])
    assert not (tmp_path / name).exists()


def test_a_table_without_a_header_and_columns_by_name(runs: dict[str, Path], tmp_path: Path):
    found = predict(runs, "sentiment", b'x,"good\nfilm"\ny,\n', tmp_path, name="t.csv", column=2)
    assert found[0] == 'x,"good'
    assert found[1].startswith('film",')
    assert found[2] == "y,,,"
    (line,) = predict(runs, "sentiment", b'{"a": {"b": "good"}}\n', tmp_path, name="t.jsonl", column="a.b")
    assert json.loads(line).keys() == {"a", "output", "probability", "scores"}
    with pytest.raises(UserError, match=r"column=txt: .*t\.csv has no such column; it has: id, text; did you mean"):
        predict(runs, "sentiment", b"id,text\n1,a\n", tmp_path, name="t.csv", column="txt")
    with pytest.raises(UserError, match=r"separated by semicolons\? input_format=csv_semicolon reads that"):
        predict(runs, "sentiment", b"id;text\n1;a\n", tmp_path, name="t.csv")


def test_a_column_is_of_tables_of_texts(runs: dict[str, Path], tmp_path: Path):
    with pytest.raises(UserError, match=r"column=2: input=.*in is read as lines of text; leave it out, or input_form"):
        predict(runs, "sentiment", b"good\n", tmp_path, column=2)
    with pytest.raises(UserError, match=r"column=co2: .* is read as series, whose columns training named; leave it"):
        predict(runs, "forecasting", b"date,co2\n2001-01-06,3\n", tmp_path, name="t.csv", column="co2")


def test_an_answered_table_can_be_answered_again(runs: dict[str, Path], tmp_path: Path):
    once = predict(runs, "sentiment", b"text,output\ngood,mine\n", tmp_path, name="t.csv")
    assert once[0] == "text,output,output.1,probability"
    (line,) = predict(runs, "sentiment", b'{"text": "good", "output": "mine"}\n', tmp_path, name="t.jsonl")
    assert json.loads(line)["output"] == "mine"
    assert "output.1" in json.loads(line)


def test_types_of_columns_are_kept_from_parquet_to_parquet(runs: dict[str, Path], tmp_path: Path):
    table = TABLE.assign(day=pd.to_datetime(["2024-01-01", None, "2024-01-03"]), kind=TABLE["note"].astype("category"))
    (tmp_path / "t.parquet").write_bytes(as_file(table, "t.parquet"))
    how = {"input": str(tmp_path / "t.parquet"), "output": str(tmp_path / "o.parquet")}
    command.predict(config(runs, "sentiment", **how), runs["sentiment"])
    found = pd.read_parquet(tmp_path / "o.parquet")
    assert found[[*table.columns]].dtypes.astype(str).tolist() == table.dtypes.astype(str).tolist()


def test_more_outputs_than_the_beam_holds_are_refused(runs: dict[str, Path]):
    cfg = config(runs, "translation")
    with pytest.raises(UserError, match=r"decode\.n_best=9 needs as large a beam, and decode\.beam_size is 2"):
        _ = Loaded(cfg | {"decode": cfg["decode"] | {"n_best": 9}}, runs["translation"]).decoder


def test_several_outputs_stand_in_a_column(runs: dict[str, Path], tmp_path: Path):
    decode = config(runs, "translation")["decode"] | {"n_best": 2}
    found = predict(runs, "translation", b"source\n3 May 2021\n", tmp_path, name="in.csv", decode=decode)
    (row,) = csv.DictReader(found)
    first, second = json.loads(row["n_best"])
    assert (row["output"], float(row["log_prob"])) == (first["output"], first["log_prob"])
    assert second["output"] != first["output"]


def test_a_table_from_standard_input_and_one_that_cannot_be_printed(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "t.csv").write_bytes(as_file(TABLE, "t.csv"))
    with (tmp_path / "t.csv").open() as source:
        monkeypatch.setattr(sys, "stdin", source)
        command.predict(config(runs, "sentiment", input="-", input_format="csv"), runs["sentiment"])
    assert capfd.readouterr().out.startswith("id,text,note,output,probability\n7,a good film,x,")
    (tmp_path / "t.parquet").write_bytes(as_file(TABLE, "t.parquet"))
    with pytest.raises(UserError, match=r"a Parquet file is no text to print: output=FILE\.parquet writes one"):
        command.predict(config(runs, "sentiment", input=str(tmp_path / "t.parquet")), runs["sentiment"])


def test_a_table_of_series_is_answered_by_a_table(runs: dict[str, Path], tmp_path: Path):
    rows = "".join(f"{np.datetime64('1700-01-02') + 7 * i},{300 + i % 52}\n" for i in range(9000))  # several blocks
    found = predict(runs, "forecasting", b"date,co2\n" + rows.encode(), tmp_path)
    assert found[0] == "date,co2,lower,upper"
    assert [line.split(",")[0] for line in found[1:]] == ["1872-06-29", "1872-07-06", "1872-07-13", "1872-07-20"]
    objects = predict(runs, "forecasting", b"date,co2\n" + rows.encode(), tmp_path, format="jsonl")
    assert [json.loads(line)["output"] for line in objects] == found[1:]
    with pytest.raises(UserError, match="co2 is 'x', which is not a number"):
        predict(runs, "forecasting", b"date,co2\n1700-01-02,x\n", tmp_path)
    assert (tmp_path / "out").read_text().splitlines() == objects  # what was there before


@pytest.mark.parametrize("name", ["t.parquet", "t.xlsx", "t.jsonl", "t.csv.gz"])
def test_series_of_every_form_are_answered_alike(name: str, runs: dict[str, Path], tmp_path: Path):
    days = pd.date_range("2001-01-06", periods=60, freq="W-SAT")
    table = pd.DataFrame({"date": days.strftime("%Y-%m-%d"), "co2": [300.0 + i % 7 for i in range(60)]})
    expected = predict(runs, "forecasting", as_file(table, "t.csv"), tmp_path, name="t.csv")
    assert predict(runs, "forecasting", as_file(table, name), tmp_path, name=name, format="csv") == expected
    assert len(expected) == 5


# ---------------------------------------------------------------------------------------------------- the output


def test_an_output_is_replaced_only_when_asked(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    place, out = str(tmp_path / "in"), str(tmp_path / "out")
    Path(place).write_text("good\n")
    Path(out).write_text("mine")
    words = [f"checkpoint={runs['sentiment']}", "device=cpu"]
    for mode, target, problem in (
        (["mode=predict", f"input={place}"], place, "this is the input too; choose another file"),
        (["mode=predict", f"input={place}"], f"{tmp_path}/no/out", "the file cannot be written (No such file or"),
        (["mode=predict", f"input={place}"], f"{place}/out", "the file cannot be written (Not a directory)"),
        (["mode=predict", f"input={place}"], out, "the file is there already; overwrite=true replaces it"),
        (["mode=evaluate"], out, "the file is there already; overwrite=true replaces it"),
    ):
        assert cli.main([*mode, *words, f"output={target}"]) == 2
        assert f"output={target}: {problem}" in capsys.readouterr().err
    assert (Path(place).read_text(), Path(out).read_text()) == ("good\n", "mine")
    assert cli.main(["mode=predict", f"input={place}", *words, f"output={os.devnull}"]) == 0
    assert cli.main(["mode=predict", f"input={place}", *words, f"output={out}", "overwrite=true"]) == 0
    assert Path(out).read_text() in ("positive\n", "negative\n")


@pytest.mark.parametrize("key", ["input", "output", "checkpoint"])
def test_a_path_longer_than_any_is_told(
    key: str, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "in").write_text("good\n")
    words = {"checkpoint": str(runs["sentiment"]), "input": str(tmp_path / "in"), "output": str(tmp_path / "out")}
    words[key] = "x" * 300
    assert cli.main(["mode=predict", *(f"{name}={value}" for name, value in words.items())]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{key}={'x' * 300}: " in err


def test_other_data_than_those_of_the_run_are_told(
    runs: dict[str, Path], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    cfg = config(runs, "sentiment")
    evaluate.evaluate(cfg, runs["sentiment"])
    assert not caplog.messages
    cfg["data"] = cfg["data"] | {"test_size": 9}
    evaluate.evaluate(cfg, runs["sentiment"])
    assert "data: their content is not what this run was trained and scored on" in caplog.text


# ---------------------------------------------------------------------------------------------------- in Python


def test_one_text_has_one_answer_and_several_a_list(loaded: Loaded):
    good = loaded.predict("a good film")
    assert good in ("positive", "negative")
    several: tuple[Any, ...] = (["a good film"], ("a good film",), np.array(["a good film"]), iter(["a good film"]))
    assert all(loaded.predict(inputs) == [good] for inputs in several)
    assert loaded.predict("", details=True) == {"input": "", "output": ""}


def test_tables_of_pandas_are_answered_by_such(loaded: Loaded):
    table = TABLE.set_index("id").assign(text=["a good film", None, "bad"])
    found = loaded.predict(table)
    assert list(found.columns) == ["text", "note", "output", "probability"]
    assert found.index.equals(table.index)
    assert found["output"].tolist() == loaded.predict(["a good film", "", "bad"])
    texts = table["text"].fillna("")
    assert loaded.predict(texts).equals(found["output"])
    assert "scores" in loaded.predict(texts, details=True).columns
    with pytest.raises(UserError, match="the table has no column 'text', which training read; it has: note"):
        loaded.predict(table[["note"]])


def test_a_split_that_is_not_there_is_refused(loaded: Loaded):
    with pytest.raises(UserError, match="there is no split 'tset'; did you mean test"):
        loaded.evaluate("tset")
    with pytest.raises(UserError, match="there is no split 'all'; there are: train, valid, test"):
        loaded.evaluate("all")


def test_series_of_pandas_are_forecast(runs: dict[str, Path]):
    days = pd.date_range("2001-01-06", periods=60, freq="W-SAT", name="date")
    found = seqtrain.load(runs["forecasting"]).predict(pd.DataFrame({"co2": 300.0 + np.arange(60) % 7}, index=days))
    assert found["date"].tolist() == ["2002-03-02", "2002-03-09", "2002-03-16", "2002-03-23"]
    assert np.isfinite(found["co2"]).all()


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        (b"good", "not bytes; decode them first"),
        (Path("in.txt"), "mode=predict"),
        ({"text": "good"}, "pandas.DataFrame makes a table of it"),
        (3, "not int"),
        (None, "not NoneType"),
        (["good", None], "input 1 is None, of the type NoneType; expected a text"),
        ([1.5, 2], "a history of numbers a text such as '1.5, 2, 3'"),
        (pd.Series([1, 2]), "input 0 is 1, of the type int"),
        (pd.Series(["good", np.nan]), "input 1 is nan, of the type float; expected a text; .* '' is none"),
    ],
)
def test_what_is_no_text_is_a_type_error_with_a_cure(wrong: Any, cure: str, loaded: Loaded):
    with pytest.raises(TypeError, match=cure):
        loaded.predict(wrong)


# ---------------------------------------------------------------------------------------------------- several runs


@pytest.mark.parametrize("task", [task for task in tiny.TASKS if task != "music"])  # which mixes no scores
def test_a_run_with_itself_answers_as_it_does_alone(task: str, runs: dict[str, Path]):
    alone, both = seqtrain.load(runs[task]), seqtrain.load(runs[task], runs[task])
    lines = alone.task.lines(alone.records["test"], 2)
    plain = {"temperature": 0.0, "max_length": 12}
    alone.decoder, both.decoder = (dataclasses.replace(run.decoder, **plain) for run in (alone, both))
    for found, wanted in zip(both.answers(lines), alone.answers(lines), strict=True):
        assert found["output"] == wanted["output"]
        assert found.get("log_prob") == pytest.approx(wanted.get("log_prob"), abs=1e-4)


def test_runs_that_learned_other_things_make_no_ensemble(runs: dict[str, Path]):
    with pytest.raises(UserError, match="an ensemble needs runs on the same data"):
        seqtrain.load(runs["sentiment"], runs["translation"])


def test_an_ensemble_is_named_on_the_command_line(runs: dict[str, Path], tmp_path: Path, capsys: Any):
    (tmp_path / "in").write_text("a good film\n")
    both = f"checkpoint=[{runs['sentiment']},{runs['sentiment']}]"
    assert cli.main(["mode=predict", both, f"input={tmp_path / 'in'}"]) == 0
    assert capsys.readouterr().out.strip() in seqtrain.load(runs["sentiment"]).task.labels.names
    assert cli.main(["mode=export", both]) == 2
    assert "with mode=export give one" in capsys.readouterr().err
    assert cli.main(["mode=predict", "checkpoint=[]", f"input={tmp_path / 'in'}"]) == 2


def test_terms_and_the_bound_are_told(runs: dict[str, Path], tmp_path: Path, caplog: Any):
    (tmp_path / "terms.tsv").write_text("mai\t7-7\n")
    loaded = seqtrain.load(runs["translation"])
    loaded.cfg["decode"]["glossary"] = str(tmp_path / "terms.tsv")
    (found,) = loaded.predict(["3 mai 1999"])
    assert "7-7" in found
    caplog.set_level("WARNING")
    predict(
        runs,
        "translation",
        b"3 mai 1999\n",
        tmp_path,
        decode=loaded.cfg["decode"] | {"max_length": 1, "glossary": None},
    )
    assert "stopped before their end, at the bound of decode.max_length: 1" in caplog.text


def test_a_glossary_is_refused_where_there_are_no_two_texts(runs: dict[str, Path], tmp_path: Path):
    (tmp_path / "terms.tsv").write_text("good\tbad\n")
    loaded = seqtrain.load(runs["sentiment"])
    loaded.cfg["decode"]["glossary"] = str(tmp_path / "terms.tsv")
    with pytest.raises(UserError, match="a text that becomes a text"):
        loaded.predict(["a good film"])
