"""Jobs of a sweep and the table at its end.

Each job keeps its own result in `job.json`, because a launcher may run it in another process or on another machine;
the table is gathered from the disk.
"""

import csv
import json
import logging
import math
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqtrain.config import UserError, in_brief
from seqtrain.config.json_values import is_a
from seqtrain.engine.recorder import digits
from seqtrain.machine.signals import Lost, importing
from seqtrain.storage.disk import Folder, Foreign

log = logging.getLogger(__name__)

Row = dict[str, Any]
LARGEST = 2**20  # bytes of a job.json


def begin(folder: Path, overrides: list[str], fixed: Sequence[str] = ()) -> None:
    """Writes the record of a job that begins; its status is "killed" until it has ended. fixed: the keys that all jobs
    of the sweep share."""
    settings = dict(split(line) for line in overrides)
    swept = [key for key in settings if key not in fixed]
    write(folder, {"overrides": settings, "swept": swept, "status": "killed", "value": None})


def run_job(config: dict[str, Any], folder: Path) -> None:
    """Trains a job of a sweep and records how it ended. A failure does not end the sweep. The test split is not
    scored."""
    since = time.monotonic()
    row = read(folder)
    assert row is not None
    try:
        with importing():
            from seqtrain.commands import train

        row["value"] = float(train.train(config, folder, swept=row["swept"]))
        row["status"] = "done" if math.isfinite(row["value"]) else "diverged"
    except Exception as error:
        row["status"] = "diverged" if isinstance(error, FloatingPointError) else "failed"
        row["error"] = str(error) or type(error).__name__
        if isinstance(error, UserError | FloatingPointError | Lost):  # the message says all
            text = message = row["error"]
        else:
            text, message = traceback.format_exc(), f"{type(error).__name__}: {row['error']}"
        Folder(folder).replace("failed.txt", text.encode())
        log.error("%s: %s", row["status"], message)
    except (SystemExit, KeyboardInterrupt):
        interrupt(folder)
        raise
    row |= monitor(folder) | {"seconds": round(time.monotonic() - since, 1)}
    write(folder, row if row["status"] == "done" else row | {"value": None})


def objective(folder: Path) -> float:
    """Returns the number that a sweeper minimizes or maximizes: the validation monitor; infinitely bad for a job that
    is not done."""
    row = read(folder) or {}
    if row.get("status") == "done":
        return row["value"]
    return -math.inf if row.get("direction") == "max" else math.inf


def interrupt(folder: Path) -> None:
    """Records that a job was interrupted, if it has not ended."""
    if (row := read(folder)) and row["status"] == "killed":
        write(folder, row | {"status": "interrupted"})


def complete(folder: Path) -> None:
    """Records that a job is done which was resumed outside of its sweep; does nothing for a run that is no job."""
    if row := read(folder):
        value = json.loads(Folder(folder).read("metrics.json"))["monitor"]["value"]
        write(folder, row | monitor(folder) | {"status": "done", "value": value})


def read(folder: Path) -> Row | None:
    """Reads the record of a job; None for a run that is not part of a sweep. A damaged record counts as "killed"."""
    try:
        row = json.loads(Folder(folder).read("job.json", LARGEST))
        if not is_a(row, dict[str, Any]) or not is_a(row.get("swept", []), list[str]):
            raise ValueError("not the record of a job")
        return {"overrides": {}, "swept": [], "status": "killed", "value": None} | row
    except FileNotFoundError:
        return None
    except Foreign:
        raise
    except (ValueError, RecursionError):
        return {"overrides": {}, "swept": [], "status": "killed", "value": None}


def split(line: str) -> tuple[str, str]:
    key, _, value = line.lstrip("+").partition("=")
    return key, value


def write(folder: Path, row: Row) -> None:
    Folder(folder).replace("job.json", json.dumps(row).encode())


def monitor(folder: Path) -> Row:
    """Reads name and direction of the metric that jobs are ranked by; empty where a job has no metrics.json."""
    try:
        metric = json.loads(Folder(folder).read("metrics.json"))["monitor"]
        return {"monitor": metric["name"], "direction": metric["direction"]}
    except (OSError, ValueError, KeyError):
        return {}


# ---------------------------------------------------------------------------------------------------- the table


def finish(folder: Path) -> bool:
    """Prints the table of a sweep, writes sweep.csv and sweep.md, and returns whether any job failed."""
    rows = gather(folder)
    if not rows:
        return True
    with importing():
        from seqtrain.evaluation.tables import aligned, markdown

    table, files = tabulate(rows), Folder(folder)
    with files.open("sweep.csv", "w") as file:
        csv.writer(file).writerows(tabulate(rows, repr))
    with files.open("sweep.md", "w") as file:
        file.write(markdown(table[0], table[1:]) + "\n")
    print("\n".join(["", *aligned(table), "", f"The table is in {folder}/sweep.md and sweep.csv."]))
    return any(row["status"] not in ("done", "diverged") for row in rows)


def gather(folder: Path) -> list[Row]:
    """Reads the records of all jobs, the best first, failed and diverged ones last."""
    folders = [path.parent for path in sorted(folder.glob("*/job.json"))]
    rows = [row | {"run": str(job_folder)} for job_folder in folders if (row := read(job_folder))]
    sign = -1 if any(row.get("direction") == "max" for row in rows) else 1
    return sorted(rows, key=lambda row: (row["value"] is None, sign * (row["value"] or 0.0), row["run"]))


def tabulate(rows: list[Row], format_value: Callable[[float], str] = digits) -> list[list[str]]:
    """Returns header and rows of a table: the overrides that differ, the monitor, seconds, status, folder, and the
    reason of failures."""
    keys = list(dict.fromkeys(key for row in rows for key in row["overrides"]))
    swept = [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1] or keys
    name = next((row["monitor"] for row in rows if row.get("monitor")), "value")
    reasons = ["reason"] if any(row.get("error") for row in rows) else []
    table = [[*swept, name, "seconds", "status", "run", *reasons]]
    for row in rows:
        value = "" if row["value"] is None else format_value(row["value"])
        cells = [*(row["overrides"].get(key, "") for key in swept), value, str(row.get("seconds", ""))]
        table.append([*cells, row["status"], row["run"], *(in_brief(row.get("error", ""), 80) for _ in reasons)])
    return table
