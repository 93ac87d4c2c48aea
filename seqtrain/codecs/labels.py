"""Labels: encodes the name of a class as its index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Int

from seqtrain.codecs.ragged import Ragged
from seqtrain.config import LineError, UserError, in_brief
from seqtrain.config.json_values import is_a
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.contract import Codec, Tokens


class Labels(Codec):
    """Encodes a label as one position, its index among all labels in alphabetical order.

    first: the index of the first label; 1 keeps 0 free for padding. least: how many different labels there must be.
    """

    def __init__(self, first: int = 0, least: int = 2):
        self.first, self.least = first, least
        self.names: list[str] = []

    @property
    def positions(self) -> Tokens:
        items = [*[None] * self.first, *self.names] if self.names else []
        return Tokens(len(items), items=items, unit="label")

    def fit(self, values: Iterable[str]) -> None:
        names = sorted(set(values))
        if len(names) < self.least:
            raise UserError(f"data: all training examples have the label {names[0]!r}; two or more are needed")
        self.names = names

    def renew(self, values: Iterable[str]) -> None:
        if not (found := set(values)) <= set(self.names):
            Labels.fit(self, found)  # that of `Tags` takes sentences

    def check(self, name: str, number: int) -> None:
        """Raises `LineError`, with the number of the line, for a label that training does not have."""
        if name not in self.names:
            known = did_you_mean(near(name, self.names)) or f": one of {in_brief(', '.join(self.names))}"
            raise LineError(number, f"{in_brief(name)!r} is not a label of the training data{known}")

    def state(self) -> list[str]:
        return self.names

    def load_state(self, state: Any) -> None:
        if not is_a(state, list[str]) or len(set(state)) < len(state) or len(state) < self.least:
            raise ValueError(f"labels: expected at least {self.least} different texts")
        self.names = state

    def exported(self) -> dict[str, Any] | None:
        return {"labels": self.names}

    def encode(self, value: str) -> Int[np.ndarray, "1"]:
        return self.encode_all([value]).values

    def encode_all(self, values: Iterable[str]) -> Ragged:
        indices = {label: i for i, label in enumerate(self.names, self.first)}
        try:
            encoded = np.array([indices[value] for value in values], np.int64)
        except KeyError as error:
            label = error.args[0]
            hint = did_you_mean(near(label, self.names))
            raise UserError(f"data: the label {label!r} is not in the training split{hint}") from None
        return Ragged(encoded, np.ones(len(encoded), np.int64))

    def decode(self, array: Int[np.ndarray, " T"]) -> Any:
        return self.names[array.item() - self.first]


class Tags(Labels):
    """Encodes a label for each token of a sentence. A label that training does not have is encoded as the first one, 0,
    since no model can learn it: so compare outputs with the labels themselves, not with their indices."""

    def exported(self) -> None:
        return None

    def fit(self, values: Iterable[Sequence[str]]) -> None:
        super().fit(chain.from_iterable(values))

    def renew(self, values: Iterable[Sequence[str]]) -> None:
        super().renew(chain.from_iterable(values))

    def encode(self, value: Sequence[str]) -> Int[np.ndarray, " T"]:
        return self.encode_all([value]).values

    def encode_all(self, values: Iterable[Sequence[str]]) -> Ragged:
        indices = {label: i for i, label in enumerate(self.names)}
        return Ragged.of([[indices.get(tag, 0) for tag in tags] for tags in values])

    def decode(self, array: Int[np.ndarray, " T"]) -> list[str]:
        return [self.names[i] for i in array]
