"""Pictures as grids of colours of one size."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from copy import copy
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from seqtrain.codecs.ragged import Ragged
from seqtrain.config.json_values import is_a
from seqtrain.contract import Codec, Reals
from seqtrain.reading.files import PIPED
from seqtrain.reading.pictures import BEGINS, ENDINGS, decode, fitted, read_picture

SAMPLE = 1000  # pictures that the colours' means are learned from


class Image(Codec):
    """A picture, in memory or in a file, as one position: three colours of `size` × `size` pixels, each shifted and
    scaled to the mean 0 and the deviation 1 of the training pictures. Pictures of other sizes are scaled, and cut at
    the longer side. shift: pixels by which a picture may be moved in training, at random, its edges drawn out."""

    endings, begins = ENDINGS, BEGINS

    def __init__(self, size: int, shift: int):
        self.size, self.shift = size, shift
        self.mean: list[float] = []
        self.deviation: list[float] = []

    @property
    def positions(self) -> Reals:
        return Reals((3, self.size, self.size))

    def fit(self, values: Iterable[Any]) -> None:
        found = np.stack([self.pixels(value) for value in islice(values, SAMPLE)]).astype(np.float32)
        self.mean = found.mean((0, 2, 3)).tolist()
        self.deviation = np.maximum(found.std((0, 2, 3)), 1.0).tolist()

    def state(self) -> dict[str, list[float]]:
        return {"mean": self.mean, "deviation": self.deviation}

    def load_state(self, state: Any) -> None:
        mean, deviation = state["mean"], state["deviation"]
        if not is_a([mean, deviation], list[list[float]]) or not len(mean) == len(deviation) == 3:
            raise ValueError("image: expected the means and deviations of three colours")
        if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in deviation):
            raise ValueError("image: expected finite means and positive deviations")
        self.mean, self.deviation = mean, deviation

    def load(self, line: Any) -> UInt8[np.ndarray, "H W 3"]:
        return decode(io.BytesIO(line), PIPED) if isinstance(line, bytes) else read_picture(line)

    def pixels(self, value: Any) -> UInt8[np.ndarray, "3 H W"]:
        """The colours of a picture, or of the file of that name."""
        picture = read_picture(value) if isinstance(value, str) else value
        return np.moveaxis(fitted(picture, self.size), 2, 0)

    def encode(self, value: Any) -> Float[np.ndarray, "1 3 H W"]:
        return self.encode_all([value]).padded(np.arange(1), 0)[0][0].numpy()

    def encode_all(self, values: Iterable[Any]) -> Pictures:
        return Pictures(np.stack([self.pixels(value) for value in values]), self)

    def shown(self, value: Any) -> list[str]:
        return [""]  # a single position

    def decode(self, array: Float[np.ndarray, "1 3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
        colours = np.moveaxis(array[0], 0, 2) * self.deviation + self.mean
        return np.clip(np.round(colours), 0, 255).astype(np.uint8)


class Pictures(Ragged):
    """Pictures of one size, one position each. In memory a colour of a pixel is a byte."""

    def __init__(self, values: UInt8[np.ndarray, "N 3 H W"], codec: Image):
        super().__init__(values, np.ones(len(values), np.int64))
        self.codec = codec
        self.random: np.random.Generator | None = None

    def varied(self, random: np.random.Generator | None) -> Pictures:
        other = copy(self)
        other.random = random
        return other

    def padded(self, rows: np.ndarray, pad: int) -> tuple[Float[Tensor, "B 1 3 H W"], Int[Tensor, " B"]]:
        found, reach = self.values[rows], self.codec.shift
        if self.random is not None and reach:
            side = np.arange(found.shape[2])
            moves = self.random.integers(-reach, reach + 1, (2, len(rows), 1))
            down, across = np.clip(side + moves, 0, len(side) - 1)
            found = found[np.arange(len(rows))[:, None, None], :, down[:, :, None], across[:, None]]  # (B, H, W, 3)
            found = np.moveaxis(found, 3, 1)
        mean, deviation = (
            np.array(some, np.float32)[:, None, None] for some in (self.codec.mean, self.codec.deviation)
        )
        return torch.from_numpy((found - mean) / deviation)[:, None], torch.ones(len(rows), dtype=torch.long)
