import logging
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from seqtrain.engine.recorder import Recorder
from seqtrain.evaluation import fonts, plots

HARD = [
    "$5 to $6",
    "over $20_$",
    "a^b_c",
    r"\frac{1}{2} \u00e9",
    "two\nlines",
    "\t",
    " ",
    "",
    "\x1b[31m",
    "\ud800",
    "x" * 500,
]


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch):
    """The fonts of a bare system, whatever this one has."""
    for kept in (fonts.family, fonts.by_script, fonts.installed):
        kept.cache_clear()
    monkeypatch.setattr(fonts, "logged", set())
    entries = [entry for entry in font_manager.fontManager.ttflist if entry.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    yield
    for kept in (fonts.family, fonts.by_script, fonts.installed):
        kept.cache_clear()


def labels(figure: Figure) -> list[str]:
    (axes,) = figure.axes[:1]
    return [label.get_text() for label in axes.get_yticklabels()]


def pixels(figure: Figure) -> float:
    """Of the longer side."""
    return float(max(figure.get_size_inches()) * figure.dpi)


def test_any_label_is_drawn_as_it_is_on_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    counts = np.eye(len(HARD), dtype=int)
    figure = plots.confusion(counts, HARD)
    assert labels(figure)[:5] == [*HARD[:4], "two⏎lines"]
    assert labels(figure)[5:8] == ["⇥", "␣", ""]
    assert labels(figure)[8:] == [r"\x1b[31m", r"\ud800", "x" * 39 + "…"]
    recorder = Recorder(tmp_path, 0)
    recorder.keep("confusion matrix", figure)
    recorder.keep("attention", plots.attention(HARD, HARD, counts))
    context = np.arange(3.0)
    times = np.arange(4).astype("datetime64[D]")
    recorder.keep("forecast", plots.forecast(times, context, context[:1], {"model": context[:1]}, "$a_$ of x^$", 0.9))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "attention.png", "confusion-matrix.png", "forecast.png"
    }  # fmt: skip
    assert not caplog.records


def test_letters_without_a_font_are_escaped_and_the_font_is_named_once(
    only_dejavu: None, caplog: pytest.LogCaptureFixture
):
    texts = ["हि", "中a", "العربية", "é", "한"]
    assert fonts.legible(texts)[0] == [r"\u0939\u093f", r"\u4e2da", "العربية", "é", r"\ud55c"]
    assert fonts.legible(["中国", "👍"])[0] == [r"\u4e2d\u56fd", r"\U0001f44d" if not fonts.family("👍") else "👍"]
    told = [record.message for record in caplog.records if "CJK" in record.message]
    assert len(told) == 1
    for name in ("Noto Sans Devanagari (fonts-noto-core)", "Noto Sans CJK (fonts-noto-cjk)"):
        assert name in told[0]
    plots.png(plots.attention(texts, texts, np.eye(5)))  # without a warning, which would be an error


def test_a_font_that_is_newer_than_the_list_of_matplotlib_is_found(
    only_dejavu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    mono = str(Path(font_manager.findfont("DejaVu Sans")).with_name("DejaVuSansMono.ttf"))
    damaged, gone = tmp_path / "damaged.ttf", tmp_path / "gone.ttf"
    damaged.write_bytes(b"\0\1\0\0 no font")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(damaged), str(gone), mono])
    assert {entry.name for entry in fonts.installed()} == {"DejaVu Sans", "DejaVu Sans Mono"}


def test_invisible_letters_are_shown_where_they_stand_alone():
    assert fonts.legible(["\u202f", "a\u202fb", "\u200d", "\n"])[0] == [r"\u202f", "a b", r"\u200d", "⏎"]


def test_the_matrix_of_many_classes_is_of_bearable_size(monkeypatch: pytest.MonkeyPatch):
    counts = np.arange(70 * 70).reshape(70, 70)
    figure = plots.confusion(counts, [str(i) for i in range(70)])
    assert labels(figure) == [*map(str, range(11, 70)), "11 others"]  # the first have the fewest
    image = figure.axes[0].images[0].get_array()
    assert image is not None
    assert image[-1, -1] == pytest.approx(counts[:11, :11].sum() / counts[:11].sum())
    assert not figure.axes[0].texts
    assert figure.axes[1].get_ylabel() == "share of the row"
    assert pixels(figure) < 2200


def test_of_many_classes_those_with_errors_are_drawn_and_counted():
    counts = 20 * np.eye(70, dtype=int)
    counts[3, 5] = 4
    figure = plots.confusion(counts, [str(i) for i in range(70)])
    assert {"3", "5"} < set(labels(figure))
    assert "4" in {text.get_text() for text in figure.axes[0].texts}


def test_counts_are_brief():
    assert [plots.brief(n) for n in (0, 9999, 10_000, 123_456, 9_999_999, 12_345_678)] == [
        "0", "9999", "10k", "123k", "9999k", "12M"
    ]  # fmt: skip


def test_a_forecast_stands_over_its_dates_and_joins_what_was_known():
    times = np.arange("2024-01-30", "2024-02-04", dtype="datetime64[D]")
    figure = plots.forecast(
        times,
        np.array([1.0, np.nan, 3.0]),
        np.array([4.0, 5.0]),
        {"model": np.array([6.0, 7.0])},
        "y",
        0.8,
        (np.zeros(2), np.ones(2)),
    )
    _, truth, model = figure.axes[0].lines[:3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["context", "truth", "model", "80% interval"]
    assert list(truth.get_xdata(orig=True)) == list(times[2:])
    assert list(truth.get_ydata()) == [3, 4, 5]
    assert list(model.get_xdata(orig=True)) == list(times[3:])
    plots.png(figure)
    assert figure.axes[0].xaxis.get_offset_text().get_text() == "2024-Feb-03"


def test_long_texts_are_drawn_in_part():
    figure = plots.attention(["a"] * 1000, ["b"] * 1000, np.full((1000, 1000), 1e-3))
    assert len(labels(figure)) == 100
    assert pixels(figure) < 4000


def test_curves_of_what_is_known(tmp_path: Path):
    points = [{"step": 2, "loss": 3.0, "bleu": 1.0}, {"step": 4, "loss": float("nan"), "train_loss": 2.0, "bleu": 2.0}]
    loss, bleu = plots.curves(points, "bleu", "nats").axes
    assert [(line.get_label(), len(line.get_xdata())) for line in loss.lines] == [("validation", 2), ("training", 1)]
    assert [(line.get_label(), list(line.get_ydata())) for line in bleu.lines] == [("validation", [1, 2])]
    assert [axes.get_ylabel() for axes in (loss, bleu)] == ["loss (nats per item)", "bleu (0 to 100)"]
    (alone,) = plots.curves(points, "loss", "absolute error").axes
    assert alone.get_ylabel() == "loss (absolute error per item)"


def test_a_figure_that_cannot_be_drawn_costs_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    recorder = Recorder(tmp_path, 0)
    figure = plots.confusion(np.eye(2, dtype=int), ["a", "b"])
    figure.axes[0].set_title("$_$")  # no formula
    with caplog.at_level(logging.WARNING):
        recorder.show(1, {"confusion": figure}, keep=True)
    (record,) = caplog.records
    assert "confusion cannot be drawn" in record.message
    assert recorder.writer
    assert not (tmp_path / "figures").exists()
    recorder.close()


def test_a_long_caption_is_drawn_in_lines() -> None:
    text = "a large yellow triangle, a large white triangle, a small white square and a small blue circle"
    figure = plots.captioned([np.zeros((8, 8, 3), np.uint8)] * 2, [text, "two"])
    titles = [axes.get_title() for axes in figure.axes[:2]]
    assert titles[0].replace("\n", " ") == text
    assert max(map(len, titles[0].split("\n"))) <= 34
    assert titles[1] == "two"
