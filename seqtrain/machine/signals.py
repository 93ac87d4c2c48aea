"""Signals that end a run where it is whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
PARENT = "SEQTRAIN_PARENT"  # in the environment: the process with which this one is to end
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Interrupted(SystemExit):
    """A signal ended the run."""


class Lost(Exception):
    """Another process of the same training has ended out of turn."""


class Pruned(Exception):
    """A search has stopped a job that does worse than others. value: the monitor at its last evaluation."""

    def __init__(self, monitor: str, direction: str, value: float):
        super().__init__(monitor, direction, value)
        self.monitor, self.direction, self.value = monitor, direction, value

    def __str__(self) -> str:
        return f"pruned: other jobs have a better {self.monitor} after as many evaluations"


class Interruption:
    """SIGINT, SIGTERM, SIGUSR1 and SIGHUP end a run: at once, or, while it is `held`, where it asks with `check`. A
    second SIGINT stops in any case at once. A SIGHUP that is ignored, as under nohup, stays so."""

    def __init__(self) -> None:
        self.signal = 0
        self.holding = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self.previous[number] = signal.signal(number, self.note)
            except ValueError:  # not in the main thread: signals are somebody else's
                break
        return self

    @contextmanager
    def held(self) -> Iterator[None]:
        self.holding = True
        try:
            yield
        finally:
            self.holding = False

    def note(self, number: int, frame: Any) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number
        if not self.holding:
            self.check()

    def check(self) -> None:
        if self.signal:
            raise Interrupted(128 + self.signal)

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)


def hand_on(code: int) -> None:
    """Sends a signal that has ended a run, by its exit code, to the handler of the program that has called it: one that
    puts a job of a cluster into the queue again, now that its state is saved."""
    if code - 128 in (signal.SIGTERM, signal.SIGUSR1) and callable(signal.getsignal(code - 128)):
        signal.raise_signal(code - 128)


def end_with(parent: int) -> None:
    """Ends this process by a SIGTERM, at which a run saves its state, as soon as its parent has gone."""
    import time
    from threading import Thread

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


@contextmanager
def importing() -> Iterator[None]:
    """Within it a SIGINT ends the process in one line: an import that is interrupted raises whatever comes to it."""
    with suppress(ValueError):  # not in the main thread
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, end_at_once)
    yield
    if signal.getsignal(signal.SIGINT) is end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_at_once(number: int, frame: Any) -> NoReturn:
    with suppress(OSError):
        os.write(2, b"seqtrain: interrupted\n")
    os._exit(128 + number)


def ignore() -> None:
    """At the end, when there is nothing to interrupt any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
