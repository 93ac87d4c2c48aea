"""What a run shows while it goes on: a progress bar, lines in the log, and TensorBoard events in the run's folder."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)


def bar(total: int | None, unit: str, what: str, start: int = 0) -> tqdm:
    """A bar for what takes longer than a second; none where nobody watches a terminal, and one for all processes."""
    quiet = not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0"
    return tqdm(total=total, initial=start, unit=unit, desc=what, disable=quiet, delay=1, leave=False, smoothing=0.05)


def line(metrics: Mapping[str, float]) -> str:
    """Metrics for a line of text: three decimals, or four digits where the number is small."""
    return "  ".join(
        f"{name} {value:.3f}" if abs(value) >= 0.1 else f"{name} {value:.3g}" for name, value in metrics.items()
    )


class Recorder:
    """Writes TensorBoard events. What a resumed run repeats replaces what the interrupted one had written: all after
    `step`. A failure ends the recording, never the run."""

    def __init__(self, folder: Path, step: int):
        self.folder = folder
        self.step = step

    @cached_property
    def writer(self) -> Any:
        """Opened when there is something to write; None after a failure."""
        from torch.utils.tensorboard.writer import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=self.step + 1 if self.step else 0, flush_secs=10)

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Tells of a failure once, after which nothing more is recorded."""
        try:
            yield
        except Exception as error:
            log.warning("%s: TensorBoard cannot record any more (%s); the run goes on", self.folder, error)
            self.writer = None

    def scalars(self, step: int, values: Mapping[str, float], group: str) -> None:
        with self.spared():
            for name, value in values.items():
                if self.writer:
                    self.writer.add_scalar(f"{group}/{name}", value, step)

    def show(self, step: int, shown: Mapping[str, Any], keep: bool = False) -> None:
        """Texts and figures by title. `keep` also writes the figures into the folder, as figures/TITLE.png."""
        with self.spared(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # drawn as a box
            for title, content in shown.items():
                if self.writer and isinstance(content, str):
                    self.writer.add_text(title, content, step)
                elif self.writer:
                    self.writer.add_figure(title, content, step, close=False)
                if keep and not isinstance(content, str):
                    file = self.folder / "figures" / f"{title.replace('/', '-').replace(' ', '-')}.png"
                    file.parent.mkdir(exist_ok=True)
                    content.savefig(file, dpi=120)

    def hparams(self, step: int, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """The settings beside the final metrics, for TensorBoard's HParams page, in this very folder."""
        from torch.utils.tensorboard.summary import hparams

        values = {}
        for name, value in flat(config).items():
            if name.endswith("._target_"):
                values[name.removesuffix("._target_")] = value.rpartition(".")[2]
            else:
                values[name] = value if isinstance(value, (bool, int, float, str)) else str(value)
        with self.spared():
            for summary in hparams(values, dict(metrics)) if self.writer else ():
                self.writer._get_file_writer().add_summary(summary)
            for name, value in metrics.items():
                if self.writer:
                    self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        with self.spared():
            if self.writer:
                self.writer.flush()

    def close(self) -> None:
        with self.spared():
            if vars(self).get("writer"):
                self.writer.close()


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
