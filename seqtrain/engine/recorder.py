"""Recording of a run: lines of metrics for the log, TensorBoard events, and figures."""

from __future__ import annotations

import logging
import struct
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from seqtrain.config import UserError, in_brief
from seqtrain.config.json_values import flat
from seqtrain.engine.trackers import Tracking
from seqtrain.storage import disk
from seqtrain.storage.disk import Folder

log = logging.getLogger(__name__)


def line(metrics: Mapping[str, float]) -> str:
    """Returns metrics as one line of text, with four significant digits."""
    return "  ".join(f"{name} {digits(value)}" for name, value in metrics.items())


def digits(value: float) -> str:
    """Returns a number with four significant digits; whole from 1,000 on, with an exponent from a million on."""
    return f"{value:.0f}" if 999.95 <= abs(value) < 999_999.5 else f"{value:#.4g}"


def excerpt(text: str, lines: int = 8) -> list[str]:
    """Returns the first lines of Markdown that is code or a table, wrapped, without its marks."""
    rows = [row for row in text.splitlines() if row.strip("|-` ")]
    return [part for row in rows for part in textwrap.wrap(row.removeprefix("| ").removesuffix(" |"), 100)][:lines]


class Recorder:
    """Writes TensorBoard events, and tells the tracker of the run. A failure ends the recording, never the run.

    step: where the run was resumed, or 0. In TensorBoard the events of the resumed run replace those that the
    interrupted one had written after this step. tracking: see `trackers`. suffix: the end of the names of the files.
    """

    FINAL = ".final"

    def __init__(self, folder: Path, step: int, tracking: Tracking | None = None, suffix: str = ""):
        self.folder = folder
        self.step = step
        self.tracking = tracking
        self.suffix = suffix

    @cached_property
    def writer(self) -> Any:
        """TensorBoard's writer, made when there is something to write; None after a failure."""
        from seqtrain.engine.events import Writer

        purge = (self.step + 1 if self.step else 0) if self.events() and not self.suffix else None
        return Writer(self.folder, purge, self.suffix)

    def final(self) -> Recorder:
        """Returns a recorder for the end of the run. It writes a file of its own, which is replaced if the run goes on
        later and ends again."""
        self.flush()
        for name in self.events():
            if name.endswith(self.FINAL):
                Folder(self.folder).remove(name)
        return Recorder(self.folder, self.step, self.tracking, self.FINAL)

    def events(self) -> list[str]:
        """Returns the names of the event files that the folder holds."""
        return [name for name in Folder(self.folder).names() if name.startswith("events.")]

    @contextmanager
    def ending_on_failure(self) -> Iterator[None]:
        """Catches any exception of a `with` block: logs it, and ends the recording."""
        try:
            yield
        except Exception as error:
            log.warning("%s: TensorBoard cannot record any more (%s); the run goes on", self.folder, error)
            self.writer = None

    def scalars(self, step: int, values: Mapping[str, float], group: str) -> None:
        with self.ending_on_failure():
            for name, value in values.items():
                if self.writer:
                    self.writer.add_scalar(f"{group}/{name}", value, step)
        if self.tracking:
            self.tracking.log(step, {f"{group}/{name}": value for name, value in values.items()})

    def show(self, step: int, contents: Mapping[str, Any], keep: bool = False) -> None:
        """Records texts, figures and sounds by title. keep: also writes figures and sounds into the folder, as
        figures/TITLE.png and figures/TITLE.wav, with the other files of a sound."""
        from seqtrain.evaluation.synthesis import Sound  # here, since it imports numpy

        for title, content in contents.items():
            if isinstance(content, str):
                with self.ending_on_failure():
                    if self.writer:
                        self.writer.add_text(title, content, step)
            elif isinstance(content, Sound):
                for ending, data in (content.files | {".wav": content.wav()}).items() if keep else ():
                    self.store(f"{title}{ending}", data)
                with self.ending_on_failure():
                    if self.writer:
                        self.writer._get_file_writer().add_summary(audio_summary(title, content), step)
            elif png := self.keep(title, content) if keep else self.draw(title, content):
                with self.ending_on_failure():
                    if self.writer:
                        self.writer._get_file_writer().add_summary(image_summary(title, png), step)

    def draw(self, title: str, figure: Any) -> bytes:
        """Returns a figure as PNG; empty where it cannot be drawn, which is logged."""
        from seqtrain.evaluation.plots import png

        try:
            return png(figure)
        except Exception as error:
            log.warning("%s: %s cannot be drawn (%s); the run goes on", self.folder, title, in_brief(error))
            return b""

    def keep(self, title: str, figure: Any) -> bytes:
        """Draws a figure and writes it into the folder, as figures/TITLE.png."""
        if png := self.draw(title, figure):
            self.store(f"{title}.png", png)
        return png

    def store(self, name: str, content: bytes) -> None:
        """Writes a file into the folder of figures. A failure costs this file only."""
        files = Folder(self.folder)
        try:
            files.make("figures")
            files.replace(f"figures/{name.replace('/', '-').replace(' ', '-')}", content)
        except (OSError, UserError) as error:
            log.warning("%s; the run goes on", disk.explain(error) if isinstance(error, OSError) else error)

    def hparams(
        self, step: int, config: Mapping[str, Any], metrics: Mapping[str, float], first: Sequence[str] = ()
    ) -> None:
        """Records the settings and the final metrics of the run for TensorBoard's HParams page. first: the settings
        that are shown before the others."""
        if self.tracking:
            self.tracking.log(step, metrics)
        with self.ending_on_failure():
            if not self.writer:
                return
            for summary in hparams_summaries(settings(config), list(metrics), first):
                self.writer._get_file_writer().add_summary(summary)
            for tag, value in metrics.items():
                self.writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        with self.ending_on_failure():
            if vars(self).get("writer"):  # it has been made
                self.writer.flush()

    def close(self) -> None:
        with self.ending_on_failure():
            if vars(self).get("writer"):
                self.writer.close()
        if self.tracking:
            self.tracking.close(finished=self.suffix == self.FINAL)


def settings(config: Mapping[str, Any]) -> dict[str, float | str]:
    """Returns a configuration by dotted names: an option as the name of its class, numbers as they are, other values as
    texts."""
    values: dict[str, float | str] = {}
    for name, value in flat(config).items():
        if name.endswith("._target_"):
            values[name.removesuffix("._target_")] = value.rpartition(".")[2]
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            values[name] = value if number else str(value)
    return values


def hparams_summaries(values: Mapping[str, float | str], tags: Sequence[str], first: Sequence[str]) -> list[Any]:
    """Returns the summaries that TensorBoard's HParams page reads. tags: of the metrics. first: the settings in the
    first columns; the page begins with those whose values are marked as different between runs."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore
    from torch.utils.tensorboard.summary import hparams

    experiment, *session = hparams(dict(values), dict.fromkeys(tags))
    stored = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(stored.content)
    for column in content.experiment.hparam_infos:
        column.differs = column.name in first
    for metric in content.experiment.metric_infos:
        metric.display_name = metric.name.tag.rpartition("/")[2]
    stored.content = content.SerializeToString()
    return [experiment, *session]


def image_summary(title: str, png: bytes) -> Any:
    """Returns an image as TensorBoard stores it. The size is read from the beginning of the PNG."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    width, height = struct.unpack(">II", png[16:24])
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=title, image=image)])


def audio_summary(title: str, sound: Any) -> Any:
    """A sound as TensorBoard stores it."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    audio = Summary.Audio(
        sample_rate=sound.rate,
        num_channels=1,
        length_frames=len(sound.samples),
        encoded_audio_string=sound.wav(),
        content_type="audio/wav",
    )
    return Summary(value=[Summary.Value(tag=title, audio=audio)])
