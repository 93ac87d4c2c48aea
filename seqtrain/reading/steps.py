"""Numbers as a line. What is exported reads them so, too: this file stands beside its run.py, and needs numpy alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np


def numbers(text: str) -> np.ndarray:
    """The steps of a text, (T, C): in JSON a list of numbers, or of lists where there are several channels; or a number
    for each step between spaces or commas. Raises ValueError where it is not a list of finite numbers."""
    try:
        parts = json.loads(text) if text.lstrip().startswith("[") else text.replace(",", " ").split()
        array = np.array(parts, float)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or not array.size or not np.isfinite(array).all():
            raise ValueError
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError(f"{text[:40]!r} is no list of finite numbers, or of lists of as many each") from None
    return array


def history(line: str, context: int, targets: Sequence[str], hint: str = "") -> np.ndarray:
    """The last steps of a history, (context, C), NaN where a value is missing. Missing is what is "nan", null in JSON,
    or nothing between commas. targets: the names of the channels. hint: what the message ends with where these are no
    numbers. Raises ValueError."""
    try:
        if line.lstrip().startswith("["):
            parts = json.loads(line)
        else:
            parts = [part.strip() or np.nan for part in line.split(",")] if "," in line else line.split()
        values = np.array([[np.nan] if part is None else np.atleast_1d(part) for part in parts], float)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError(f"expected numbers, found {line[:60]!r}{hint}") from None
    if len(values) < context:
        raise ValueError(f"{len(values)} values; the model reads the last {context}")
    if values.ndim != 2 or values.shape[1] != len(targets):
        raise ValueError(f"expected {len(targets)} value(s) a step: {', '.join(targets)}")
    if np.isinf(values).any():
        raise ValueError("expected finite numbers")
    if problem := empty_channel(values[-context:], targets):
        raise ValueError(problem)
    return values[-context:]


def empty_channel(values: np.ndarray, targets: Sequence[str]) -> str | None:
    """What to say where a channel of a history (S, C) has no value at all, else None."""
    names = [name for i, name in enumerate(targets) if np.isnan(values[:, i]).all()]
    return f"none of the last {len(values)} values of {names[0]} is known" if names else None
