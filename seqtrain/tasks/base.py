"""The contract of a task, and the loss that the tasks with ids share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqtrain.batch import Batch, Batching, Examples, Loader, Spec, in_order, shuffled
from seqtrain.config import UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data import report
from seqtrain.metrics import Totals
from seqtrain.products import with_room

LOWER_IS_BETTER = frozenset({"loss", "perplexity", "bits_per_char", "mae", "rmse", "mse", "mase", "smape"})


class Task(ABC):
    """kinds: the kinds of data it takes. monitor: the validation metric that decides which weights are best.

    A task is made of its options, fitted on the training records (`fit`) or brought back from a checkpoint
    (`load_state`), and from then on has a `spec`.
    """

    kinds: ClassVar[tuple[str, ...]]
    monitor: str
    spec: Spec

    @staticmethod
    @abstractmethod
    def outline(kind: str) -> Spec:
        """The form of the spec for a kind of data, its sizes unknown: enough to tell which models fit."""

    @abstractmethod
    def fit(self, records: Sequence[Any]) -> None:
        """Learns from the training records what the data needs: tokenizers, labels, scales."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What `fit` learned, as JSON."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None: ...

    def report(self, records: dict[str, Sequence[Any]]) -> report.Report:
        """What to know of the records of each split before training; asked of a task that is fitted."""
        return report.sizes(records)

    @abstractmethod
    def examples(self, records: Sequence[Any]) -> Examples:
        """Records prepared for batching."""

    def loader(self, records: Sequence[Any], batching: Batching, seed: int | None) -> Loader:
        """Batches for training, shuffled by `seed`, or for evaluation, in order, where it is None."""
        examples = self.examples(records)
        lengths = examples.lengths
        return Loader(examples, in_order(lengths, batching) if seed is None else shuffled(lengths, batching, seed))

    @abstractmethod
    def loss(self, scores: Float[Tensor, "N O"], batch: Batch) -> tuple[Tensor, Tensor]:
        """The training loss, summed over the target items of the batch, and their count."""

    def divergence(self, scores: Float[Tensor, "N O"], others: Float[Tensor, "N O"]) -> Tensor:
        """How much two passes over a batch disagree, summed over its target items: R-Drop (Liang et al. 2021,
        arXiv:2106.14448), half of the sum of the Kullback-Leibler divergences either way."""
        a, b = scores.float().log_softmax(-1), others.float().log_softmax(-1)
        return ((a.exp() - b.exp()) * (a - b)).sum() / 2

    @abstractmethod
    def measure(self, model: Any, batch: Batch, scores: Float[Tensor, "N O"], examples: Any, decoder: Any) -> Totals:
        """Sums over one batch from which `score` makes the metrics."""

    @abstractmethod
    def score(self, totals: Totals) -> dict[str, float]:
        """The metrics of the summed measures; `monitor` and `loss` are among them."""

    @abstractmethod
    def baselines(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, dict[str, float]]:
        """What simple methods that learn from `train` reach on the records, by name."""

    @abstractmethod
    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        """Answers raw lines of text. Each answer has the key "output", what a reader wants, and details beside it."""

    def header(self, line: str) -> str | None:
        """What stands above the answers where `line` is the head of a table, whose rows `predict` takes all at once;
        None where each line is answered by itself."""
        return None

    @abstractmethod
    def show(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> dict[str, Any]:
        """What is worth looking at, by title: texts (Markdown) and matplotlib figures."""

    def judge(self, model: Any, train: Sequence[Any], records: Sequence[Any], decoder: Any) -> dict[str, float]:
        """Metrics of free samples, taken once, when a run ends."""
        return {}

    def details(self, model: Any, answer: dict[str, Any]) -> dict[str, Any]:
        """What else can be said of an answer of `predict`, at a cost."""
        return {}

    @property
    def direction(self) -> str:
        return "min" if self.monitor in LOWER_IS_BETTER else "max"


def cross_entropy(
    scores: Float[Tensor, "N O"], target: Int[Tensor, " N"], smoothing: float = 0.0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Summed cross-entropy in nats, and the number of targets. smoothing moves that share of the probability to all
    classes alike (Szegedy et al. 2016, arXiv:1512.00567)."""
    return CrossEntropy.apply(scores, target, smoothing), torch.full((), float(len(target)), device=scores.device)


class CrossEntropy(torch.autograd.Function):
    """Some rows at a time, and with them their gradient, while they are in the processor's cache. torch's own goes over
    all scores several times, in new memory each time.
    """

    CHUNK = 2**19  # scores, 2 MB

    @staticmethod
    def forward(ctx: Any, scores: Tensor, target: Tensor, smoothing: float) -> Tensor:
        loss = torch.zeros((), device=scores.device)
        gradient = with_room(scores) if ctx.needs_input_grad[0] else None
        size = scores.size(1)
        rows = max(1, CrossEntropy.CHUNK // size) if scores.device.type == "cpu" else max(1, len(scores))
        for start in range(0, len(scores), rows):
            some, places = scores[start : start + rows].float(), target[start : start + rows, None]
            true, highest = some.gather(1, places), some.amax(1, keepdim=True)
            loss += (highest - true).sum()
            if smoothing:
                loss += smoothing * (true.sum() - some.sum() / size)
            place = None if gradient is None or gradient.dtype != some.dtype else gradient[start : start + rows]
            probabilities = torch.softmax(some, 1, out=place)
            loss -= probabilities.amax(1).log().sum()  # the highest score has 1 / sum(exp(score - highest))
            if gradient is not None:
                if smoothing:
                    probabilities -= smoothing / size
                probabilities.scatter_add_(1, places, torch.full_like(true, smoothing - 1))
                if place is None:
                    gradient[start : start + rows] = probabilities
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        whole = outer[0].device.type == "cpu" and outer[0] == 1  # as a rule; a GPU would have to be waited for
        return gradient if whole else gradient * outer[0], None, None


def by_length(lengths: np.ndarray, size: int = 64) -> Iterator[np.ndarray]:
    """Rows in batches whose sequences are about equally long."""
    order = np.argsort(lengths, kind="stable")
    return (order[i : i + size] for i in range(0, len(order), size))


def same_length(lengths: np.ndarray, size: int = 64) -> Iterator[np.ndarray]:
    """Rows in batches whose sequences are exactly equally long: prompts, which a state cannot pad."""
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        yield from (rows[i : i + size] for i in range(0, len(rows), size))


def label_numbers(records: Sequence[Any], labels: Sequence[str]) -> np.ndarray:
    """(N,) the place of each record's label among the known ones."""
    places = {label: place for place, label in enumerate(labels)}
    try:
        return np.fromiter((places[record.label] for record in records), np.int64, len(records))
    except KeyError as error:
        label = error.args[0]
        hint = did_you_mean(near(label, labels))
        raise UserError(f"data: the label {label!r} is not in the training split{hint}") from None


def sample(records: Sequence[Any], size: int) -> Sequence[Any]:
    """At most `size` records, evenly from all of them: what a simple baseline learns from in bearable time."""
    return records if len(records) <= size else [records[i] for i in np.linspace(0, len(records) - 1, size).astype(int)]


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""

    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), line("---" for _ in header), *map(line, rows)])
