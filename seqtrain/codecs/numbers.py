"""Lists of numbers, written as text: encodes them as real numbers, one position for each step."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from seqtrain.codecs.signal import Signal
from seqtrain.config import UserError
from seqtrain.reading.steps import numbers


class Numbers(Signal):
    """Encodes a list of numbers, or a list of lists where a step has several channels.

    It is written in JSON, or as one number for each step between spaces or commas. max_length: steps that
    are kept; None: all.
    """

    def __init__(self, max_length: int | None = None):
        super().__init__()
        self.max_length = max_length

    def exported(self) -> dict[str, Any]:
        return {"mean": self.mean, "deviation": self.deviation, "max_length": self.max_length}

    def read(self, value: str) -> Float[np.ndarray, "T C"]:
        array = read(value)
        if self.mean and array.shape[1] != len(self.mean):
            raise UserError(f"data: {value[:40]!r} has {array.shape[1]} channels; training has {len(self.mean)}")
        return array[: self.max_length]

    def load(self, line: str) -> str:
        self.read(line)
        return line

    def channels(
        self, kept: Float[np.ndarray, "T C"], random: np.random.Generator | None = None
    ) -> Float[np.ndarray, "T C"]:
        return kept

    @property
    def settings(self) -> list[Any]:
        return [self.max_length]

    def steps(self, value: str) -> list[Any]:
        """Returns all steps of a value, before `max_length` cuts them."""
        return read(value).tolist()

    def left_out(self, value: str, length: int) -> int:
        return len(read(value)) - length


def read(text: str) -> Float[np.ndarray, "T C"]:
    """As `steps.numbers`; raises `UserError`."""
    try:
        return numbers(text)
    except ValueError as error:
        raise UserError(f"data: {error}") from None
