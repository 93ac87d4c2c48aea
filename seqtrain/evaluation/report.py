"""Reports on data before training: sizes and lengths, and what is cut, unknown, repeated or missing."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from seqtrain.codecs.labels import Labels
from seqtrain.codecs.numbers import Numbers
from seqtrain.codecs.prepared import Column, Text
from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.signal import Signal
from seqtrain.codecs.text import UNKNOWN
from seqtrain.contract import Codec
from seqtrain.data.kinds import Layout, Series
from seqtrain.reading.frequency import in_words
from seqtrain.reading.splits import Records, group_hash
from seqtrain.reading.timestamps import local, write

SAMPLE = 20_000  # records in which tokens are counted
CHARACTERS = 2_000_000  # characters of a field in which tokens are counted
RARE = 0.01  # share below which some flaws are not reported
LONG_LINE = 40  # characters
MAX_LISTED = 8  # labels; of more, only the most frequent and the rarest are shown

# {flaw: (it is reported above this share of records or tokens, message)}
FIELD_FLAWS = {
    "cut": (0, "{share} of the {split} {name}s are cut at task.max_length={limit}; the longest has {longest:,}"),
    "unknown": (RARE, "{share} of the {split} {name} tokens are unknown, because they are missing or too rare in "
                      "training: smaller units know more"),
    "composed": (0, "{share} of the {split} {name}s have accents apart from their letters; they are composed"),
    "decomposed": (RARE, "{share} of the {split} {name}s have accents apart from their letters, as separate items: "
                         "task.tokenizer.nfc=true composes them"),
    "empty": (0, "{share} of the {split} {name}s are empty: nothing can be learned from them"),
}  # fmt: skip
INPUT_FLAWS = {
    "in_train": (0, "{share} of the {split} {name} are in train, too: their scores measure memory"),
    "repeated": (RARE, "{share} of the {split} {name} repeat others of the same split"),
    "contradicted": (0, "{share} of the {split} {name} have several labels: no answer is right for all"),
}


class Report(NamedTuple):
    """figures: numbers for JSON, by split. lines: texts for the log, warnings at the end."""

    figures: dict[str, Any]
    lines: list[str]


class Field(NamedTuple):
    """A text in each record, such as its source or its target."""

    name: str
    text: Callable[[Any], str]  # gets the text from a record
    encode: Callable[[str], Sequence[int]]  # the ids of a text, before any are cut off
    max_length: int | None = None  # ids that are kept; None: all
    nfc: bool = False  # whether letters and accents are composed before encoding
    unit: str = "tokens"  # what an id stands for; a text of other units is never encoded in part


def sizes(records: dict[str, Sequence[Any]]) -> Report:
    """Returns the default report of a task: the number of records."""
    return Report({split: {"records": len(part)} for split, part in records.items()}, [])


def encoded(records: dict[str, Sequence[Any]], codecs: Mapping[str, Codec | None]) -> Report:
    """The report of records by the codecs of their fields: the first is the input. Of texts that nothing else comes
    with, lines are looked for elsewhere: a document as a whole hardly ever comes twice."""
    fields, label, lengths = [], None, {}
    for name, codec in codecs.items():
        if isinstance(codec, Text):
            split, nfc = codec.tokenizer.encode, codec.tokenizer.nfc
            fields.append(Field(name, attrgetter(name), split, codec.max_length, nfc))
        elif isinstance(codec, Numbers):
            fields.append(Field(name, attrgetter(name), codec.steps, codec.max_length, unit="steps"))
        elif isinstance(codec, Signal):
            lengths = {split: codec.encode_all(Column(part, name)).lengths for split, part in records.items()}
        elif isinstance(codec, Labels):
            label = attrgetter(name)
    if lengths:
        return signals(records, next(iter(codecs)), lengths, fields, label)
    if not fields:
        return sizes(records)
    return texts(records, fields, label, long_lines if None in codecs.values() else None)


def percent(share: float) -> str:
    """Returns a share in percent; never 0% for a few, nor 100% for almost all."""
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{share:.1%}" if share < 0.1 or 0.995 <= share < 1 else f"{share:.0%}"


# ------------------------------------------------------------------------------------------------ texts


def texts(
    records: dict[str, Sequence[Any]],
    fields: Sequence[Field],
    label: Callable[[Any], str] | None = None,
    pieces: Callable[[str], Iterable[str]] | None = None,
) -> Report:
    """Returns the report on records made of texts.

    fields: the texts of a record; the first one is the input. label: gets the label of a record, if it has one. pieces:
    cuts an input into the parts whose repetitions are counted; None: whole inputs. Repetitions are counted in all
    records; lengths, unknown tokens and labels in a random sample of up to 20,000 records or 2 million characters.
    """
    figures: dict[str, Any] = {}
    train = np.empty(0, np.uint64)
    for split, part in records.items():
        figures[split] = {"records": len(part), **{field.name: tokens(part, field) for field in fields}}
        if label:
            figures[split] |= labels(part, fields[0].text, label)
        groups = groups_of(part, fields[0].text, pieces)
        if split == "train":
            train = np.unique(groups)
        else:
            figures[split]["in_train"] = float(np.isin(groups, train).mean()) if len(groups) else 0.0
        figures[split]["repeated"] = 1 - len(np.unique(groups)) / len(groups) if len(groups) else 0.0
    lines = [overview(split, part, fields) for split, part in figures.items()]
    return Report(figures, [*lines, *warnings(figures, fields, "long lines" if pieces else "inputs")])


def signals(
    records: dict[str, Sequence[Any]],
    name: str,
    lengths: dict[str, np.ndarray],
    fields: Sequence[Field],
    label: Callable[[Any], str] | None,
) -> Report:
    """The report of records whose input, of that name, is measured: recordings, strokes, images. lengths: of each, in
    positions."""
    measured = Field(name, str, lambda text: [], max_length=0, unit="positions")
    figures: dict[str, Any] = {}
    for split, part in records.items():
        figures[split] = {"records": len(part), name: quantiles(lengths[split]) | {"sampled": len(part)}}
        figures[split] |= {field.name: tokens(part, field) for field in fields}
        if label:
            figures[split]["labels"] = dict(Counter(map(label, part)).most_common())
    lines = [overview(split, part, [measured, *fields]) for split, part in figures.items()]
    return Report(figures, [*lines, *warnings(figures, fields, "inputs")])


def quantiles(lengths: Any) -> dict[str, int]:
    found = np.quantile(lengths, [0, 0.5, 0.95, 1], method="inverted_cdf").tolist()
    return dict(zip(("min", "median", "p95", "max"), found, strict=True))


def sample(records: Sequence[Any]) -> Iterator[Any]:
    """Yields up to `SAMPLE` records in random order; always the same ones."""
    return (records[int(i)] for i in np.random.default_rng(0).permutation(len(records))[:SAMPLE])


def evenly(records: Sequence[Any], size: int) -> Sequence[Any]:
    """Returns at most `size` records, evenly spaced among all: a baseline can learn from them in little time."""
    return records if len(records) <= size else [records[i] for i in np.linspace(0, len(records) - 1, size).astype(int)]


def tokens(records: Sequence[Any], field: Field) -> dict[str, Any]:
    """Returns quantiles of the lengths of a field, and the shares of texts and tokens that have a flaw."""
    lengths, decomposed = [], []
    num_tokens = num_unknown = 0
    remaining = CHARACTERS
    for record in sample(records):
        text = field.text(record)
        ids = field.encode(text[:remaining] if field.unit == "tokens" else text)
        decomposed.append(not unicodedata.is_normalized("NFC", text[:remaining]))
        # The length of a text of which only a part was encoded is estimated from that part.
        lengths.append(len(ids) if len(text) <= remaining else round(len(ids) * len(text) / remaining))
        num_unknown += ids.count(UNKNOWN)
        num_tokens += len(ids)
        remaining -= len(text)
        if remaining <= 0:
            break
    figures: dict[str, Any] = {**quantiles(lengths)}
    figures |= {"total": round(float(np.mean(lengths)) * len(records)), "sampled": len(lengths)}
    figures |= {"empty": float(np.mean(np.array(lengths) == 0)), "unknown": num_unknown / max(1, num_tokens)}
    figures["decomposed"] = float(np.mean(decomposed))
    if field.max_length is not None:
        figures["cut"] = float(np.mean(np.array(lengths) > field.max_length))
    return figures


def labels(records: Sequence[Any], text: Callable[[Any], str], label: Callable[[Any], str]) -> dict[str, Any]:
    """Returns how many records of a sample have each label, most frequent first, and the share of them whose input
    comes again with a different label."""
    counts: Counter[str] = Counter()
    by_input: defaultdict[bytes, Counter[str]] = defaultdict(Counter)
    for record in sample(records):
        counts[label(record)] += 1
        by_input[group_hash(text(record))][label(record)] += 1
    contradicted = sum(found.total() for found in by_input.values() if len(found) > 1)
    by_count = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return {"labels": by_count, "contradicted": contradicted / counts.total()}


def groups_of(
    records: Sequence[Any], text: Callable[[Any], str], pieces: Callable[[str], Iterable[str]] | None
) -> np.ndarray:
    """Returns the hashes of all inputs or, where there are `pieces`, of their parts: (N,) uint64, see `group_hash`."""
    if pieces is None and isinstance(records, Records):
        return records.groups
    inputs: Iterator[str] = map(text, records)
    if pieces:
        inputs = (piece for text in inputs for piece in pieces(text))
    return np.frombuffer(b"".join(map(group_hash, inputs)), np.uint64)


def long_lines(text: str) -> Iterator[str]:
    """Returns the lines of a text that are long enough not to be repeated by chance."""
    return (line for line in text.splitlines() if len(line) >= LONG_LINE)


def overview(split: str, figures: dict[str, Any], fields: Sequence[Field]) -> str:
    """Returns the figures of a split in one line."""
    words = [f"{split:5}"]
    for field in fields:
        lengths = figures[field.name]
        if field.max_length is None:
            words.append(f"{field.name} {lengths['total']:,} {field.unit}")
        else:
            quantiles = f"median {lengths['median']:,} {field.unit}, 95% {lengths['p95']:,}, longest {lengths['max']:,}"
            words.append(f"{field.name} {quantiles}")
    if len(figures.get("labels", ())) > MAX_LISTED:
        (most, n), *_, (least, m) = figures["labels"].items()
        words.append(f"{len(figures['labels'])} labels, from {most} ({n:,}) to {least} ({m:,})")
    elif "labels" in figures:
        total = sum(figures["labels"].values())
        words.append(" ".join(f"{name} {percent(count / total)}" for name, count in figures["labels"].items()))
    if (sampled := min(figures[field.name]["sampled"] for field in fields)) < figures["records"]:
        words.append(f"(of a sample of {sampled:,})")
    return "  ".join(words)


def warnings(figures: dict[str, Any], fields: Sequence[Field], inputs: str) -> Iterator[str]:
    """Yields a message for each flaw of the data, about the split that has most of it. inputs: what to call inputs."""

    def worst(flaw: tuple[float, str], shares: dict[str, float], **words: Any) -> Iterator[str]:
        threshold, message = flaw
        split = max(shares, key=shares.__getitem__)
        if shares[split] > threshold:
            longest = figures[split].get(words["name"], {}).get("max")
            yield message.format(share=percent(shares[split]), split=split, longest=longest, **words)

    for field in fields:
        for key in ("cut", "unknown", "decomposed", "empty"):
            flaw = FIELD_FLAWS["composed" if key == "decomposed" and field.nfc else key]
            shares = {split: part[field.name].get(key, 0.0) for split, part in figures.items()}
            yield from worst(flaw, shares, name=field.name, limit=field.max_length)
    for key, flaw in INPUT_FLAWS.items():
        yield from worst(flaw, {split: part.get(key, 0.0) for split, part in figures.items()}, name=inputs)


# ------------------------------------------------------------------------------------------------ tags


def tagged(records: Mapping[str, Sequence[Any]], encode: Callable[[Any], Ragged]) -> Report:
    """Returns the report on tagged sentences, with a warning for tags that only other splits than training have.

    encode: the ids of the columns of all sentences, those of the tokens first.
    """
    figures: dict[str, Any] = {}
    lines, warned = [], []
    known = Counter[str]()
    train = np.empty(0, np.uint64)
    for split, part in records.items():
        lengths = np.array([len(record.tags) for record in part])
        tags = Counter(chain.from_iterable(record.tags for record in part))
        unknown = encode([record.columns for record in part]).values[:, 0] == UNKNOWN
        groups = np.frombuffer(b"".join(group_hash(" ".join(record.tokens)) for record in part), np.uint64)
        if split == "train":
            known, train = tags, groups
        figures[split] = {
            "records": len(part),
            "tokens": int(lengths.sum()),
            "longest": int(lengths.max()),
            "unknown": float(unknown.mean()),
            "tags": dict(tags.most_common()),
            "in_train": float(np.isin(groups, train).mean()) if split != "train" else 0.0,
        }
        (most, n), *_, (least, m) = tags.most_common()
        lines.append(
            f"{split:5}  {lengths.sum():,} tokens, median {int(np.median(lengths))} a sentence, longest {lengths.max()}"
            f"  {percent(figures[split]['unknown'])} unknown  {len(tags)} tags, {most} ({n:,}) to {least} ({m:,})"
        )
        if new := tags.keys() - known.keys():
            warned.append(f"{split}: {sum(tags[tag] for tag in new):,} tokens have tags that train does not have "
                          f"({', '.join(sorted(new)[:MAX_LISTED])}): no model can find them")  # fmt: skip
        if share := figures[split]["in_train"]:
            warned.append(INPUT_FLAWS["in_train"][1].format(share=percent(share), split=split, name="sentences"))
    return Report(figures, [*lines, *warned])


# ------------------------------------------------------------------------------------------------ time series


def time_series(
    records: Mapping[str, Sequence[Series]], context: int, horizon: int, period: int, learned: Collection[str]
) -> Report:
    """Returns the report on time series: the number of series, steps and windows of each split, the share of missing
    values, and which series never change, are too short for a window, or could not be learned from.

    context, horizon, period: see `tasks.forecasting`, in steps. learned: the names of those learned from.
    """
    every = [series for part in records.values() for series in part]
    layout = every[0].layout
    names = {"known ahead": layout.known, "known up to now": layout.past, "static": layout.static}
    covariates = "".join(f"; {what}: {', '.join(columns)}" for what, columns in names.items() if columns)
    figures: dict[str, Any] = {}
    lines = [
        f"{len({series.name for series in every}):,} series of {', '.join(layout.targets)}, "
        f"one row every {in_words(layout.frequency or '')}, a season of {period}{covariates}"
    ]
    for split, part in records.items():
        missing = np.isnan(np.concatenate([series.values[series.begin :] for series in part]))
        windows = [count_windows(series, context, horizon) for series in part]
        shares = {"missing": float(missing.mean())}
        figures[split] = {"series": len(part), "steps": len(missing), "windows": sum(windows), **shares}
        about = [series_overview(part, missing, sum(windows)), *missing_covariates(part)]
        constant = [series.name for series in part if not np.isnan(series.values).all() and series.constant().all()]
        if split == "train" and constant:
            about.append(f"{listed(constant)} without any change")
        short = [series for series, count in zip(part, windows, strict=True) if not count]
        if short and len(short) < len(part):
            about.append(too_short(short, context, horizon))
        if unknown := [series.name for series in part if series.name not in learned]:
            about.append(f"{listed(unknown)} without a value in training, left out")
        lines += [f"{split}: {text}" for text in about]
    return Report(figures, lines)


def series_overview(part: Sequence[Series], missing: np.ndarray, windows: int) -> str:
    """Returns dates, steps, windows and gaps of a split in one line. missing: (steps, C) of all series."""
    begins = min(series.times[series.begin] for series in part)
    ends = max(series.times[-1] for series in part)
    layout = part[0].layout
    text = f"{day(begins, layout)} to {day(ends, layout)}, {len(missing):,} steps, {windows:,} windows"
    if not missing.any():
        return f"{text}, nothing missing"
    gap = max(longest_run(np.asarray(np.isnan(series.values[series.begin :]).all(1))) for series in part)
    return f"{text}, {missing.mean():.2%} missing, the longest gap {gap} steps"


def too_short(short: Sequence[Series], context: int, horizon: int) -> str:
    """Returns a message about series without a window, with a task.context that would fit all of them, if any."""
    text = f"{listed([series.name for series in short])} too short for a window of {context} + {horizon} steps"
    longest_context = min(len(series.values) for series in short) - horizon
    shortest_part = min(len(series.values) - series.begin for series in short)  # what lies before is context only
    if longest_context > 0 and shortest_part >= horizon:
        return f"{text}; task.context={longest_context} would take all"
    return f"{text}; the shortest part has {shortest_part} steps: a shorter task.horizon is needed"


def missing_covariates(part: Sequence[Series]) -> list[str]:
    """Returns the share of missing values of each covariate that has any."""
    layout = part[0].layout
    lines = []
    for kind, names in {"past": layout.past, "known": layout.known}.items():
        values = [extra[series.begin :] for series in part if (extra := getattr(series, kind)) is not None]
        shares = np.isnan(np.concatenate(values)).mean(0) if values else []
        lines += [f"{share:.2%} of {name} missing" for name, share in zip(names, shares, strict=False) if share]
    return lines


def listed(names: Sequence[str]) -> str:
    """Returns how many series there are, and the names of the first three."""
    return f"{len(names):,} series ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


def count_windows(series: Series, context: int, horizon: int) -> int:
    """Returns how many windows of context and horizon a series has whose targets lie in its split."""
    return max(0, len(series.values) - horizon - max(series.begin, context) + 1)


def longest_run(gaps: np.ndarray) -> int:
    """Returns the length of the longest run of True in a bool array (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], gaps, [False]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def day(time: np.datetime64, layout: Layout) -> str:
    """Returns the day of a time on local clocks; for dates that are whole numbers, the number."""
    times = np.array([time])
    return str(write(times, layout)[0] if layout.date_format == "integer" else local(times, layout)[0].astype("M8[D]"))
