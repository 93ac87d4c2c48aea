"""mode=score: log-probabilities by hand and by the metrics of a run, for every task, and inputs that are wrong."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from seqtrain import cli
from seqtrain.commands.loaded import load

pytestmark = pytest.mark.usefixtures("own_log")
FLAT = {"translation": ["source", "target"], "sentiment": ["text", "label"], "generation": ["text"]}


@pytest.fixture(autouse=True, scope="module")
def few_topics_and_no_figures():
    with tiny.few_topics(), tiny.no_figures():
        yield


def scored(run: Path, content: str, place: Path, *more: str, name: str = "in.csv") -> list[dict[str, Any]]:
    (place / name).write_text(content, encoding="utf-8")
    out = place / "out.jsonl"
    words = [f"checkpoint={run}", f"input={place / name}", f"output={out}", "overwrite=true", "device=cpu", *more]
    assert cli.main(["mode=score", *words]) == 0
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def as_csv(header: list[str], rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue()


@pytest.mark.parametrize("task", ["translation", "sentiment"])
def test_all_rows_have_the_loss_of_the_split(task: str, runs: dict[str, Path], tmp_path: Path) -> None:
    loaded = load(runs[task])
    records = loaded.records["test"]
    rows = [["x", *record] for record in records]
    found = scored(runs[task], as_csv(["id", *FLAT[task]], rows), tmp_path)
    loss = -sum(row["log_prob"] for row in found) / sum(row["items"] for row in found)
    assert loss == pytest.approx(loaded.evaluate("test")["loss"], rel=1e-5)
    assert [list(row) for row in found] == [["id", *FLAT[task], "log_prob", "items", "log_prob_per_item"]] * len(rows)
    assert found[0]["log_prob_per_item"] == pytest.approx(found[0]["log_prob"] / found[0]["items"])


def test_of_a_label_it_is_the_probability_of_predict(runs: dict[str, Path], tmp_path: Path) -> None:
    answer = load(runs["sentiment"]).predict("good", details=True)
    labels = list(answer["scores"])
    found = scored(runs["sentiment"], as_csv(FLAT["sentiment"], [["good", label] for label in labels]), tmp_path)
    assert [math.exp(row["log_prob"]) for row in found] == pytest.approx(list(answer["scores"].values()), rel=1e-5)


def test_of_a_translation_it_is_that_of_the_beam(runs: dict[str, Path], tmp_path: Path) -> None:
    answer = load(runs["translation"]).predict("May 3, 2021", details=True)
    (found,) = scored(runs["translation"], f"May 3, 2021\t{answer['output']}\n", tmp_path, name="in.txt")
    if len(answer["output"]) < 12:  # it has ended by itself
        assert found["log_prob"] == pytest.approx(answer["log_prob"], rel=1e-4)
    assert list(found)[:2] == ["source", "target"]


def test_a_text_by_itself(runs: dict[str, Path], tmp_path: Path) -> None:
    loaded = load(runs["generation"])
    first, second = scored(runs["generation"], "the state\nof\n", tmp_path, name="in.txt")
    ids = loaded.task.text.encode("of")
    scores = loaded.model(loaded.task.apart([loaded.task.parse("of", 1)]).batch(np.arange(1))).scores.detach()
    by_hand = float(scores.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)].sum())
    assert second["log_prob"] == pytest.approx(by_hand, rel=1e-5)
    assert (first["items"], second["items"]) == (10, 3)
    assert second["bits_per_char"] == pytest.approx(-by_hand / math.log(2) / 2)
    assert scored(runs["generation"], "text\nof\n", tmp_path) == [second]


def test_sentences_with_their_tags(runs: dict[str, Path], tmp_path: Path) -> None:
    tags = load(runs["tagging"]).task.tags.names
    content = "".join(f"import {tags[0]}\nos {tag}\n\n" for tag in [*tags, "unheard"])
    *found, other = scored(runs["tagging"], content, tmp_path, name="in.conll")
    assert found[0]["tokens"] == "import os"
    assert all(row["items"] == 2 for row in found)
    assert other["log_prob"] == -math.inf
    assert sum(math.exp(row["log_prob"]) for row in found) <= 1


def test_a_piece_of_music(runs: dict[str, Path], tmp_path: Path) -> None:
    whole, one = scored(runs["music"], "C4+E4 C4+F4 C4\nC4+E4\n", tmp_path, name="in.txt")
    assert (whole["items"], one["items"]) == (2, 0)
    assert whole["log_prob"] < 0 == one["log_prob"]


def test_series_have_densities(tmp_path: Path, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    tiny.train(run, "forecasting", {"likelihood": "student_t"}, trainer__max_steps=3)
    values = np.arange(12.0) + 300
    line = ",".join(map(str, values))
    far = ",".join(map(str, [*values[:8], *(values[8:] + 50)]))
    near, distant = scored(run, f"{line}\n{far}\n", tmp_path, name="in.txt")
    assert near["items"] == 4
    assert near["log_prob"] > distant["log_prob"]
    weeks = "\n".join(["date,co2", *(f"{np.datetime64('2024-01-06') + 7 * i},{v}" for i, v in enumerate(values))])
    (row,) = scored(run, weeks, tmp_path)
    assert row["log_prob"] == pytest.approx(near["log_prob"], rel=1e-4)
    assert (row["from"], row["to"]) == ("2024-03-02", "2024-03-23")
    assert cli.main(["mode=score", f"checkpoint={runs['forecasting']}", f"input={tmp_path / 'in.txt'}"]) == 2
    assert "no probabilities; a run with one of these likelihoods does: student_t" in capsys.readouterr().err


def test_empty_cells_and_wrong_ones(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = scored(runs["sentiment"], "text,label\n,positive\ngood,\n", tmp_path)
    assert "log_prob" not in {**first, **second}
    for content, name, message in (
        ("text,label\ngood,positiv\n", "in.csv", "did you mean positive"),
        ("text,lable\ngood,positive\n", "in.csv", "there is no 'label'"),
        ("good\n", "in.txt", "expected text and label with a tab between them"),
    ):
        (tmp_path / name).write_text(content)
        assert cli.main(["mode=score", f"checkpoint={runs['sentiment']}", f"input={tmp_path / name}"]) == 2
        assert message in capsys.readouterr().err
