"""Hypotheses, the results of every search, and what the searches share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Int
from torch import Tensor

from seqtrain.trees import map_tensors

Step = Callable[..., Any]  # Generator.step


class Hypothesis(NamedTuple):
    """An output without its end mark, and the logarithm of its probability (end mark included).

    unfinished: it has no end mark, since it is as long as an output may be.
    """

    ids: list[int]
    log_prob: float
    unfinished: bool = False


def select(tree: Any, rows: Int[Tensor, " N"]) -> Any:
    """Returns these rows of every tensor in a tree, in this order."""
    return map_tensors(lambda t: t.index_select(0, rows), tree)
