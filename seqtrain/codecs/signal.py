"""Values that are measured (lists of numbers, recordings, strokes, images) as positions of real numbers."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from seqtrain.codecs.prepared import Column
from seqtrain.codecs.ragged import Ragged
from seqtrain.config import UserError
from seqtrain.config.json_values import is_a
from seqtrain.contract import Codec, Reals
from seqtrain.storage.cache import prepared
from seqtrain.terminal.progress import bar

SHOWN_PROBLEMS = 10
FITTED = 1000  # values whose mean and deviation are taken


class Signal(Codec):
    """A value is read once, into what is kept of it (samples, points, pixels). Positions are made of that anew in every
    batch, and in training they are changed at random. Each channel is shifted and scaled to the mean 0 and the
    deviation 1 of the training values.
    """

    mean: list[float]
    deviation: list[float]

    def __init__(self) -> None:
        self.mean, self.deviation = [], []

    @abstractmethod
    def read(self, value: Any) -> Num[np.ndarray, "N *G"]:
        """What is kept of a value. Raises `UserError` for one that cannot be read."""

    @abstractmethod
    def channels(
        self, kept: Num[np.ndarray, "N *G"], random: np.random.Generator | None = None
    ) -> Float[np.ndarray, "T C"]:
        """The positions, as measured. random: changes them as in training."""

    def masked(self, array: Float[np.ndarray, "T C"], random: np.random.Generator) -> Float[np.ndarray, "T C"]:
        """Positions of a training example, scaled, some of which may be put to the mean."""
        return array

    def count(self, kept: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """How many positions become of so many items that are kept."""
        return kept

    @property
    def settings(self) -> list[Any]:
        """What `read` depends on, beside the value."""
        return []

    @property
    def positions(self) -> Reals:
        return Reals((len(self.mean),))

    def fit(self, values: Iterable[Any]) -> None:
        kept = self.read_all(values)
        rows = np.linspace(0, len(kept.lengths) - 1, min(len(kept.lengths), FITTED)).astype(int)
        parts = [self.channels(kept[int(row)]) for row in rows]
        widths = {part.shape[1] for part in parts}
        if len(widths) > 1:
            raise UserError(f"data: expected lists of as many channels each, found {min(widths)} to {max(widths)}")
        steps = np.concatenate(parts).astype(float)
        self.mean, deviation = steps.mean(0).tolist(), steps.std(0)
        self.deviation = np.where(deviation > 0, deviation, 1.0).tolist()

    def state(self) -> dict[str, list[float]]:
        return {"mean": self.mean, "deviation": self.deviation}

    def load_state(self, state: Any) -> None:
        mean, deviation = state["mean"], state["deviation"]
        if not is_a([mean, deviation], list[list[float]]) or not 0 < len(mean) == len(deviation):
            raise ValueError("numbers: expected means and deviations")
        if not all(math.isfinite(value) for value in mean) or not all(0 < value < math.inf for value in deviation):
            raise ValueError("numbers: expected finite means and positive deviations")
        self.mean, self.deviation = mean, deviation

    def encode(self, value: Any) -> Float[np.ndarray, "T C"]:
        return self.scaled(self.read(value))

    def scaled(
        self, kept: Num[np.ndarray, "N *G"], random: np.random.Generator | None = None
    ) -> Float[np.ndarray, "T C"]:
        """The positions as a model reads them."""
        array = ((self.channels(kept, random) - self.mean) / self.deviation).astype(np.float32)
        return array if random is None else self.masked(array, random)

    def decode(self, array: Float[np.ndarray, "T C"]) -> str:
        return json.dumps((array * self.deviation + self.mean).tolist())

    def encode_all(self, values: Iterable[Any]) -> Signals:
        return Signals(self, self.read_all(values))

    def read_all(self, values: Iterable[Any]) -> Ragged:
        """What is kept of all values; of large records in the cache. All that cannot be read are named, a line each."""
        if not isinstance(values, Column) or values.key is None:
            return Ragged.of(list(self.readable(values)))

        def write(folder: Path) -> None:
            lengths, kept = list[int](), np.empty(0)
            with (folder / "values").open("wb") as file, bar(len(values), "value", "prepare") as shown:
                for kept in self.readable(values):
                    lengths.append(len(kept))
                    kept.tofile(file)
                    shown.update()
            np.array(lengths).tofile(folder / "lengths")
            (folder / "form").write_text(json.dumps([kept.dtype.str, *kept.shape[1:]]))

        folder = prepared(json.dumps(["kept", *values.key, type(self).__name__, *self.settings]), write)
        kind, *shape = json.loads((folder / "form").read_text())
        flat = np.memmap(folder / "values", np.dtype(kind), "r")
        return Ragged(flat.reshape(-1, *shape), np.fromfile(folder / "lengths", np.int64))

    def readable(self, values: Iterable[Any]) -> Iterator[np.ndarray]:
        problems: list[str] = []
        for value in values:
            try:
                yield self.read(value)
            except UserError as error:
                problems.append(str(error))
                if len(problems) == SHOWN_PROBLEMS:
                    break
        if problems:
            raise UserError("\n".join(problems))


class Signals:
    """Values of a `Signal` codec, of which a padded batch is made when it is asked for."""

    def __init__(self, codec: Signal, kept: Ragged, random: np.random.Generator | None = None):
        self.codec, self.kept, self.random = codec, kept, random
        self.lengths = codec.count(kept.lengths)

    def __getitem__(self, row: int) -> Float[np.ndarray, "T C"]:
        return self.codec.scaled(self.kept[row], self.random)

    def varied(self, random: np.random.Generator | None) -> Signals:
        return Signals(self.codec, self.kept, random)

    def padded(self, rows: np.ndarray, pad: int) -> tuple[Float[Tensor, "B T C"], Int[Tensor, " B"]]:
        arrays = [torch.from_numpy(self[row]) for row in rows.tolist()]
        padded = torch.nn.utils.rnn.pad_sequence(arrays, batch_first=True, padding_value=pad)
        return padded, torch.tensor([len(array) for array in arrays])
