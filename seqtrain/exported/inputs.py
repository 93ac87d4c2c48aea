"""The lines of an input, and what is wrong with one. Beside run.py; needs numpy alone."""

import numpy as np
from lines import unescaped
from steps import history, numbers


class InputError(Exception):
    """The input is wrong; what is said of it is one line."""


def texts_of(data):
    """The texts that the lines of `data`, bytes, stand for. \\n ends a line, or \\r\\n; without any \\n, \\r does."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"line {data[: error.start].count(10) + 1}: not UTF-8") from None
    *lines, rest = text.split("\n" if "\n" in text or "\r" not in text else "\r")
    return [unescaped(line.removesuffix("\r")) for line in (*lines, *[rest] * bool(rest))]


def prompt_of(text, labels, number):
    """The ids of the label that a text begins with, and the prompt behind it; where there are no labels, all of it.
    number: of the line."""
    if labels is None:
        return np.array([]), text
    label, _, prompt = text.partition("\t")
    if label not in labels:
        raise InputError(f"line {number}: {label[:60]!r} is not a label of the training data")
    return np.array([labels.index(label) + 1]), prompt


def series_of(text, source, number):
    """The steps (T, C) of numbers. source: what the model knows of them. number: of the line."""
    try:
        if "context" in source:
            return history(text, source["context"], source["targets"])
        values = numbers(text)
        if values.shape[1] != len(source["mean"]):
            raise ValueError(f"{text[:40]!r} has {values.shape[1]} channels; training has {len(source['mean'])}")
        return values[: source["max_length"]]
    except ValueError as error:
        raise InputError(f"line {number}: {error}") from None
