"""Signals that end a run where it is whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(SystemExit):
    """A signal ended the run."""


class Lost(Exception):
    """Another process of the same training has ended out of turn."""


class Interruption:
    """SIGINT, SIGTERM and SIGUSR1 end a run: at once, or, while it is `held`, where it asks with `check`. A second
    SIGINT stops in any case at once."""

    def __init__(self) -> None:
        self.signal = 0
        self.holding = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
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
