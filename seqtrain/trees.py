"""Trees of tensors: nested tuples, lists and dicts, as the states of models are."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Applies a function to every tensor of nested tuples, lists and dicts: how states are detached and reordered."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple):
        items = [map_tensors(function, item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    if isinstance(tree, list):
        return [map_tensors(function, item) for item in tree]
    if isinstance(tree, dict):
        return {key: map_tensors(function, item) for key, item in tree.items()}
    return tree


def leaves(tree: Any) -> Iterator[Any]:
    """What a tree holds, in order, tensors and others."""
    if isinstance(tree, tuple | list):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        yield from leaves(tuple(tree.values()))
    else:
        yield tree


def tensors(tree: Any) -> list[Tensor]:
    """The tensors of a tree, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]


def join(trees: Sequence[Any], dim: int = 0) -> Any:
    """Trees of the same form as one, their tensors laid end to end: the states of the parts of a batch, or the steps of
    a sequence."""
    joined = iter([torch.cat(same, dim) for same in zip(*map(tensors, trees), strict=True)])
    return map_tensors(lambda tensor: next(joined), trees[0])


def weave(trees: Sequence[Any]) -> Any:
    """The states of all rows in order, from those of the rows `n::N` for each n below N; None where there are none."""
    found = [tree for tree in trees if tree is not None]
    if not found:
        return None

    def in_order(rows: Tensor) -> Tensor:
        return rows[torch.cat([torch.arange(len(rows))[n :: len(trees)] for n in range(len(trees))]).argsort()]

    return map_tensors(in_order, join(found))
