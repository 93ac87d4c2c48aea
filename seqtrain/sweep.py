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
from pathlib import Path
from typing import Any

from seqtrain.config import UserError
from seqtrain.interruption import Lost

log = logging.getLogger(__name__)

Row = dict[str, Any]


def run_job(config: dict[str, Any], folder: Path, overrides: list[str]) -> float:
    """Trains one job and returns the objective of a sweeper, the validation monitor; a failure stays in this job.

    A job that failed or diverged gets the worst objective there is. The test split is left alone.
    """
    since = time.monotonic()
    row = begin(folder, overrides)
    try:
        from seqtrain import run

        row["value"] = float(run.train(config, folder, sweep=True))
        row["status"] = "done" if math.isfinite(row["value"]) else "diverged"
    except Exception as error:
        row["status"] = "diverged" if isinstance(error, FloatingPointError) else "failed"
        row["error"] = str(error) or type(error).__name__
        plain = isinstance(error, UserError | FloatingPointError | Lost)
        (folder / "failed.txt").write_text(row["error"] if plain else traceback.format_exc(), encoding="utf-8")
        log.error("%s: %s", row["status"], row["error"] if plain else f"{type(error).__name__}: {row['error']}")
    except (SystemExit, KeyboardInterrupt):
        write(folder, row | {"status": "interrupted"})
        raise
    row |= monitor(folder)
    row["seconds"] = round(time.monotonic() - since, 1)
    if row["status"] != "done":
        row["value"] = None
        write(folder, row)
        return -math.inf if row.get("direction") == "max" else math.inf
    write(folder, row)
    return row["value"]


def begin(folder: Path, overrides: list[str]) -> Row:
    """Writes what stays if the process of a job dies."""
    row: Row = {"overrides": dict(split(line) for line in overrides), "status": "killed", "value": None}
    write(folder, row)
    return row


def split(line: str) -> tuple[str, str]:
    key, _, value = line.lstrip("+").partition("=")
    return key, value


def write(folder: Path, row: Row) -> None:
    (folder / "job.json").write_text(json.dumps(row), encoding="utf-8")


def monitor(folder: Path) -> Row:
    """Name and direction of the metric that a job is ranked by, from its metrics.json."""
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["monitor"]
        return {"monitor": found["name"], "direction": found["direction"]}
    except (OSError, ValueError, KeyError):
        return {}


# ---------------------------------------------------------------------------------------------------- the table


def finish(folder: Path) -> bool:
    """Prints the table of a sweep, writes sweep.csv and sweep.md, and says whether any job failed."""
    rows = gather(folder)
    if not rows:
        return True
    table = tabulate(rows)
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    lines = markdown(table)
    (folder / "sweep.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(["", *aligned(table), "", f"The table is in {folder}/sweep.md and sweep.csv."]))
    return any(row["status"] not in ("done", "diverged") for row in rows)


def gather(folder: Path) -> list[Row]:
    """The results of all jobs, best first; failed and diverged ones last."""
    rows = []
    for path in sorted(folder.glob("*/job.json")):
        try:
            rows.append(json.loads(path.read_text(encoding="utf-8")) | {"run": str(path.parent)})
        except ValueError:  # cut short while it was written
            rows.append({"overrides": {}, "status": "killed", "value": None, "run": str(path.parent)})
    sign = -1 if any(row.get("direction") == "max" for row in rows) else 1
    return sorted(rows, key=lambda row: (row["value"] is None, sign * (row["value"] or 0.0), row["run"]))


def tabulate(rows: list[Row]) -> list[list[str]]:
    """Header and cells: the overrides that differ, the monitor, seconds, status, folder."""
    keys = list(dict.fromkeys(key for row in rows for key in row["overrides"]))
    swept = [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1] or keys
    name = next((row["monitor"] for row in rows if row.get("monitor")), "value")
    table = [[*swept, name, "seconds", "status", "run"]]
    for row in rows:
        value = "" if row["value"] is None else f"{row['value']:.5g}"
        seconds = str(row.get("seconds", ""))
        table.append([*(row["overrides"].get(key, "") for key in swept), value, seconds, row["status"], row["run"]])
    return table


def markdown(table: list[list[str]]) -> list[str]:
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in table]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def aligned(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
