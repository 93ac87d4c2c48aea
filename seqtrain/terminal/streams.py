"""Standard streams: replaces those that the shell has closed, and keeps control characters away from the terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import suppress
from typing import Any

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # control characters except the tab and the line end
UP = "\x1b[A"  # moves one line up; tqdm moves between its bars with it
closed: set[int] = set()  # the numbers of the streams that the shell has closed: 0, 1, 2


class Terminal(io.TextIOWrapper):
    """A stream to a terminal that prints control characters as text, such as \\x1b: they may come from data that is not
    trusted. Only what tqdm needs passes: a \\r at the beginning of a text, and moves up without other text."""

    def write(self, text: str) -> int:
        only_moves = not text.replace(UP, "").strip("\n")
        if not only_moves:
            begin = "\r" if text.startswith("\r") else ""
            text = begin + visible(text.removeprefix("\r"))
        return super().write(text)


def visible(text: str) -> str:
    """Returns a text with its control characters written as \\x1b and the like."""
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def prepare() -> None:
    """Opens /dev/null for standard streams that the shell has closed, and wraps those that go to a terminal.

    Has to be called before any file is opened: the file would get the number of a closed stream.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDWR), (2, os.O_RDWR)):  # reading a closed stream has to fail
        try:
            os.fstat(number)
        except OSError:
            closed.add(number)
            os.set_inheritable(os.open(os.devnull, mode), True)  # gets the lowest free number, which is this one
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if (stream := getattr(sys, name)) is None:
            stream = open(number, "w" if number else "r", errors="backslashreplace", closefd=False)  # noqa: SIM115
        elif number and isinstance(stream, io.TextIOWrapper) and stream.isatty() and not isinstance(stream, Terminal):
            stream = as_terminal(stream)
        else:
            continue
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a label may have characters that the encoding lacks


def as_terminal(stream: io.TextIOWrapper) -> Terminal:
    """Returns a `Terminal` in place of a stream, with the same settings."""
    names = ("encoding", "errors", "line_buffering", "write_through")
    settings: dict[str, Any] = {name: getattr(stream, name) for name in names}
    return Terminal(stream.detach(), **settings)


def say(message: str) -> None:
    """Writes a line to standard error; does nothing where that fails."""
    with suppress(OSError):
        print(message, file=sys.stderr)


def unwritable() -> bool:
    """Whether standard output cannot be written."""
    try:
        sys.stdout.flush()
        return False
    except OSError:
        return True


def finish(code: int) -> int:
    """Flushes the streams and returns the exit code: `code`, or 1 in place of 0 if standard output cannot be written.

    A closed pipe, as of `seqtrain --help | head`, is no error. A stream that fails is replaced by /dev/null, so that
    Python does not fail at its end.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and not isinstance(error, BrokenPipeError) and code == 0:
                code = 1
                say(f"seqtrain: standard output: {error.strerror}")
    return code
