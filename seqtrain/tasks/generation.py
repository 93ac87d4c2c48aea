"""Generation: a language model of texts, or of texts of a given kind, where each has a label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain import metrics, text
from seqtrain.baselines import CharNgram, LanguageJudge
from seqtrain.batch import Batch, Batching, Free, Loader, Source, Spec, Tokens, real_positions
from seqtrain.config import LineError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data import Labelled, report
from seqtrain.metrics import Totals
from seqtrain.prepare import fitted, tokenized
from seqtrain.tasks.base import Task, cross_entropy, label_numbers, same_length, table
from seqtrain.text import END, PAD, UNKNOWN


class Generation(Task):
    """Learns p(text), or p(text | label). The loss is the cross-entropy of each item, end marks included.

    Texts without labels are one long text to the model, an end mark between them, cut into windows of `window` items.
    With `carry` the state goes on from one to the next (truncated backpropagation through time), in evaluation in 16
    streams, whatever the size of a training batch; without it every window stands alone, in training in random order.
    Labelled texts are short and stand alone.

    tokenizer: options of `text.fit`. monitor: a metric of `score`.
    """

    kinds = ("text", "labelled")
    streams = 16

    def __init__(self, tokenizer: dict[str, Any], window: int, carry: bool, monitor: str):
        self.options = tokenizer
        self.window = window
        self.carry = carry
        self.monitor = monitor

    @staticmethod
    def outline(kind: str) -> Spec:
        if kind == "text":
            return Spec(None, Source.NONE, Tokens(0), 0, Free())
        return Spec(Tokens(0), Source.ONE, Tokens(0), 0, Free())

    def fit(self, records: Sequence[str] | Sequence[Labelled]) -> None:
        self.labels = sorted({record.label for record in records if isinstance(record, Labelled)})
        self.tokenizer = fitted(records, ("text" if self.labels else None,), self.options)
        self.describe()

    def describe(self) -> None:
        size = self.tokenizer.size
        label = Tokens(len(self.labels) + 1) if self.labels else None  # id 0 is padding
        self.spec = Spec(label, Source.ONE if label else Source.NONE, Tokens(size, PAD, UNKNOWN), size, Free())

    def state(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer.state(), "labels": self.labels}

    def load_state(self, state: dict[str, Any]) -> None:
        self.tokenizer, self.labels = text.load(state["tokenizer"]), state["labels"]
        self.describe()

    def report(self, records: dict[str, Sequence[Any]]) -> report.Report:
        """Of documents, lines are looked for elsewhere: a document as a whole hardly ever comes twice."""
        field = report.Field("text", text_of, self.tokenizer.encode)
        if self.labels:
            return report.texts(records, [field], lambda record: record.label)
        return report.texts(records, [field], pieces=report.long_lines)

    def examples(self, records: Sequence[Any]) -> Stream | Names:
        return Names(self, records) if self.labels else Stream(self, records)

    def loader(self, records: Sequence[Any], batching: Batching, seed: int | None) -> Loader:
        examples = self.examples(records)
        if isinstance(examples, Names):
            return super().loader(records, batching, seed)
        if not self.carry:
            batch = batching.examples or max(1, (batching.positions or 0) // self.window)
            return Loader(examples, examples.pieces(batch, seed))
        if seed is None:
            return Loader(examples, examples.windows(self.streams, None))
        streams = batching.examples or (batching.positions or 0) // self.window
        return Loader(examples, examples.windows(streams, seed))

    def loss(self, scores: Float[Tensor, "N O"], batch: Batch) -> tuple[Tensor, Tensor]:
        return cross_entropy(scores, batch.real(batch.target))

    def measure(
        self, model: Any, batch: Batch, scores: Float[Tensor, "N O"], examples: Stream | Names, decoder: Any
    ) -> Totals:
        nats, items = cross_entropy(scores, batch.real(batch.target))
        share = float(items) / examples.items
        return {"nats": float(nats), "items": float(items), "characters": examples.characters * share}

    def score(self, totals: Totals) -> dict[str, float]:
        return metrics.language_model(totals["nats"], totals["items"], totals["characters"])

    def baselines(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, dict[str, float]]:
        found = {}
        for name, order in {"character unigram": 1, "character 5-gram": 5}.items():
            bits = 0.0
            for label in self.labels or [None]:
                model = CharNgram(order, end=True).fit(text_of(r) for r in train if label_of(r) == label)
                bits += sum(model.bits(text_of(r)) for r in records if label_of(r) == label)
            found[name] = {"bits_per_char": bits / sum(len(text_of(record)) for record in records)}
        return found

    def judge(self, model: Any, train: Sequence[Any], records: Sequence[Any], decoder: Any) -> dict[str, float]:
        """For labelled texts: how often a character trigram for each label recognises samples, and how often held-out
        texts; and the share of the samples that are no training texts."""
        if not self.labels:
            return {}
        judge = LanguageJudge().fit([r.text for r in train], [r.label for r in train])
        samples = self.predict(model, [record.label for record in records], decoder)
        seen = {record.text for record in train}
        return {
            "recognised_samples": float(np.mean([judge(s["output"]) == s["input"] for s in samples])),
            "recognised_held_out": float(np.mean([judge(record.text) == record.label for record in records])),
            "novel_samples": float(np.mean([s["output"] not in seen for s in samples])),
        }

    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        """Continues prompts. Where texts have labels, a line is a label, then, after a tab, the prompt, if any."""
        device = next(model.parameters()).device
        labels, prompts = zip(*(self.parse(line, number) for number, line in enumerate(lines, 1)), strict=True)
        ids = [[END, *self.tokenizer.encode(prompt)] for prompt in prompts]
        answers: list[dict[str, Any]] = [{}] * len(lines)
        for rows in same_length(np.array(list(map(len, ids)))):
            inputs = torch.tensor([ids[row] for row in rows], device=device)
            source = torch.tensor([[labels[row]] for row in rows], device=device) if self.labels else None
            ones = inputs.new_ones(len(rows))
            lengths = ones if self.labels else None
            batch = Batch(source, lengths, inputs, inputs, ones * inputs.size(1), inputs.flatten(), rows)
            for row, (items, log_prob) in zip(rows, decoder(model, batch, END), strict=True):
                parts = [part for part in (prompts[row], self.tokenizer.decode(items)) if part]
                text = self.tokenizer.joint.join(parts)
                answers[row] = {"input": lines[row], "output": text, "log_prob": log_prob}
        return answers

    def parse(self, line: str, number: int) -> tuple[int, str]:
        if not self.labels:
            return 0, line
        label, _, prompt = line.partition("\t")
        if label not in self.labels:
            known = did_you_mean(near(label, self.labels)) or f": one of {', '.join(self.labels)}"
            raise LineError(number, f"{label!r} is not a label of the training data{known}")
        return 1 + self.labels.index(label), prompt

    def show(self, model: Any, examples: Stream | Names, totals: Totals, decoder: Any) -> dict[str, Any]:
        if isinstance(examples, Names):
            labels = [label for label in self.labels for _ in range(2)][:24]
            rows = [(a["input"], a["output"]) for a in self.predict(model, labels, decoder)]
            return {"samples": table(("label", "sample"), rows)}
        samples = self.predict(model, [""] * 3, decoder)
        return {"samples": "\n\n".join(f"```\n{sample['output']}\n```" for sample in samples)}


def text_of(record: str | Labelled) -> str:
    return record if isinstance(record, str) else record.text


def label_of(record: str | Labelled) -> str | None:
    return None if isinstance(record, str) else record.label


class Names:
    """Short texts with a label each: the source is the label, the target the text and an end mark."""

    def __init__(self, task: Generation, records: Sequence[Labelled]):
        self.records = records
        self.labels = 1 + label_numbers(records, task.labels)
        self.texts = tokenized(records, "text", task.tokenizer, [END], [END], None)
        self.items = int(self.texts.lengths.sum()) - len(records)
        self.characters = sum(len(record.text) for record in records)

    @property
    def lengths(self) -> np.ndarray:
        return self.texts.lengths

    def batch(self, rows: np.ndarray) -> Batch:
        source = torch.from_numpy(self.labels[rows])[:, None]
        text, lengths = self.texts.padded(rows, PAD)
        index = real_positions(lengths.numpy() - 1)
        return Batch(source, torch.ones_like(lengths), text[:, :-1], text[:, 1:], lengths - 1, index, rows)


class Window(NamedTuple):
    """The places in the stream where each row of a batch begins and ends."""

    starts: np.ndarray
    ends: np.ndarray
    continues: bool


class Stream:
    """All texts as one, cut into parallel streams, and these into windows."""

    def __init__(self, task: Generation, records: Sequence[str]):
        self.ids = tokenized(records, None, task.tokenizer, [], [END], None).values
        self.items = len(self.ids)
        self.characters = sum(map(len, records))
        self.window = task.window

    @property
    def lengths(self) -> np.ndarray:
        return np.array([self.items])

    def windows(self, streams: int, seed: int | None) -> Callable[[int], list[Window]]:
        """A plan of equal windows in order. In training the streams begin elsewhere in each epoch."""
        streams = max(1, min(streams, self.items // 2))

        def plan(epoch: int) -> list[Window]:
            shift = 0 if seed is None else int(np.random.default_rng([seed, epoch]).integers(self.window))
            bounds = np.linspace(min(shift, self.items - streams), self.items, streams + 1).astype(np.int64)
            longest = int(np.diff(bounds).max())
            count = -(-longest // self.window)
            width = -(-longest // count)  # only in the last window may a row be shorter than the others
            cuts = [np.minimum(bounds[:-1] + i * width, bounds[1:]) for i in range(count + 1)]
            return [Window(cuts[i], cuts[i + 1], i > 0) for i in range(count)]

        return plan

    def pieces(self, size: int, seed: int | None) -> Callable[[int], list[Window]]:
        """A plan of batches of `size` windows that stand alone. In training they are cut elsewhere in each epoch, and
        shuffled."""

        def plan(epoch: int) -> list[Window]:
            random = None if seed is None else np.random.default_rng([seed, epoch])
            shift = 0 if random is None else int(random.integers(min(self.window, self.items)))
            starts = np.arange(shift, self.items, self.window)
            if random is not None:
                random.shuffle(starts)
            groups = (starts[i : i + size] for i in range(0, len(starts), size))
            return [Window(group, np.minimum(group + self.window, self.items), False) for group in groups]

        return plan

    def batch(self, rows: Window) -> Batch:
        lengths = rows.ends - rows.starts
        places = rows.starts[:, None] + np.arange(lengths.max())
        places = np.minimum(places, self.items - 1)
        target = self.ids[places].astype(np.int64)
        before = np.where(places > 0, self.ids[places - 1], END).astype(np.int64)
        index = real_positions(lengths)
        inputs, target = torch.from_numpy(before), torch.from_numpy(target)
        return Batch(None, None, inputs, target, torch.from_numpy(lengths), index, rows.starts, rows.continues)
