from typing import Any

import numpy as np
import pytest

from seqtrain.codecs.text import UNKNOWN
from seqtrain.data.kinds import Labelled, Layout, Pair, Series
from seqtrain.evaluation import report
from seqtrain.evaluation.report import Field, texts

LETTERS = dict(zip("abcdefghij", range(4, 14), strict=True))


def encode(text: str) -> list[int]:
    return [LETTERS.get(letter, UNKNOWN) for letter in text]


SOURCE = Field("source", lambda pair: pair.source, encode, max_length=4)
TARGET = Field("target", lambda pair: pair.target, encode, max_length=9)
TEXT = Field("text", lambda record: record.text, encode, max_length=9)
DOCUMENT = Field("text", lambda text: text, encode)


def pairs(*sources: str) -> list[Pair]:
    return [Pair(source, "abc") for source in sources]


def test_figures_of_pairs():
    records = {"train": pairs("a", "ab", "abc", "abcdefg", "A "), "valid": pairs("abc", " AB", "xy"), "test": pairs("")}
    figures, lines = texts(records, [SOURCE, TARGET])
    assert figures["train"] == {
        "records": 5,
        "source": {
            "min": 1,
            "median": 2,
            "p95": 7,
            "max": 7,
            "total": 15,
            "sampled": 5,
            "empty": 0,
            "unknown": 2 / 15,
            "decomposed": 0,
            "cut": 0.2,
        },
        "target": {
            "min": 3,
            "median": 3,
            "p95": 3,
            "max": 3,
            "total": 15,
            "sampled": 5,
            "empty": 0,
            "unknown": 0,
            "decomposed": 0,
            "cut": 0,
        },
        "repeated": pytest.approx(0.2),
    }
    assert figures["valid"]["in_train"] == pytest.approx(2 / 3)
    assert lines == [
        "train  source median 2 tokens, 95% 7, longest 7  target median 3 tokens, 95% 3, longest 3",
        "valid  source median 3 tokens, 95% 3, longest 3  target median 3 tokens, 95% 3, longest 3",
        "test   source median 0 tokens, 95% 0, longest 0  target median 3 tokens, 95% 3, longest 3",
        "20% of the train sources are cut at task.max_length=4; the longest has 7",
        "62% of the valid source tokens are unknown, because they are missing or too rare in training: smaller units "
        "know more",
        "100% of the test sources are empty: nothing can be learned from them",
        "67% of the valid inputs are in train, too: their scores measure memory",
        "20% of the train inputs repeat others of the same split",
    ]


def test_nothing_is_said_of_clean_data():
    records = {"train": pairs("a", "b"), "valid": pairs("ab"), "test": pairs("ba")}
    assert len(texts(records, [SOURCE, TARGET]).lines) == 3


def test_labels_are_counted_and_contradictions_found():
    found = [Labelled("a", "x"), Labelled("a", "y"), Labelled("b", "x"), Labelled("c", "x")]
    figures, lines = texts({"train": found}, [TEXT], lambda record: record.label)
    assert figures["train"]["labels"] == {"x": 3, "y": 1}
    assert lines[0].endswith("  x 75% y 25%")
    assert "50% of the train inputs have several labels: no answer is right for all" in lines
    many = [Labelled(letter, f"label {i}") for i, letter in enumerate("abcdefghij")] + [Labelled("ab", "label 3")]
    assert (
        texts({"train": many}, [TEXT], lambda record: record.label)
        .lines[0]
        .endswith("  10 labels, from label 3 (2) to label 9 (1)")
    )


def test_of_documents_the_long_lines_are_looked_for_elsewhere():
    line = "abcdefghij" * 4
    records = {"train": [f"{line}\na\nb", "a"], "valid": [f"a\n{line}\n{line}b"], "test": ["a"]}
    figures, lines = texts(records, [DOCUMENT], pieces=report.long_lines)
    assert (figures["valid"]["in_train"], figures["test"]["in_train"]) == (0.5, 0)
    assert lines[0] == "train  text 45 tokens"
    assert lines[-1] == "50% of the valid long lines are in train, too: their scores measure memory"


def test_large_data_is_sampled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "SAMPLE", 100)
    records = pairs(*("abcdefghij"[: i % 5 + 1] for i in range(1000)))
    figures, lines = texts({"train": records}, [SOURCE])
    assert (figures["train"]["records"], figures["train"]["source"]["sampled"]) == (1000, 100)
    assert figures["train"]["source"]["total"] == pytest.approx(3000, rel=0.2)
    assert figures["train"]["repeated"] == 1 - 5 / 1000
    assert lines[0].endswith("(of a sample of 100)")


def test_the_length_of_a_long_text_is_estimated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "CHARACTERS", 50)
    asked: list[int] = []

    def every_other(text: str) -> list[int]:
        asked.append(len(text))
        return encode(text[::2])

    figures, _ = texts({"train": ["ab" * 500, "ab"]}, [Field("text", lambda text: text, every_other)])
    assert asked == [50]
    assert figures["train"]["text"]["max"] == 500


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0.0%"), (0.0004, "under 0.1%"), (0.012, "1.2%"), (0.123, "12%"), (0.996, "99.6%"), (1, "100%")],
)
def test_shares_in_words(share: Any, words: str):
    assert report.percent(float(share)) == words


def test_by_default_a_task_counts_records():
    assert report.sizes({"train": [np.zeros(3)] * 4}) == ({"train": {"records": 4}}, [])


def test_accents_apart_from_their_letters_are_told():
    records = {"train": ["cafe\u0301", "café", "cafe", "the"]}
    figures, lines = texts(records, [DOCUMENT])
    assert figures["train"]["text"]["decomposed"] == 0.25
    assert lines[-1].startswith("25% of the train texts have accents apart from their letters")
    assert "task.tokenizer.nfc=true" in lines[-1]
    assert "they are composed" in texts(records, [DOCUMENT._replace(nfc=True)]).lines[-1]


# -------------------------------------------------------------------------------- time series


def make(name: str, rows: int, begin: int = 0, gaps: tuple[int, ...] = ()) -> Series:
    values = np.arange(float(rows))[:, None]
    values[list(gaps)] = np.nan
    times = np.datetime64("2024-01-01") + np.arange(rows)
    return Series(name, times, values, begin, Layout(("sales",), known=("holiday",), frequency="D"))


def test_series_in_a_few_lines():
    train = [make("a", 20, gaps=(3, 4, 5, 9)), make("b", 7), make("c", 6)]
    figures, lines = report.time_series(
        {"train": train, "valid": [make("a", 30, begin=20), make("b", 22, begin=20)]}, 5, 3, 7, "abc"
    )
    assert lines == [
        "3 series of sales, one row every day (D), a season of 7; known ahead: holiday",
        "train: 2024-01-01 to 2024-01-20, 33 steps, 13 windows, 12.12% missing, the longest gap 3 steps",
        "train: 2 series (b, c) too short for a window of 5 + 3 steps; task.context=3 would take all",
        "valid: 2024-01-21 to 2024-01-30, 12 steps, 8 windows, nothing missing",
        "valid: 1 series (b) too short for a window of 5 + 3 steps; the shortest part has 2 steps: "
        "a shorter task.horizon is needed",
    ]
    assert figures == {
        "train": {"series": 3, "steps": 33, "windows": 13, "missing": 4 / 33},
        "valid": {"series": 2, "steps": 12, "windows": 8, "missing": 0.0},
    }
