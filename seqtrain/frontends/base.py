"""What every frontend is: which sources it takes, and what a model sees behind it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from jaxtyping import Float, Int, Num
from torch import Tensor

from seqtrain.contract import Aligned, Reals, Spec, Tokens
from seqtrain.layers import Embedding


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

    def left(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """How many positions are left of so many."""
        return lengths

    @abstractmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B R E"], Int[Tensor, " B"]]:
        """The vectors of each row, and how many of them are real."""
