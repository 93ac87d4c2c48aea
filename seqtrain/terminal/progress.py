"""Progress of long work: a bar below the log in a terminal, lines in the log anywhere else."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from threading import RLock, Thread
from time import time
from typing import Any, TypeVar
from warnings import catch_warnings, simplefilter

from tqdm import tqdm

with catch_warnings():
    simplefilter("ignore")  # of widgets that a notebook may lack, and that are not used here
    from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)
T = TypeVar("T")


@contextmanager
def bar(total: int | None, unit: str, what: str, start: int = 0, hidden: bool = False) -> Iterator[tqdm]:
    """Gives a tqdm, whose `update` and `set_postfix_str` show how far the work has come.

    total: units of work, None where that is unknown. what: the name of the work. start: units done before. Of several
    processes only the first one shows progress. In a terminal or a notebook the log is written above the bar.
    Where standard error or the log go elsewhere, a line is logged after 5 seconds and then more and more rarely, down
    to one a minute.
    """
    hidden = hidden or os.environ.get("RANK", "0") != "0"
    settings: dict[str, Any] = {"total": total, "initial": start, "unit": unit, "desc": what, "disable": hidden}
    if in_terminal():
        with logging_redirect_tqdm(tqdm_class=Bar), Bar(**settings) as progress:
            yield progress
    else:
        with Lines(**settings) as progress:
            yield progress


def in_terminal() -> bool:
    """Whether standard error, which shows the bar, and all of the log go to a terminal or a notebook."""
    if (ipython := sys.modules.get("IPython")) and "IPKernelApp" in getattr(ipython.get_ipython(), "config", ()):
        return True
    handlers = [handler for handler in logging.root.handlers if isinstance(handler, logging.StreamHandler)]
    streams = [handler.stream for handler in handlers if not isinstance(handler, logging.FileHandler)]
    return all(stream is not None and stream.isatty() for stream in (sys.stderr, *streams))


class Bar(tqdm):
    """A bar for work that takes longer than a second. It is as wide as the terminal is at the moment."""

    def __init__(self, **settings: Any):
        super().__init__(**settings, delay=1, leave=False, smoothing=0.05, dynamic_ncols=True)
        terminal_size: Any = self.dynamic_ncols  # tqdm's function of a stream: (columns, rows), or None where unknown

        def narrower(file: Any) -> tuple[int | None, int | None]:
            """Leaves two columns free for the ^C that a terminal prints at an interrupt."""
            columns, rows = terminal_size(file)
            return (None if columns is None else columns - 2), rows

        self.dynamic_ncols = narrower

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draws the bar, but not before the delay is over: tqdm would draw it whenever a line is logged."""
        if time() < self.start_t + self.delay:
            return False
        self.delay = 0  # tqdm clears a bar at its end only if it has no delay
        if self.total:
            rate = ", {rate_fmt}" if (self.ncols or 80) >= 64 else ""
            self.bar_format = f"{{l_bar}}{{bar}}| {{n_fmt}}/{{total_fmt}}{{postfix}}, {{remaining}} left{rate}"
        return super().display(msg, pos)


class Lines(tqdm):
    """Writes lines into the log in place of a bar."""

    monitor_interval = 0  # tqdm's thread that redraws bars is not needed

    def __init__(self, **settings: Any):
        of, left = (" of {total_fmt}", ", {remaining} left") if settings["total"] else ("", "")
        form = f"{{desc}}: {{unit}} {{n_fmt}}{of}{{postfix}}, {{rate_fmt}}{left}"
        pace = {"delay": 1, "mininterval": 5, "miniters": 1, "smoothing": 0.3}
        super().__init__(**settings, **pace, file=StringIO(), leave=False, bar_format=form)

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Logs a line, and doubles the time to the next one up to a minute. msg: "" when tqdm clears the bar."""
        if msg is None:
            log.info(" ".join(str(self).split()))
            self.mininterval = min(2 * self.mininterval, 60)
        return True


# One for all bars. tqdm's own is a semaphore of the system, which a process that is killed would leave behind.
LOCK = RLock()
Bar.set_lock(LOCK)
Lines.set_lock(LOCK)


def run_in_thread(work: Callable[[], T], each_second: Callable[[], object]) -> T:
    """Runs `work` in another thread and returns its result; calls `each_second` while it waits.

    For long calls of libraries in C++ or Rust, during which the main thread could not react to a signal. After a signal
    the thread is given up: it ends with the process.
    """
    from concurrent.futures import Future, wait  # imported late: slow, and a Ctrl-C is to be handled early

    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    while wait([done], timeout=1).not_done:
        each_second()
    return done.result()
