"""Counts of a service in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from threading import Lock

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histogram:
    """How many values are at most as large as each bound."""

    def __init__(self, bounds: Sequence[float]):
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str, label: str = "") -> Iterator[str]:
        total = 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{{label}{"," * bool(label)}le="{bound}"}} {total}'
        braces = f"{{{label}}}" if label else ""
        yield f"{name}_sum{braces} {self.sum:.6g}"
        yield f"{name}_count{braces} {total}"


class Metrics:
    """Counts of requests, by path and status, their seconds, and the sizes of batches."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(SECONDS))
        self.inputs = Histogram(INPUTS)
        self.in_flight = 0
        self.lock = Lock()

    def request(self, path: str, status: int, seconds: float) -> None:
        with self.lock:
            self.requests[path, status] += 1
            self.seconds[path].add(seconds)

    def batch(self, inputs: int) -> None:
        with self.lock:
            self.inputs.add(inputs)

    def text(self, waiting: int) -> str:
        """waiting: requests in the queue."""
        with self.lock:
            return "\n".join([*self.lines(waiting), ""])

    def lines(self, waiting: int) -> Iterator[str]:
        yield from about("seqtrain_requests_total", "counter", "Requests that were answered.")
        for (path, status), count in sorted(self.requests.items()):
            yield f'seqtrain_requests_total{{path="{path}",status="{status}"}} {count}'
        yield from about("seqtrain_request_seconds", "histogram", "Seconds from a request to the end of its answer.")
        for path, histogram in sorted(self.seconds.items()):
            yield from histogram.lines("seqtrain_request_seconds", f'path="{path}"')
        yield from about("seqtrain_batch_inputs", "histogram", "Inputs that were answered together.")
        yield from self.inputs.lines("seqtrain_batch_inputs")
        yield from about("seqtrain_waiting", "gauge", "Requests in the queue.")
        yield f"seqtrain_waiting {waiting}"
        yield from about("seqtrain_in_flight", "gauge", "Requests that are not answered yet, this one among them.")
        yield f"seqtrain_in_flight {self.in_flight}"


def about(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
