"""The weights of one model in another, whose vocabulary or labels may be others: rows of the same item are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.config import in_brief
from seqtrain.contract import Spec, Tokens
from seqtrain.engine.checkpoint import weights_of

Shapes = dict[str, torch.Size]
SHOWN = 5  # items and weights of a kind that are named one by one


class Vocabulary(NamedTuple):
    """What ids stand for. larger: the spec with one id more. rows: what a dimension of a weight stands for, by its
    size."""

    name: str
    items: Sequence[Any]
    larger: Spec
    rows: dict[int, Sequence[Any]]


def vocabularies(spec: Spec) -> Iterator[Vocabulary]:
    """The vocabularies of what comes in, of its parts, and of what comes out."""
    source, inputs = spec.source, spec.inputs
    if isinstance(source, Tokens):
        larger = spec._replace(source=replace(source, size=source.size + 1))
        yield Vocabulary("source", source.items, larger, {source.size: filled(source.items, source.size)})
        if parts := source.parts:
            larger = spec._replace(source=replace(source, parts=replace(parts, size=parts.size + 1)))
            yield Vocabulary("characters", parts.items, larger, {parts.size: filled(parts.items, parts.size)})
    if spec.classes:
        likelihood = copy(spec.likelihood)
        likelihood.outputs += 1
        if isinstance(inputs, Tokens):
            inputs = replace(inputs, size=inputs.size + 1)
        classes = filled(spec.classes, spec.likelihood.outputs)
        rows = {spec.likelihood.size: spec.likelihood.rows(classes), len(classes): classes}
        yield Vocabulary("target", spec.classes, spec._replace(likelihood=likelihood, inputs=inputs), rows)


def filled(items: Sequence[Any], size: int) -> list[Any]:
    """The items, and None for each id that is not used."""
    return [*items, *[None] * (size - len(items))]


def transfer(
    weights: dict[str, Tensor], model: nn.Module, shapes: Callable[[Spec], Shapes], old: Spec, new: Spec
) -> str:
    """Copies the weights of an old model into a new one of the same settings, and returns what to tell of it.

    A weight belongs to a vocabulary where its shape grows with it. Of such a weight the rows are matched by item, and
    rows of new items stay as they are. So do weights that the old model does not have. shapes: gives those of a model
    of the same settings for another spec. Raises ValueError for a weight of another shape.
    """
    expected, told = shapes(old), list[str]()
    rows: dict[str, dict[int, tuple[list[int], list[int]]]] = {}  # of a weight, by dimension: places here, and there
    befores, afters = list(vocabularies(old)), list(vocabularies(new))
    if [vocabulary.name for vocabulary in befores] != [vocabulary.name for vocabulary in afters]:
        raise ValueError("what comes in or goes out is of another kind")
    for before, after in zip(befores, afters, strict=True):
        larger = shapes(before.larger)
        for name, shape in expected.items():
            for dimension, (size, grown) in enumerate(zip(shape, larger.get(name, shape), strict=True)):
                here = weights_of(model)[name].size(dimension) if size != grown else 0
                if size in before.rows and here in after.rows:
                    rows.setdefault(name, {})[dimension] = common(after.rows[here], before.rows[size])
        told.append(compared(before, after))
    taken = 0
    for name, weight in weights_of(model).items():
        if name in weights and name in expected:
            put(weight, weights[name], rows.get(name, {}), name)
            taken += 1
    for kind, some, others in (("only", weights_of(model), weights), ("not", weights, weights_of(model))):
        if some.keys() - others.keys():
            told.append(f"{kind} here: {listed(parts(some, others))}")
    if not taken:
        raise ValueError(f"no weight of this model is in it; it has {listed(parts(weights, {}))}")
    return f"{taken} of {len(weights_of(model))} weights taken{''.join(f'; {text}' for text in told)}"


def common(here: Sequence[Any], there: Sequence[Any]) -> tuple[list[int], list[int]]:
    """The places of the items that both have."""
    places = {item: i for i, item in enumerate(there) if item is not None}
    pairs = [(i, places[item]) for i, item in enumerate(here) if item in places]
    return [i for i, _ in pairs], [j for _, j in pairs]


@torch.no_grad()
def put(weight: Tensor, stored: Tensor, rows: dict[int, tuple[list[int], list[int]]], name: str) -> None:
    """Copies a weight, or the given places of some of its dimensions."""
    if stored.dtype == weight.dtype and stored.shape == weight.shape and not rows:
        weight.copy_(stored)
        return
    fits = [n == m or i in rows for i, (n, m) in enumerate(zip(weight.shape, stored.shape, strict=True))]
    if stored.dtype != weight.dtype or not all(fits):
        raise ValueError(f"{name} is of shape {tuple(stored.shape)} of {stored.dtype}, "
                         f"here {tuple(weight.shape)} of {weight.dtype}, and no names match them")  # fmt: skip
    places = [rows.get(i, ([*range(n)],) * 2) for i, n in enumerate(weight.shape)]
    here, there = (np.ix_(*(pair[side] for pair in places)) for side in (0, 1))
    weight[tuple(map(torch.from_numpy, here))] = stored.to(weight.device)[tuple(map(torch.from_numpy, there))]


def compared(before: Vocabulary, after: Vocabulary) -> str:
    """How many items of a vocabulary are known, new and left out; a few are named."""
    if list(before.items) == list(after.items):
        return f"the same {before.name} vocabulary"
    old, new = set(before.items) - {None}, set(after.items) - {None}
    parts = {"new": [item for item in after.items if item not in old]}
    parts["left out"] = [item for item in before.items if item not in new]
    counts = (f"{len(items)} {kind} ({listed(items)})" for kind, items in parts.items() if items)
    return f"{before.name}: {', '.join([f'{len(old & new)} known', *counts])}"


def parts(weights: dict[str, Tensor], others: dict[str, Tensor]) -> list[str]:
    """The parts of a model of which another model has no weight, by the shortest names that say so."""
    found = []
    for name in weights.keys() - others.keys():
        words = name.split(".")
        beginnings = (".".join(words[:n]) for n in range(1, len(words) + 1))
        found.append(next(b for b in beginnings if not any(f"{other}.".startswith(f"{b}.") for other in others)))
    return sorted(set(found))


def listed(items: Sequence[Any]) -> str:
    more = ", …" if len(items) > SHOWN else ""
    return in_brief(", ".join(str(item) for item in items[:SHOWN])) + more
