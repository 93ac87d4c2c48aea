"""Compares tags with those of the data, by token and by span, as conlleval counts (Tjong Kim Sang & Buchholz 2000)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from seqtrain.evaluation.metrics import Weighted, by_class, of_sums

OUTSIDE = "O"
MARKED = re.compile(r"[BIES](-.*)?", re.DOTALL)
LINE = 100  # characters of a line of text

Tags = Sequence[str]  # of a sentence


class Span(NamedTuple):
    """The tokens [begin, end) of a sentence, which are a phrase or an entity of some kind, such as NP."""

    begin: int
    end: int
    kind: str


def spans(tags: Tags, marks: bool) -> list[Span]:
    """Returns the spans in the tags of a sentence.

    A span begins at B or S, at I after O or after the end of another span, and where the kind changes. marks: whether
    the tags have such marks; otherwise each token whose tag is not O is a span.
    """
    if not marks:
        return [Span(i, i + 1, tag) for i, tag in enumerate(tags) if tag != OUTSIDE]
    result = []
    begin = 0
    last_mark, last_kind = OUTSIDE, ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        mark, _, kind = tag.partition("-")
        begins = mark in "BS" or last_mark in (OUTSIDE, "E", "S") or kind != last_kind
        if last_mark != OUTSIDE and (mark == OUTSIDE or begins):
            result.append(Span(begin, i, last_kind))
        if begins:
            begin = i
        last_mark, last_kind = mark, kind
    return result


class TagSet:
    """The tags of the training data. marks: whether they mark where spans begin and go on, as B-NP and I-NP do. kinds:
    the kinds of spans."""

    def __init__(self, names: Sequence[str]):
        inside = [name for name in names if name != OUTSIDE]
        self.names = names
        self.outside = len(inside) < len(names)
        self.marks = bool(inside) and all(MARKED.fullmatch(name) for name in inside)
        self.kinds = sorted({name.partition("-")[2] for name in inside}) if self.marks else inside

    def confusion(self, outputs: Iterable[Tags], targets: Iterable[Tags]) -> np.ndarray:
        """Counts how often each true tag (row) was given each tag (column): (tags, tags). True tags that the training
        data does not have are left out."""
        indices = {name: i for i, name in enumerate(self.names)}
        counts = np.zeros((len(indices),) * 2, np.int64)
        for output, tag in zip(chain.from_iterable(outputs), chain.from_iterable(targets), strict=True):
            if tag in indices:
                counts[indices[tag], indices[output]] += 1
        return counts

    def count_spans(self, outputs: Iterable[Tags], targets: Iterable[Tags]) -> dict[str, list[int]]:
        """Counts the spans of each kind: [correct, predicted, true]."""
        counts = {kind: [0, 0, 0] for kind in self.kinds}
        for output, tags in zip(outputs, targets, strict=True):
            predicted, true = set(spans(output, self.marks)), set(spans(tags, self.marks))
            for i, counted in enumerate((predicted & true, predicted, true)):
                for span in counted:
                    counts.setdefault(span.kind, [0, 0, 0])[i] += 1
        return counts

    def score(self, outputs: Sequence[Tags], targets: Sequence[Tags]) -> Weighted:
        """The accuracy and, where there is a tag O, precision, recall and F1 of all spans."""
        pairs = [*zip(outputs, targets, strict=True)]
        right = [[sum(map(str.__eq__, output, tags)), len(tags)] for output, tags in pairs]
        found = [np.sum([(0, 0, 0), *self.count_spans([output], [tags]).values()], 0) for output, tags in pairs]
        counted = self.outside and (bool(self.kinds) or bool(np.any(found)))

        def score(sums: dict[str, Any]) -> dict[str, float]:
            correct, tokens = sums["right"]
            return {"accuracy": correct / tokens} | (precision_recall_f1(*sums["spans"]) if counted else {})

        return of_sums({"right": np.array(right), "spans": np.array(found)}, score)

    def tables(self, outputs: Sequence[Tags], targets: Sequence[Tags]) -> dict[str, list[dict[str, Any]]]:
        """Returns the scores of each tag and, where tags mark spans, of each kind of span."""
        tables = {"tags": by_class(self.confusion(outputs, targets), self.names)}
        if self.marks:
            counts = self.count_spans(outputs, targets)
            tables["spans"] = [
                {"span": kind, **precision_recall_f1(*row), "support": row[2]} for kind, row in counts.items()
            ]
        return tables


def precision_recall_f1(correct: float, predicted: float, true: float) -> dict[str, float]:
    """Returns precision, recall and F1 from counts of spans; zero in place of a division by zero, as in conlleval."""
    return {
        "precision": correct / max(1, predicted),
        "recall": correct / max(1, true),
        "f1": 2 * correct / max(1, predicted + true),
    }


def under(tokens: Sequence[str], outputs: Tags, tags: Tags) -> str:
    """Returns Markdown with each output below its token, and below a wrong output the right tag in brackets."""
    right_tags = [f"({tag})" if tag != output else "" for tag, output in zip(tags, outputs, strict=True)]
    blocks: list[list[str]] = []  # of three lines each
    width = 0  # of the last block
    for cells in zip(tokens, outputs, right_tags, strict=True):
        size = max(map(len, cells)) + 1
        if not blocks or width + size > LINE:
            blocks.append(["", "", ""])
            width = 0
        width += size
        blocks[-1] = [line + cell.ljust(size) for line, cell in zip(blocks[-1], cells, strict=True)]
    lines = (line.rstrip() for block in blocks for line in block)
    return "\n".join(["```", *filter(None, lines), "```"])
