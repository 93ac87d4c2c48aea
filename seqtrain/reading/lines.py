"""A text as one line, and back: mode=predict reads and writes so, and what it exports, where this file stands beside
run.py. Needs the standard library alone."""

from __future__ import annotations

import json
import re
from typing import Any


def one_line(answer: Any) -> str:
    """An answer as a line: texts with their line ends written as \\n and \\r, lists of texts with blanks between them,
    lists of numbers as JSON."""
    if isinstance(answer, list) and all(isinstance(part, str) for part in answer):
        answer = " ".join(answer)
    if not isinstance(answer, str):
        return json.dumps(answer)
    return answer.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def unescaped(line: str) -> str:
    """A line as the text that `one_line` makes it from."""
    if "\\" not in line:
        return line
    return re.sub(r"\\([\\nr])", lambda mark: {"n": "\n", "r": "\r"}.get(mark[1], mark[1]), line)
