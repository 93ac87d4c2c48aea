"""What to know of data before a model is trained on it: sizes, lengths, what is cut or unknown, repeats, overlap."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqtrain.data.splits import Records, group
from seqtrain.text import UNKNOWN

SAMPLE, CHARACTERS = 20_000, 2_000_000  # records, and characters of a field, that tokens are counted in
WORTH = 0.01  # share of records below which a flaw is not worth a line
LONG_LINE = 40  # characters
MANY = 8  # labels that are shown one by one


class Report(NamedTuple):
    """figures: as JSON, by split. lines: what a person reads before training, warnings with their cure last."""

    figures: dict[str, Any]
    lines: list[str]


class Field(NamedTuple):
    """A text of a record: its name, how to get it, its ids before any are cut off, how many are kept (None: all)."""

    name: str
    text: Callable[[Any], str]
    encode: Callable[[str], Sequence[int]]
    max_length: int | None = None


def sizes(records: dict[str, Sequence[Any]]) -> Report:
    """The report of a task that knows nothing better: how many records there are."""
    return Report({split: {"records": len(found)} for split, found in records.items()}, [])


def texts(
    records: dict[str, Sequence[Any]],
    fields: Sequence[Field],
    label: Callable[[Any], str] | None = None,
    pieces: Callable[[str], Iterable[str]] | None = None,
) -> Report:
    """The report of records made of texts; the first field is the input.

    Lengths, unknown tokens and labels are those of a random sample where there are more than 20,000 records or 2
    million characters; repeats and overlap are counted in all. label: of a record. pieces: what of an input is looked
    for elsewhere, where that is not the whole of it.
    """
    figures: dict[str, Any] = {}
    known = np.empty(0, np.uint64)
    for split, found in records.items():
        figures[split] = {"records": len(found), **{field.name: tokens(found, field) for field in fields}}
        if label:
            figures[split] |= labels(found, fields[0].text, label)
        groups = groups_of(found, fields[0].text, pieces)
        if split == "train":
            known = np.unique(groups)
        else:
            figures[split]["in_train"] = float(np.isin(groups, known).mean()) if len(groups) else 0.0
        figures[split]["repeated"] = 1 - len(np.unique(groups)) / len(groups) if len(groups) else 0.0
    return Report(
        figures, [*overview(figures, fields), *warnings(figures, fields, "long lines" if pieces else "inputs")]
    )


def sample(records: Sequence[Any]) -> Iterator[Any]:
    """All records, or as many as make a sample, in random order."""
    return (records[int(i)] for i in np.random.default_rng(0).permutation(len(records))[:SAMPLE])


def tokens(records: Sequence[Any], field: Field) -> dict[str, Any]:
    """Lengths and unknown tokens of a field."""
    lengths, room, unknown, seen = [], CHARACTERS, 0, 0
    for record in sample(records):
        text = field.text(record)
        ids = field.encode(text[:room])
        lengths.append(len(ids) if len(text) <= room else round(len(ids) * len(text) / room))
        unknown += ids.count(UNKNOWN)
        seen += len(ids)
        room -= len(text)
        if room <= 0:
            break
    quantiles = np.quantile(lengths, [0, 0.5, 0.95, 1], method="inverted_cdf")
    found: dict[str, Any] = dict(zip(("min", "median", "p95", "max"), quantiles.tolist(), strict=True))
    found |= {"total": round(float(np.mean(lengths)) * len(records)), "sampled": len(lengths)}
    found |= {"empty": float(np.mean(np.array(lengths) == 0)), "unknown": unknown / max(1, seen)}
    if field.max_length is not None:
        found["cut"] = float(np.mean(np.array(lengths) > field.max_length))
    return found


def labels(records: Sequence[Any], text: Callable[[Any], str], label: Callable[[Any], str]) -> dict[str, Any]:
    """How many records have each label, and the share of those whose input stands under another label, too."""
    counts: Counter[str] = Counter()
    found: defaultdict[bytes, Counter[str]] = defaultdict(Counter)
    for record in sample(records):
        counts[label(record)] += 1
        found[group(text(record))][label(record)] += 1
    several = sum(own.total() for own in found.values() if len(own) > 1)
    by_count = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return {"labels": by_count, "contradicted": several / counts.total()}


def groups_of(
    records: Sequence[Any], text: Callable[[Any], str], pieces: Callable[[str], Iterable[str]] | None
) -> np.ndarray:
    """(N,) uint64: equal for equal inputs, see `group`."""
    if pieces is None and isinstance(records, Records):
        return records.groups
    inputs: Iterator[str] = map(text, records)
    if pieces:
        inputs = (piece for text in inputs for piece in pieces(text))
    return np.frombuffer(b"".join(map(group, inputs)), np.uint64)


def long_lines(text: str) -> Iterator[str]:
    """The lines of a text that are too long to come twice by chance."""
    return (line for line in text.splitlines() if len(line) >= LONG_LINE)


# -------------------------------------------------------------------------------- in words


def overview(figures: dict[str, Any], fields: Sequence[Field]) -> Iterator[str]:
    """A line for each split."""
    for split, found in figures.items():
        words = [f"{split:5}"]
        for field in fields:
            own = found[field.name]
            if field.max_length is None:
                words.append(f"{field.name} {own['total']:,} tokens")
            else:
                words.append(
                    f"{field.name} median {own['median']:,} tokens, 95% {own['p95']:,}, longest {own['max']:,}"
                )
        if len(found.get("labels", ())) > MANY:
            (most, n), *_, (least, m) = found["labels"].items()
            words.append(f"{len(found['labels'])} labels, from {most} ({n:,}) to {least} ({m:,})")
        elif "labels" in found:
            total = sum(found["labels"].values())
            shares = (f"{name} {percent(n / total)}" for name, n in found["labels"].items())
            words.append(" ".join(shares))
        if (sampled := min(found[field.name]["sampled"] for field in fields)) < found["records"]:
            words.append(f"(of a sample of {sampled:,})")
        yield "  ".join(words)


def warnings(figures: dict[str, Any], fields: Sequence[Field], inputs: str) -> Iterator[str]:
    """What is off, with its cure; of several splits the worst is told."""

    def worst(*path: str) -> tuple[float, str]:
        shares = []
        for split, found in figures.items():
            for key in path:
                found = found.get(key, {}) if isinstance(found, dict) else {}
            shares.append((found if isinstance(found, float) else 0.0, split))
        return max(shares, key=lambda pair: pair[0])

    for field in fields:
        name = field.name
        share, split = worst(name, "cut")
        if share:
            yield (
                f"{percent(share)} of the {split} {name}s are cut at task.max_length={field.max_length}; "
                f"the longest has {figures[split][name]['max']:,}"
            )
        share, split = worst(name, "unknown")
        if share > WORTH:
            yield (
                f"{percent(share)} of the {split} {name} tokens are unknown, not or too rarely seen in training: "
                "smaller units know more"
            )
        share, split = worst(name, "empty")
        if share:
            yield f"{percent(share)} of the {split} {name}s are empty: nothing can be learned from them"
    share, split = worst("in_train")
    if share:
        yield f"{percent(share)} of the {split} {inputs} stand in train, too: scores on them are of memory"
    share, split = worst("repeated")
    if share > WORTH:
        yield f"{percent(share)} of the {split} {inputs} repeat others of the same split"
    share, split = worst("contradicted")
    if share:
        yield f"{percent(share)} of the {split} {inputs} stand under several labels: no answer is right for all"


def percent(share: float) -> str:
    """A share as people write it; never 0% for a few, nor 100% for almost all."""
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{share:.1%}" if share < 0.1 or 0.995 <= share < 1 else f"{share:.0%}"
