"""Data sets of the hub as shards, by a folder in place of the hub; and what is told where one cannot be read."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from small import read

from seqtrain.config import UserError, build
from seqtrain.data.kinds import Document, Labelled, Pair
from seqtrain.reading import hub

ROOT = "hf://datasets/own/set"
ROWS = [{"source": f"s{i}", "target": f"t{i}", "text": f"x{i}", "label": "ab"[i % 2]} for i in range(6)]
PAIRS = [Pair(row["source"], row["target"]) for row in ROWS]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set: shards of each form, and a revision of another content."""
    fsspec = pytest.importorskip("fsspec")
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    from fsspec.implementations.dirfs import DirFileSystem

    monkeypatch.setattr(hub, "filesystem", lambda: DirFileSystem(str(tmp_path), fsspec.filesystem("file")))
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "datasets/own/set/data"
    data.mkdir(parents=True)
    for n in range(3):
        rows = ROWS[2 * n : 2 * n + 2]
        frame = pandas.DataFrame(rows)
        frame.to_parquet(data / f"train-{n}.parquet")
        frame.to_csv(data / f"{n}.csv", index=False)
        frame.to_csv(data / f"{n}.tsv", index=False, sep="\t")
        (data / f"{n}.txt").write_text("".join(row["text"] + "\n" for row in rows))
        (data / f"{n}.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        table = pyarrow.Table.from_pandas(frame)
        kind = pyarrow.ipc.new_stream if n else pyarrow.ipc.new_file
        with kind(str(data / f"{n}.arrow"), table.schema) as file:
            file.write_table(table)
    (data / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (data / "empty.parquet").touch()
    other = tmp_path / "datasets/own/set@refs/convert/parquet"
    other.mkdir(parents=True)
    pandas.DataFrame(ROWS[:1]).to_parquet(other / "0.parquet")
    return data


def make(option: str, train: Any, **changes: Any) -> Any:
    others = dict.fromkeys(("valid", "test"), f"{ROOT}/data/valid.jsonl")
    return build(read("data", option) | {"train": train} | others | changes)


@pytest.mark.parametrize("form", ["parquet", "csv", "tsv", "jsonl.gz", "arrow"])
def test_the_records_of_each_form(form: str) -> None:
    data = make("pairs", f"{ROOT}/data/*.{form}")
    shards = data.read("train").rows.shards
    assert sorted(data.read("train")) == PAIRS
    assert list(data.read("valid")) == PAIRS
    rows = [cells for n in range(3) for _, cells in shards.rows(n, 1)]
    assert rows == [tuple(pair) for pair in PAIRS[1::2]]
    assert shards.size > 0


def test_patterns_folders_lists_and_revisions() -> None:
    assert sorted(make("labelled", f"{ROOT}/data/train-*").read("train"))[0] == Labelled("x0", "a")
    assert sorted(make("lines", f"{ROOT}/data/*.txt").read("train"))[0] == Document("x0")
    names = [f"{ROOT}/data/train-{n}.parquet" for n in (1, 2)]
    assert sorted(make("pairs", names).read("train")) == PAIRS[2:]
    assert sorted(make("pairs", names[0]).read("train")) == PAIRS[2:4]
    assert list(make("pairs", f"{ROOT}@refs/convert/parquet").read("train")) == PAIRS[:1]


def test_a_file_is_fetched_once(folder: Path) -> None:
    for _ in range(2):
        assert list(make("pairs", f"{ROOT}/data/train-*").read("valid")) == PAIRS
        (folder / "valid.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        (f"{ROOT}/data/trian-*", "there is no such file in the data set"),
        (f"{ROOT}/data/trein-1.parquet", rf"there is no such file in the data set; did you mean .*{ROOT}/data/train-1"),
        (f"{ROOT}/data/empty.parquet", "there is no such file in the data set"),
        (f"{ROOT}/data/a.tar", "archives are read on the disk, not from the hub"),
        ("hf://buckets/own/set/a.parquet", "expected a data set of the hub, as hf://datasets/OWNER/NAME/"),
        ("hf://datasets/own", "expected a data set of the hub"),
        (f"{ROOT}/data/*", "shards have one form"),
    ],
)
def test_what_is_not_there_is_told(train: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as raised:
        make("pairs", train)
    assert "\n" not in str(raised.value)


def test_other_addresses_are_not_fetched() -> None:
    for name in ("https://example.org/*.parquet", "s3://a/b.parquet", f"file://{Path.cwd()}/a.parquet"):
        with pytest.raises(UserError, match=r"no such file|no file matches"):
            make("pairs", name)


def errors() -> list[tuple[Exception, str]]:
    from huggingface_hub import errors
    from huggingface_hub.utils import OfflineModeIsEnabled

    def missing(kind: Any) -> Exception:
        error = FileNotFoundError("own/set")
        error.__cause__ = kind.__new__(kind)
        return error

    return [
        (missing(errors.RepositoryNotFoundError), "no such data set, or a private one: hf auth login"),
        (missing(errors.GatedRepoError), "who have accepted its terms"),
        (missing(errors.RevisionNotFoundError), "no such revision"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set"),
        (ConnectionError("no route"), r"the hub cannot be reached, or does not answer \(ConnectionError: no route\)"),
    ]


def test_what_the_hub_says_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    for error, problem in errors():

        class Broken:
            def __getattr__(self, name: str, error: Exception = error) -> Any:
                raise error

        monkeypatch.setattr(hub, "filesystem", Broken)
        with pytest.raises(UserError, match=problem) as raised:
            make("pairs", f"{ROOT}/data/*.parquet")
        assert str(raised.value).startswith(f"data.train={ROOT}/data/*.parquet: ")
        for get in (lambda: hub.open_hub(f"{ROOT}/a"), lambda: hub.fetched(f"{ROOT}/a", "data.valid")):
            with pytest.raises(UserError, match=problem):
                get()


def test_without_the_package_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"hf:// needs huggingface_hub: pip install 'seqtrain\[hub\]'$"):
        make("pairs", f"{ROOT}/data/*.parquet")
