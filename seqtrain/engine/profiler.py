"""A profile of a few training steps, which shows what takes the time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seqtrain.storage.disk import Folder

log = logging.getLogger(__name__)


@contextmanager
def profiled(folder: Path, wanted: bool) -> Iterator[Callable[[], None]]:
    """Gives a function that has to be called after each step. If `wanted`, the profile of steps 11 to 15 is written."""
    if not wanted:
        yield lambda: None
        return
    from torch.profiler import profile, schedule

    def write(profiler: Any) -> None:
        table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
        files = Folder(folder)
        files.replace("profile.txt", table.encode())
        with TemporaryDirectory() as temporary:  # torch would follow a link in the run folder
            profiler.export_chrome_trace(f"{temporary}/trace.json")
            files.replace("trace.json", Path(temporary, "trace.json").read_bytes())
        log.info("profile of steps 11 to 15: %s, %s", folder / "profile.txt", folder / "trace.json")

    with profile(schedule=schedule(wait=9, warmup=1, active=5, repeat=1), on_trace_ready=write) as profiler:
        yield profiler.step
