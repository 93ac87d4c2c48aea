"""Jobs of a sweep.

Each job keeps its own result in `job.json`, because a launcher may run it in another process or on another machine;
the table at the end is gathered from the disk (`sweep_table`).
"""

import json
import logging
import math
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqtrain.config import UserError, in_brief
from seqtrain.config.compose import BASIC_SWEEPER
from seqtrain.config.json_values import is_a
from seqtrain.config.quoting import in_hydra
from seqtrain.machine.signals import Lost, Pruned, importing
from seqtrain.storage.disk import Folder, Foreign, is_locked

log = logging.getLogger(__name__)

Row = dict[str, Any]
LARGEST = 2**20  # bytes of a job.json
FOLD = "data.fold"
CHANGES = ("jobs=", "device", "hydra/launcher=", "hydra.launcher.", "hydra.sweeper.n_trials=", "trust=")
ENDED = ("done", "pruned", "diverged")  # a job that need not run again
STUDY = "study.journal"  # in the folder of a sweep that searches: what Optuna knows of it
OPTUNA = "hydra_plugins.seqtrain_sweeper.SeqtrainSweeper"


def begin(folder: Path, overrides: list[str], fixed: Sequence[str] = (), number: int = 0) -> None:
    """Writes the record of a job that begins; its status is "killed" until it has ended. fixed: the keys that all jobs
    of the sweep share. number: of the job, from 0 on."""
    settings = dict(split(line) for line in overrides)
    swept = [key for key in settings if key not in fixed]
    write(folder, {"number": number, "overrides": settings, "swept": swept, "status": "killed", "value": None})


def run_job(config: dict[str, Any], folder: Path, resume: bool = False) -> None:
    """Trains a job of a sweep, or goes on with it, and records how it ended. A failure does not end the sweep. The test
    split is not scored, but in a cross-validation."""
    since = time.monotonic()
    row = read(folder)
    assert row is not None
    try:
        with importing():
            from seqtrain.commands import train

        row["value"] = float(train.train(config, folder, resume, row["swept"], judge(folder, row)))
        row["status"] = "done" if math.isfinite(row["value"]) else "diverged"
    except Pruned as end:
        row |= {"status": "pruned", "value": end.value, "monitor": end.monitor, "direction": end.direction}
        log.info("%s", end)
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
    write(folder, row if row["status"] in ("done", "pruned") else row | {"value": None})


def judge(folder: Path, row: Row) -> Any:
    """Returns what tells a job of a search, after each evaluation, whether to stop: see `study.Judge`. None where jobs
    are never stopped."""
    if not Folder(folder.parent).has(STUDY):
        return None
    from seqtrain.commands.study import Judge

    return Judge.of(folder.parent, row["number"])


def objective(folder: Path) -> float:
    """Returns the number that a sweeper minimizes or maximizes: the validation monitor; infinitely bad for a job that
    has neither ended nor was pruned."""
    row = read(folder) or {}
    if row.get("status") in ("done", "pruned"):
        return row["value"]
    return -math.inf if row.get("direction") == "max" else math.inf


def interrupt(folder: Path) -> None:
    """Records that a job was interrupted, if it has not ended."""
    if (row := read(folder)) and row["status"] == "killed":
        write(folder, row | {"status": "interrupted"})


def complete(folder: Path) -> None:
    """Records that a job is done which was resumed outside of its sweep; does nothing for a run that is no job."""
    if row := read(folder):
        value = metrics(folder)["monitor"]["value"]
        write(folder, row | monitor(folder) | {"status": "done", "value": value})


def read(folder: Path) -> Row | None:
    """Reads the record of a job; None for a run that is not part of a sweep. A damaged record counts as "killed"."""
    try:
        row = json.loads(Folder(folder).read("job.json", LARGEST))
        if not is_a(row, dict[str, Any]) or not is_a(row.get("swept", []), list[str]):
            raise ValueError("not the record of a job")
        return empty(folder) | row
    except FileNotFoundError:
        return None
    except Foreign:
        raise
    except (ValueError, RecursionError):
        return empty(folder)


def empty(folder: Path) -> Row:
    """Returns the record of a job of which nothing is known but its folder, whose name begins with its number."""
    number = folder.name.partition("-")[0]
    known = {"number": int(number)} if number.isdecimal() else {}
    return {"overrides": {}, "swept": [], "status": "killed", "value": None} | known


def split(line: str) -> tuple[str, str]:
    key, _, value = line.lstrip("+").partition("=")
    return key, value


def write(folder: Path, row: Row) -> None:
    Folder(folder).replace("job.json", json.dumps(row).encode())


def metrics(folder: Path) -> Row:
    return json.loads(Folder(folder).read("metrics.json"))


def monitor(folder: Path) -> Row:
    """Reads name and direction of the metric that jobs are ranked by; empty where a job has no metrics.json."""
    try:
        metric = metrics(folder)["monitor"]
        return {"monitor": metric["name"], "direction": metric["direction"]}
    except (OSError, ValueError, KeyError):
        return {}


def gather(folder: Path) -> list[Row]:
    """Reads the records of all jobs, the best first, then pruned ones, failed and diverged ones last."""
    folders = [path.parent for path in sorted(folder.glob("*/job.json"))]
    rows = [row | {"run": str(job_folder)} for job_folder in folders if (row := read(job_folder))]
    sign = -1 if any(row.get("direction") == "max" for row in rows) else 1

    def rank(row: Row) -> tuple[bool, bool, float, str]:
        return row["value"] is None, row["status"] == "pruned", sign * (row["value"] or 0.0), row["run"]

    return sorted(rows, key=rank)


# ---------------------------------------------------------------------------------------------------- going on


def stored_overrides(folder: Path) -> list[str]:
    """Reads the overrides that a sweep was started with. The folder may be a stranger's: raises `UserError` for one
    that could name other code than the options that are here."""
    import yaml

    try:
        content = yaml.safe_load(Folder(folder).read("multirun.yaml", LARGEST))
        lines, sweeper = content["hydra"]["overrides"]["task"], dict(content["hydra"]["sweeper"])
        target, params = sweeper.pop("_target_"), sweeper.pop("params", None) or {}
        if target not in (BASIC_SWEEPER, OPTUNA):
            raise UserError(f"resume={folder}: this sweep has a sweeper of its own, which chooses anew; start it again")
        if not is_a(lines, list[str]) or not is_a(params, dict[str, Any]):
            raise ValueError("its overrides are no texts")
    except (ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{folder / 'multirun.yaml'}: damaged ({in_brief(error)})") from None
    lines = [*(f"{key}={value}" for key, value in params.items()), *lines]  # in the order in which jobs are numbered
    for line in lines:
        if "_target_" in line or "\\" in line or "${" in line or line.lstrip("+~").startswith(("hydra", "trust")):
            raise UserError(f"resume={folder}: {in_brief(line)}: a sweep with such a setting cannot go on; resume each "
                            "of its jobs")  # fmt: skip
    if target == OPTUNA:
        given = {key: value for key, value in sweeper.items() if "${" not in str(value)}
        lines = ["hydra/sweeper=optuna", *(f"hydra.sweeper.{k}={in_hydra(v)}" for k, v in given.items()), *lines]
    return lines


def wait(folder: Path) -> None:
    """Waits for jobs that a killed sweep has left behind: they save their state and end, or go on elsewhere."""

    def busy() -> list[str]:
        return [path.parent.name for path in sorted(folder.glob("*/job.json")) if is_locked(path.parent)]

    if names := busy():
        log.info("waiting for jobs that still run: %s", ", ".join(names))
    while busy():
        time.sleep(0.2)


def ended(folder: Path) -> set[int]:
    """Returns the numbers of the jobs that need not run again."""
    return {row["number"] for row in gather(folder) if row["status"] in ENDED and "number" in row}
