"""TensorBoard events, written into a file that is not a link, and by the thread that records them."""

from __future__ import annotations

import os
import socket
import time
from itertools import count
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from seqtrain.storage.disk import Folder

FLUSH_EVERY = 10.0  # seconds
NUMBERS = count()  # make the names of event files differ within a process


class EventFile:
    """A new file of events. (TensorBoard's own class reopens the file by its name, in a thread, at each write.)"""

    def __init__(self, folder: Path, suffix: str):
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(NUMBERS)}{suffix}"
        self.records = RecordWriter(Folder(folder).open(name, "wb"))
        self.due = 0.0
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add_event(self, event: Event) -> None:
        self.records.write(event.SerializeToString())
        if time.monotonic() > self.due:
            self.flush()

    def flush(self) -> None:
        self.due = time.monotonic() + FLUSH_EVERY
        self.records.flush()

    def close(self) -> None:
        self.records.close()


class Writer(SummaryWriter):
    """TensorBoard's writer, into an `EventFile`. purge_step: TensorBoard hides older events from this step on."""

    def __init__(self, folder: Path, purge_step: int | None, suffix: str):
        self.folder = folder
        super().__init__(str(folder), purge_step=purge_step, filename_suffix=suffix)

    def _get_file_writer(self) -> Any:
        if self.file_writer is None:
            made: Any = FileWriter.__new__(FileWriter)
            made.event_writer = EventFile(self.folder, self.filename_suffix)
            if self.purge_step is not None:
                made.add_event(Event(session_log=SessionLog(status=SessionLog.START)), step=self.purge_step)
            self.file_writer, self.all_writers = made, {self.log_dir: made}
        return self.file_writer
