"""Data of the user's own on the command line: the report, mode=inspect, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from seqtrain import cli

OWN = Path(__file__).parents[1] / "data" / "own"
LABELLED = ["task=sentiment", "data=labelled"]
SHORT = ["device=cpu", "trainer.max_steps=1", "model.hidden_size=8", "model.embedding_size=8", "decode.max_length=5"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, own_log: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A current folder with good and bad files."""
    monkeypatch.chdir(tmp_path)
    pairs = (OWN / "pairs.tsv").read_text(encoding="utf-8")
    Path("pairs.tsv").write_text(pairs, encoding="utf-8")
    Path("short.tsv").write_text(f"{pairs}only a source\n", encoding="utf-8")
    Path("latin.tsv").write_bytes(pairs.encode("cp1252"))
    Path("one.csv").write_text("text,label\n" + "".join(f"text {i},a\n" for i in range(40)))
    Path("en.txt").write_text("one\n" * 37)
    Path("de.txt").write_text("eins\n" * 41)
    Path("cut.csv").write_text('text,label\n"a,1\n')
    Path("bad.jsonl").write_text('{"text": "a", "label": 1}\n{"text"\n')
    Path("empty").mkdir()
    with tiny.no_figures():
        yield


REFUSED = [
    ("data=pairs", "data.train needs a value: data.train=..."),
    ("data=pairs data.train=pair.tsv", "there is no such file; did you mean pairs.tsv?"),
    ("data=pairs data.train=[en.txt,de.txt]", "en.txt has 37 lines, de.txt has 41 lines"),
    ("data=pairs data.train=short.tsv", "short.tsv, line 38: expected 2 columns"),
    ("data=pairs data.train=latin.tsv", "latin.tsv: not UTF-8 at line 3; it looks like cp1252"),
    ("task=sentiment data=labelled data.train=one.csv", "have the label 'a'; two or more are needed"),
    ("task=sentiment data=labelled data.train=bad.jsonl", "bad.jsonl, line 2: broken JSON"),
    ("task=generation data=text data.train=empty", "no .txt file is in this folder"),
    ("data=text data.train=pairs.tsv", "data of the kind 'text' does not fit this task"),
    ("-m mode=inspect", "--multirun"),
    ("mode=inspect checkpoint=x", "leave checkpoint out"),
    ("mode=inspect format=onnx", "format=onnx goes with mode=export"),
    ("quantize=true", "quantize=true goes with mode=export"),
    ("mode=inspect data=pairs data.train=pair.tsv", "did you mean pairs.tsv?"),
]


@pytest.mark.parametrize(("line", "told"), REFUSED, ids=[line for line, _ in REFUSED])
def test_wrong_data_is_told_and_leaves_no_run(line: str, told: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(line.split(" ")) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2
    assert [path for path in Path().rglob("outputs/**/*") if path.is_file()] == []


@pytest.mark.parametrize("words", [["data=pairs", "data.train=short.tsv"], [*LABELLED, "data.train=cut.csv"]])
def test_wrong_data_in_a_process(words: list[str]):
    command = [sys.executable, "-m", "seqtrain", *words]
    environment = os.environ | {"PYTHONPATH": str(OWN.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"seqtrain: {words[-1].partition('=')[2]}, line ")


def test_inspect_reports_without_a_run(capsys: pytest.CaptureFixture[str]):
    words = [*LABELLED, f"data.train={OWN / 'labelled.csv'}", "output=report.json"]
    assert cli.main(["mode=inspect", *words]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "28 train, 4 valid, 4 test records"
    assert out[1].startswith("  train  text median 4 tokens, 95% 5, longest 5  ")
    assert not Path("outputs").exists()
    figures = json.loads(Path("report.json").read_text())
    assert figures.keys() == {"train", "valid", "test"}
    assert sum(figures["train"]["labels"].values()) == 28


def test_inspect_of_other_kinds_of_data(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["mode=inspect", "task=forecasting"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "1 train, 1 valid, 1 test records"
    assert cli.main(["mode=inspect", "task=generation", "data=text", f"data.train={OWN / 'text.txt'}"]) == 0
    assert "  train  text 2," in capsys.readouterr().out


def test_a_run_on_own_data_keeps_its_report_and_scores_other_files(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["data=pairs", "data.train=pairs.tsv", "hydra.run.dir=run", *SHORT]) == 0
    figures = json.loads(Path("run/data.json").read_text())
    assert [figures[split]["records"] for split in figures] == [28, 4, 4]
    assert "train  source median" in Path("run/train.log").read_text()
    Path("pairs.tsv").rename("other.tsv")
    words = ["mode=evaluate", "checkpoint=run", "decode.max_length=5"]
    assert cli.main([*words, "data=pairs", "data.train=other.tsv"]) == 0
    assert cli.main([*words, "data.train=other.tsv"]) == 0
    assert cli.main(words) == 2
    assert "data.train=pairs.tsv: there is no such file" in capsys.readouterr().err
