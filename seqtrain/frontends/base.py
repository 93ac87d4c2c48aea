"""What every frontend is: which sources it takes, and what a model sees behind it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from seqtrain.config import UserError
from seqtrain.contract import Aligned, Reals, Spec, Tokens
from seqtrain.layers import Embedding
from seqtrain.reading.vectors import read_vectors


class Frontend(Embedding):
    """Embeds the positions of a source, as `layers.Embedding` says, and may make fewer of them.

    shortens: whether it may leave fewer positions than come in.
    """

    shortens: ClassVar[bool] = False

    def __init__(self, source: Tokens | Reals, size: int, dropout: float, word_dropout: float, scaled: bool):
        super().__init__(source, size, dropout, word_dropout, scaled)

    @classmethod
    def refuse(cls, spec: Spec) -> str | None:
        """Why this frontend cannot read such a source, or None. Sizes do not matter."""
        if cls.shortens and spec.source is None:
            return "it takes a source, and here nothing comes in"
        if cls.shortens and isinstance(spec.form, Aligned):
            return f"it leaves fewer positions than come in, and this task needs {spec.form}"
        return None

    @classmethod
    def of(cls, spec: Spec, **options: Any) -> Spec:
        """What the model behind it sees. options: the keys of the frontend's YAML file."""
        return spec

    def begin(self) -> str | None:
        """Called before a training begins, to give its weights what is known of them. Returns what to tell of it."""
        return None

    def left(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """How many positions are left of so many."""
        return lengths

    @abstractmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B R E"], Int[Tensor, " B"]]:
        """The vectors of each row, and how many of them are real."""


class Table(Frontend):
    """A frontend whose table may begin with the word vectors of a file."""

    def __init__(
        self,
        source: Tokens | Reals,
        size: int,
        dropout: float,
        word_dropout: float,
        scaled: bool,
        vectors: str | None,
    ):
        super().__init__(source, size, dropout, word_dropout, scaled)
        self.vectors = vectors

    @classmethod
    def of(cls, spec: Spec, **options: Any) -> Spec:
        words = isinstance(spec.source, Tokens) and spec.source.unit == "word"
        if options.get("vectors") and not words:
            found = f"the unit is {spec.source.unit}" if isinstance(spec.source, Tokens) else "there are none"
            raise UserError(f"frontend.vectors are of words that come in, and here {found}")
        return super().of(spec, **options)

    def begin(self) -> str | None:
        """Gives its table the vectors of the file, which are in its weights later. A word that the file lacks has the
        vector of its lower case, or else stays as it is."""
        if self.vectors is None:
            return None
        assert isinstance(self.positions, Tokens)
        assert isinstance(self.map, nn.Embedding)
        pad, items = self.positions.pad, enumerate(self.positions.items)
        ids = {item: i for i, item in items if isinstance(item, str) and item.strip() and i != pad}
        known = read_vectors(self.vectors, {*ids, *map(str.lower, ids)}, self.map.embedding_dim)
        words = {item: item if item in known else item.lower() for item in ids}
        found = {item: word for item, word in words.items() if word in known}
        if not found:
            raise UserError(f"frontend.vectors={self.vectors}: no word of the vocabulary is in it")
        with torch.no_grad():
            for item, word in found.items():
                self.map.weight[ids[item]] = torch.from_numpy(known[word]) / self.scale
        lower = sum(item != word for item, word in found.items())
        return (f"frontend.vectors: {len(found):,} of the {len(ids):,} items of the vocabulary are in "
                f"{self.vectors}, {lower:,} of them only in lower case")  # fmt: skip
