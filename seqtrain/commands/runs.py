"""mode=runs: a table of the runs below a folder, by what each has left there. Any of them may be a stranger's."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from seqtrain.commands import sweep
from seqtrain.commands.outputs import write_table
from seqtrain.config import UserError, expanded, in_brief, near_path
from seqtrain.config.options import MAIN, Options
from seqtrain.config.quoting import typed
from seqtrain.config.schema import check, conform
from seqtrain.config.sources import Configs
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.config.stored import read_stored
from seqtrain.engine.recorder import digits
from seqtrain.evaluation.tables import aligned
from seqtrain.storage.disk import Folder, explain, is_locked

Row = dict[str, Any]
MARKS = {"config.yaml", "train.log", "checkpoints", "metrics.json"}  # a folder with two of these is a run
COLUMNS = (*MAIN, "settings", "state", "step", "metric", "value", "seconds", "age", "run", "reason")
DEEPEST = 12  # folders below the one that is named
LARGEST = 2**24  # bytes of a metrics.json
TAIL = 2**16  # bytes at the end of a train.log
RECORD = re.compile(r"^[\d-]{10} [\d:,]{8,12} (INFO|WARNING|ERROR) [\w.]+: (.*)$")
ENDS = {
    "done": "finished",
    "pruned": "pruned",
    "diverged": "diverged",
    "failed": "failed",
}  # of a job of a sweep; others: interrupted
STATES = ("running", "interrupted", *ENDS.values(), "broken")


def runs(cfg: dict[str, Any]) -> None:
    """Prints the table, or writes it in the form that is asked for."""
    options = Options(Configs())
    rows = [read(folder, options) for folder in named(cfg["runs"] or "outputs")]
    rows = in_order(chosen(rows, cfg["filter"]), cfg["sort"])
    if cfg["output"] is not None or cfg["format"] is not None:
        return write_table(cfg, COLUMNS, rows)
    shown = [name for name in COLUMNS if any(row.get(name) not in (None, "") for row in rows)]
    if rows:
        print(*aligned([shown, *([cell(row, name) for name in shown] for row in rows)]), sep="\n")
    else:
        print("there is no such run")
    return None


def named(names: str | Sequence[str]) -> list[Path]:
    """The runs in or below folders that are named by path or by pattern, each once. No link is followed but those in a
    path that is no pattern."""
    found: dict[Path, None] = {}
    for name in [names] if isinstance(names, str) else names:
        if not isinstance(name, str):
            raise UserError(f"{typed('runs', names)}: expected folders or patterns, such as outputs/*/gru*")
        if os.path.isdir(expanded(name)):
            folders = [expanded(name)]
        else:
            folders = [Path(path) for path in sorted(glob(str(expanded(name)), recursive=True))]
            folders = [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]
        if not folders:
            raise UserError(f"{typed('runs', name)}: there is no such folder{did_you_mean(near_path(expanded(name)))}")
        for folder in folders:
            found |= dict.fromkeys(below(folder, DEEPEST))
    return list(found)


def below(folder: Path, depth: int) -> Iterator[Path]:
    """A folder that is a run, or those below it that are. One that cannot be read counts as a run, to be told of."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        if len(MARKS & {entry.name for entry in entries}) > 1:
            yield folder
        elif depth:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    yield from below(folder / entry.name, depth - 1)
    except OSError:
        yield folder


# ---------------------------------------------------------------------------------------------------- one run


def read(folder: Path, options: Options) -> Row:
    """What a run has left, as a row. Whatever is wrong with its files becomes the state "broken" and its reason."""
    row: Row = {"run": str(folder)}
    try:
        log = tail(folder)
        row["age"] = time.time() - log.modified if log else None
        row |= read_config(folder, options)
        row["step"] = last_step(folder)
        return row | read_state(folder, log.lines if log else [], row.pop("monitor"))
    except OSError as error:
        reason = explain(error)
    except Exception as error:  # a stranger's files may hold anything
        reason = str(error) if isinstance(error, UserError) else f"damaged: {type(error).__name__} {error}"
    row.pop("monitor", None)
    return row | {"state": "broken", "reason": in_brief(reason.removeprefix(f"{folder}: "))}


class Log:
    """The end of a train.log. modified: when it was written last, in seconds since 1970."""

    def __init__(self, lines: list[str], modified: float):
        self.lines, self.modified = lines, modified


def tail(folder: Path) -> Log | None:
    """The last lines of the log of a run; None where it has none."""
    with suppress(FileNotFoundError), Folder(folder).open("train.log") as file:
        status = os.fstat(file.fileno())
        file.seek(max(0, status.st_size - TAIL))
        return Log(file.read(TAIL).decode(errors="replace").splitlines(), status.st_mtime)
    return None


def read_config(folder: Path, options: Options) -> Row:
    """What the run is about, by its configuration. Raises `UserError` where that cannot be used."""
    stored, schema = read_stored(folder, options.configs)
    config: Any = OmegaConf.to_container(stored, resolve=False)
    if problems := list(check(config, schema).values()):
        raise UserError(f"config.yaml: {problems[0]}")
    config = conform(config, schema)
    words = options.typed(config)
    main = {axis: words.pop(axis) for axis in MAIN}
    return main | {
        "settings": " ".join(typed(key, value) for key, value in words.items()),
        "monitor": str(config["task"].get("monitor")),
    }


def last_step(folder: Path) -> int | None:
    """The step of the last checkpoint."""
    with suppress(FileNotFoundError):
        found = re.match(rb"step-([0-9]{1,18})", Folder(folder).read("checkpoints/last", limit=4096))
        return int(found[1]) if found else None
    return None


def read_state(folder: Path, lines: list[str], monitor: str) -> Row:
    """The state of a run, why it is so, its monitored metric, and the seconds it has trained."""
    job = sweep.read(folder)
    ended = Folder(folder).has("metrics.json")
    found = scores(folder) if ended else so_far(lines, monitor)
    if is_locked(folder):
        return found | {"state": "running"}
    if job:
        reason = str(job.get("error", ""))
        return found | {"state": ENDS.get(str(job["status"]), "interrupted"), "reason": in_brief(reason)}
    level, message = next(((m[1], m[2]) for line in reversed(lines) if (m := RECORD.match(line))), ("INFO", ""))
    message = message.removeprefix("seqtrain: ")
    if message.startswith("interrupted") or (level == "INFO" and not ended):  # killed: it could say nothing
        return found | {"state": "interrupted"}
    if level != "ERROR":
        return found | {"state": "finished"}
    if message.startswith("Traceback"):
        message = lines[-1]
    state = "diverged" if "a lower optimizer.lr" in message else "failed"
    return found | {"state": state, "reason": in_brief(message)}


def scores(folder: Path) -> Row:
    """The monitored metric of a run that has ended. Raises an exception where metrics.json is not of seqtrain."""
    metrics = json.loads(Folder(folder).read("metrics.json", LARGEST))
    monitor = metrics["monitor"]
    return {
        "metric": in_brief(monitor["name"], 40),
        "value": float(monitor["value"]),
        "direction": monitor["direction"],
        "seconds": round(float(metrics["speed"]["seconds"]), 1),
    }


def so_far(lines: list[str], monitor: str) -> Row:
    """The best validation result that the log tells of."""
    best = next((m[2] for line in reversed(lines) if (m := RECORD.match(line)) and m[2].endswith(" *")), "")
    words = best.removesuffix(" *").split()[1:]
    metrics = dict(zip(words[::2], words[1::2], strict=False))
    with suppress(ValueError, KeyError):
        return {"metric": monitor, "value": float(metrics[monitor])}
    return {}


# ---------------------------------------------------------------------------------------------------- the table


def chosen(rows: list[Row], pattern: str | None) -> list[Row]:
    """The rows that fit a pattern. Raises `UserError` where none does and the pattern looks like a misspelt state."""
    found = [row for row in rows if fits(row, pattern)]
    if pattern is not None and not found and pattern not in STATES and (meant := near(pattern, STATES)):
        raise UserError(f"filter={pattern}: no cell of the table is that{did_you_mean(meant)} "
                        f"(states are {', '.join(STATES)})")  # fmt: skip
    return found


def fits(row: Row, pattern: str | None) -> bool:
    """Whether a cell of a row is of a pattern."""
    return pattern is None or any(fnmatchcase(str(value), pattern) for value in row.values())


def in_order(rows: list[Row], column: str) -> list[Row]:
    """Rows by a column, those without a value last; metrics of one name together, the best first. A - before the name
    of the column turns the order around."""
    name = column.removeprefix("-")
    if name not in COLUMNS:
        hint = did_you_mean(near(name, COLUMNS)) or f"; there are: {', '.join(COLUMNS)}"
        raise UserError(f"sort={column}: the table has no such column{hint}")

    def key(row: Row) -> Any:
        value = row[name]
        if name != "value":
            return value
        return row["metric"], -value if row.get("direction") == "max" else value

    known = [row for row in rows if row.get(name) is not None and not is_nan(row[name])]
    ordered = sorted(known, key=key, reverse=column.startswith("-"))
    return [*ordered, *(row for row in rows if not any(row is other for other in known))]


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


SHOWN: dict[str, Callable[[Any], str]] = {
    "settings": lambda text: in_brief(text, 60),
    "reason": lambda text: in_brief(text, 80),
    "value": digits,
    "seconds": lambda seconds: f"{seconds:.0f}",
    "age": lambda seconds: ago(seconds),
}


def cell(row: Row, name: str) -> str:
    """A cell as text, in brief."""
    value = row.get(name)
    return "" if value is None else SHOWN.get(name, str)(value)


def ago(seconds: float) -> str:
    """A time in its largest unit."""
    for unit, size in {"d": 86400, "h": 3600, "min": 60}.items():
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
