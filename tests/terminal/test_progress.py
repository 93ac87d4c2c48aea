"""Bars in a terminal, which is a screen of a few lines here, and the lines in the log that stand for them elsewhere."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import count
from unittest.mock import patch

import pytest
from tqdm import tqdm

from seqtrain.terminal.progress import Lines, bar

log = logging.getLogger("seqtrain.test")


class Screen(StringIO):
    """A terminal that knows line ends, carriage returns, and the way up."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[A|\n|\r|[^\x1b\n\r]+", self.getvalue()):
            if part == "\x1b[A":
                row -= 1
            elif part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row == len(lines))
            elif part == "\r":
                column = 0
            else:
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines]


@contextmanager
def terminal(columns: int = 80, seconds: float = 1.0) -> Iterator[Screen]:
    """A screen to which both the log and standard error go. seconds: what passes between two looks at the clock."""
    screen, clock = Screen(), count(step=seconds)
    with (
        patch.object(sys, "stderr", screen),
        patch.object(logging.root, "handlers", [logging.StreamHandler(screen)]),
        patch.object(logging.root, "level", logging.INFO),
        patch("tqdm.std._screen_shape_wrapper", lambda: lambda file: (columns, 24)),
        patch("tqdm.std.time", lambda: next(clock)),
        patch("seqtrain.terminal.progress.time", lambda: next(clock)),
    ):
        yield screen


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_what_is_logged_stands_above_the_bars(columns: int) -> None:
    with terminal(columns) as screen:
        with bar(10, "step", "train") as train:
            train.set_postfix_str("loss 0.5000", refresh=False)
            train.update(4)
            with bar(3, "batch", "evaluate") as shown:
                shown.update()
                log.info("in the middle of an evaluation")
                above, first, second = screen.lines[:3]
                assert above == "in the middle of an evaluation"
                assert re.fullmatch(r"train: +40%\|.+\| 4/10, loss 0\.5000, \d\d:\d\d left(, .+step)?(/s)?", first)
                assert second.startswith("evaluate:  33%|")
                assert len(first) <= columns - 2  # room for ^C
                assert ("step" in first) == (columns > 50)
            log.info("after it")
            train.update()
            assert [line.partition(":")[0] for line in screen.lines if line] == [above, "after it", "train"]
        assert [line for line in screen.lines if line] == [above, "after it"]


def test_what_takes_less_than_a_second_has_no_bar() -> None:
    with terminal(seconds=0.01) as screen, bar(3, "step", "x") as shown:
        shown.update()
        log.info("a line")
        assert [line for line in screen.lines if line] == ["a line"]
    assert [line for line in screen.lines if line] == ["a line"]


def test_without_a_terminal_lines_come_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    with patch("tqdm.std.time", lambda: now), bar(1000, "step", "train", start=100) as shown:
        assert isinstance(shown, Lines)
        shown.set_postfix_str("loss 0.5000", refresh=False)
        came = []
        for _ in range(200):
            now += 1
            if shown.update():
                came.append(now)
    assert came == [5, 15, 35, 75, 135, 195]
    assert len(caplog.messages) == 6
    assert caplog.messages[0] == "train: step 105 of 1000, loss 0.5000, 1.00step/s, 14:55 left"
    assert not any("\r" in message for message in caplog.messages)


def test_without_a_total_lines_say_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    with patch("tqdm.std.time", lambda: now), bar(None, "line", "predict") as shown:
        now = 10.0
        shown.update(70)
    assert caplog.messages == ["predict: line 70, 7.00line/s"]


def test_nothing_is_written_beside_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    with bar(3, "step", "train") as shown:
        shown.update()
    assert capfd.readouterr() == ("", "")


def test_bars_take_no_semaphore_that_a_killed_process_would_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise AssertionError

    monkeypatch.delattr(tqdm, "_lock", raising=False)
    monkeypatch.setattr("tqdm.std.TqdmDefaultWriteLock", fails)
    with bar(3, "step", "train"), terminal(), bar(3, "step", "train"):
        log.info("above the bar")
