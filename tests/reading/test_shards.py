"""Shards: their rows in bounded memory, in an order by seed, from any place on; and what is wrong with them."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from small import read

from seqtrain.config import UserError, build
from seqtrain.data.kinds import Document, Labelled, Pair
from seqtrain.reading.shards import Reader, Readers, Shards
from seqtrain.reading.streams import rows_of

COLUMNS = {"data.source": "source", "data.target": "target"}
ROWS = [(f"s{i}", f't "{i}"\nline') for i in range(7)]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return name


def json_lines(rows: list[tuple[str, str]]) -> str:
    return "".join(json.dumps({"target": target, "id": 1, "source": source}) + "\n" for source, target in rows)


def as_csv(rows: list[tuple[str, str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([("id", "target", "source"), *((1, target, source) for source, target in rows)])
    return out.getvalue()


def as_tsv(rows: list[tuple[str, str]]) -> str:
    return "".join("\t".join(row) + "\r\n" for row in [("source", "target"), *rows])


def found(name: str, form: str, start: int = 0) -> list[Any]:
    return list(rows_of([name], COLUMNS, form, "utf-8", start))


# ---------------------------------------------------------------------------------------------------- rows of a file


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("start", [0, 3, 7, 9])
def test_the_rows_of_each_form_from_any_row_on(ending: str, start: int) -> None:
    plain = [(source, target.replace("\n", " ")) for source, target in ROWS]
    made = {"jsonl": json_lines(ROWS), "csv": as_csv(ROWS), "tsv": as_tsv(plain)}
    for form, text in made.items():
        rows = found(write(f"a.{form}{ending}", text), form, start)
        assert [cells for _, cells in rows] == (plain if form == "tsv" else ROWS)[start:]
        first = {"jsonl": 1, "csv": 2, "tsv": 2}[form]
        step = 2 if form == "csv" else 1  # a quoted line end
        assert [line for line, _ in rows] == [first + step * i for i in range(start, 7)]


def test_the_rows_of_parquet_from_any_row_on() -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"target": [1, None, 3], "source": ["a", "b", "c"]}).to_parquet("a.parquet", row_group_size=2)
    rows = [(1, ("a", "1.0")), (2, ("b", "")), (3, ("c", "3.0"))]
    for start in range(4):
        assert found("a.parquet", "parquet", start) == rows[start:]


def test_lines_of_text_files_belong_together() -> None:
    write("a.txt", "one\n\nthree")
    write("b.txt.gz", "1\r\n2\r\n3\r\n")
    lines = [(1, ("one", "1")), (2, ("", "2")), (3, ("three", "3"))]
    assert list(rows_of(["a.txt", "b.txt.gz"], {}, "txt", "utf-8")) == lines
    assert list(rows_of(["a.txt"], {}, "txt", "utf-8", 2)) == [(3, ("three",))]
    write("a.txt", "one\n")
    with pytest.raises(UserError, match=r"^a\.txt ends before line 2, which b\.txt\.gz has"):
        list(rows_of(["a.txt", "b.txt.gz"], {}, "txt", "utf-8"))


def test_what_cannot_be_read_is_told_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    zipped = gzip.compress(json_lines([(f"{i} {i * 7919**3 % 100_003}", "t") for i in range(5000)]).encode())
    Path("cut.jsonl.gz").write_bytes(zipped[: len(zipped) // 2])
    Path("bent.jsonl.gz").write_bytes(zipped[:2000] + b"x" * 50 + zipped[2050:])
    Path("latin.jsonl").write_bytes(json_lines(ROWS[:1]).encode() + '{"source": "é"}\n'.encode("latin-1"))
    Path("zero.tsv").write_bytes(b"source\ttarget\na\0\tb\n")
    write("form.jsonl", "source,target\na,b\n")
    write("names.jsonl", json_lines(ROWS[:2]) + '{"source": "a", "goal": "b"}\n')
    write("names.csv", "source,goal\na,b\n")
    write("width.tsv", "source\ttarget\na\tb\nc\n")
    write("quote.csv", 'source,target\na,b\nc,"d\n')
    for name, problem in {
        "cut.jsonl.gz": r"line [\d,]{3,}: the gzipped file is damaged or cut off \(.+\); fetch it again, or leave it",
        "bent.jsonl.gz": r"line [\d,]+: the gzipped file is damaged or cut off",
        "latin.jsonl": r"line 2: not utf-8; data\.encoding=NAME",
        "zero.tsv": "line 2: a byte is zero",
        "form.jsonl": "line 1: broken JSON",
        "names.jsonl": r"line 3: there is no 'target'; it has: source, goal",
        "width.tsv": "line 3: expected 2 columns, as in the first line, found 1: c",
        "quote.csv": "line 3: a quote opens a cell and does not close it",
    }.items():
        with pytest.raises(UserError, match=f"^{name}, {problem}"):
            found(name, name.split(".")[1])
    with pytest.raises(UserError, match=r"data\.target=target: names\.csv has no such column; it has: source, goal"):
        found("names.csv", "csv")
    write("not.parquet", "nothing")
    with pytest.raises(UserError, match=r"^not\.parquet: this is not a complete Parquet file \(.+\); fetch it again"):
        found("not.parquet", "parquet")
    monkeypatch.setattr("seqtrain.reading.streams.MAX_RECORD", 20)
    with pytest.raises(UserError, match=r"^form\.jsonl, line 1: more than 20 bytes"):
        found(write("form.jsonl", "x" * 10_000), "jsonl")


# ---------------------------------------------------------------------------------------------------- readers


def some_shards(sizes: list[int]) -> Shards:
    names = [write(f"shards/{n}.txt", "".join(f"{n} {i}\n" for i in range(size))) for n, size in enumerate(sizes)]
    return Shards([(name,) for name in names], {}, "txt", "utf-8", 100)


def texts(rows: Any) -> list[str]:
    return [row.cells[0] for row in rows]


SIZES = [5, 0, 9, 1, 4, 0, 7]
ALL = sorted(f"{n} {i}" for n, size in enumerate(SIZES) for i in range(size))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_all_readers_together_read_each_row_once_in_an_order_by_seed_and_epoch(parts: int) -> None:
    shards, orders = some_shards(SIZES), []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        read = []
        for part in range(parts):
            readers = Readers(shards, seed, range(part, 6, parts), 6, epoch)
            while rows := readers.take(4, 1000):
                read += texts(rows)
            assert readers.ended
        assert sorted(read) == ALL
        orders.append(read)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_readers_go_on_from_any_place_as_if_they_had_never_stopped() -> None:
    shards = some_shards(SIZES)
    readers = Readers(shards, 3, range(3))
    takes, places = [], []
    while rows := readers.take(5, 1000):
        places.append(readers.places)
        takes.append(texts(rows))
    assert len(takes) > 3
    assert any(row for place in places for _, row in place.values())  # in the middle of a shard
    for n, place in enumerate(places, 1):
        again = Readers(shards, 3, range(3), places=place)
        assert [texts(again.take(5, 1000)) for _ in takes[n:]] == takes[n:]


def test_a_take_is_bounded_by_rows_and_by_characters() -> None:
    shards = some_shards([50, 50])
    readers = Readers(shards, 0, range(2))
    assert len(readers.take(10, 1000)) == 10
    assert len({row.shard for row in readers.take(10, 1000)}) == 2  # mixed
    assert sum(map(len, texts(readers.take(1000, 60)))) <= 60 + 2 * 4
    assert texts(Reader(shards, [1], (0, 48)).take(9, 100)) == ["1 48", "1 49"]


# ---------------------------------------------------------------------------------------------------- as data


OTHERS = {"valid": "valid.jsonl", "test": "valid.jsonl"}


def make(option: str, train: Any, **changes: Any) -> Any:
    return build(read("data", option) | {"train": train} | OTHERS | changes)


@pytest.fixture
def valid() -> None:
    write("valid.jsonl", "".join(json.dumps({"source": "a", "target": "b", "text": "a", "label": "x"}) + "\n"))


@pytest.mark.usefixtures("valid")
def test_a_pattern_a_folder_and_a_list_name_shards() -> None:
    names = [write(f"in/{n}.jsonl.gz", json_lines([(f"{n}", "t")])) for n in range(3)]
    for train in ("in/*.gz", "in", names, ["in/[01]*", "in/2.jsonl.gz"]):
        data = make("pairs", train)
        head = data.read("train").rows
        assert sorted(head.shards.names) == [(name,) for name in names]
        assert sorted(data.read("train")) == [Pair(str(n), "t") for n in range(3)]
    assert not hasattr(make("pairs", names[:1]).read("train").rows, "shards")  # one table, as ever


@pytest.mark.usefixtures("valid")
def test_parallel_files_in_shards() -> None:
    for n in range(2):
        write(f"x{n}.en.txt.gz", f"s{n}\n")
        write(f"x{n}.de.txt.gz", f"t{n}\n")
    assert sorted(make("pairs", ["*.en.txt.gz", "*.de.txt.gz"]).read("train")) == [Pair("s0", "t0"), Pair("s1", "t1")]
    write("x2.en.txt.gz", "more\n")
    with pytest.raises(UserError, match=r"as many as one another; \*\.en\.txt\.gz has 3, \*\.de\.txt\.gz has 2"):
        make("pairs", ["*.en.txt.gz", "*.de.txt.gz"])


@pytest.mark.usefixtures("valid")
def test_lines_and_labels_in_shards_and_lines_of_one_file() -> None:
    for n in range(2):
        write(f"lines{n}.txt.gz", f"text {n}\n\n")
        write(f"labels{n}.jsonl", json.dumps({"text": "a", "label": ["x", "y"][n]}) + "\n")
    assert sorted(make("lines", "lines*.gz").read("train")) == [Document("text 0"), Document("text 1")]
    assert sorted(make("labelled", "labels*").read("train")) == [Labelled("a", "x"), Labelled("a", "y")]
    write("text.txt", "".join(f"line {i}\n" for i in range(40)))
    data = build(read("data", "lines") | {"train": "text.txt"})
    assert [len(data.read(split)) for split in ("train", "valid", "test")] == [32, 4, 4]


@pytest.mark.usefixtures("valid")
def test_so_many_records_are_learned_from_in_an_order_by_seed(caplog: pytest.LogCaptureFixture) -> None:
    for n in range(3):
        write(f"in/{n}.jsonl", json_lines([(f"{n} {i}", "t" if i else " ") for i in range(50)]))
    heads = [make("pairs", "in", fit_records=30, seed=seed).read("train") for seed in (1, 1, 2)]
    assert "left out: 3 of 30 rows with an empty source or target (in/" in caplog.text
    assert [len(head) for head in heads] == [27] * 3
    assert {source[0] for source, _ in heads[0]} == {"0", "1", "2"}
    assert list(heads[0]) == list(heads[1]) != list(heads[2])
    assert heads[0].key == heads[1].key != heads[2].key


@pytest.mark.usefixtures("valid")
def test_what_is_learned_from_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("seqtrain.reading.shards.HEAD", 300)
    write("in/0.jsonl", json_lines([("s" * 100, "t")] * 50))
    assert len(make("pairs", "in").read("train")) == 3
    assert "data.fit_records=20,000: the first 3 rows of the shards have 300 characters already" in caplog.text


@pytest.mark.usefixtures("valid")
def test_what_are_no_shards_is_told() -> None:
    write("in/a.jsonl", json_lines(ROWS))
    write("in/b.csv", as_csv(ROWS))
    write("empty/a.jsonl.gz", "")
    write("other/a.xyz", "a")
    for train, changes, problem in (
        ("no/*.gz", {}, r"data\.train=no/\*\.gz: no file matches this pattern"),
        ("in/*", {}, r"shards have one form, and in/a\.jsonl and in/b\.csv have two: name those of one form"),
        ("other/*", {}, r"other/a\.xyz: expected shards that end in one of \.csv"),
        ("empty/*", {}, r"there is no row in 1 shards, such as empty/a\.jsonl\.gz"),
        ("in/*.jsonl", {"valid": None}, r"cannot be split: add data\.valid=FILE$"),
        ("in/*.jsonl", {"valid": None, "test": None}, r"add data\.valid=FILE data\.test=FILE$"),
        ("in/*.jsonl", {"encoding": "utf-16"}, r"data\.encoding=utf-16: .+ convert them to utf-8"),
        ("in/*.jsonl", {"source": "src"}, r"in/a\.jsonl, line 1: there is no 'src'"),
    ):
        with pytest.raises(UserError, match=problem):
            make("pairs", train, **changes)
    with pytest.raises(
        UserError, match=r"data\.train=in/\*: there is no such file; expected one file: patterns are for"
    ):
        build(read("data", "series") | {"train": "in/*", "date": "d", "targets": ["x"]})
