"""mode=inspect: reports on data before there is a run."""

from __future__ import annotations

import json

from seqtrain.commands.assembly import Assembly, Config
from seqtrain.commands.outputs import open_text_output


def inspect(cfg: Config) -> None:
    """Prints what to know of the data before training; `output` gets the figures as JSON."""
    parts = Assembly(cfg)
    parts.task.check(parts.records)
    print(parts.counts, *parts.report.lines, sep="\n  ")
    if cfg["output"] not in (None, "-"):
        with open_text_output(cfg) as out:
            print(json.dumps(parts.report.figures, indent=1, ensure_ascii=False), file=out)
