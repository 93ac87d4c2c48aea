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
from statistics import mean, stdev
from typing import Any

from seqtrain.config import UserError, in_brief
from seqtrain.config.json_values import is_a
from seqtrain.config.quoting import command
from seqtrain.engine.recorder import digits
from seqtrain.machine.signals import Lost, importing
from seqtrain.storage.disk import Folder, Foreign

log = logging.getLogger(__name__)

Row = dict[str, Any]
LARGEST = 2**20  # bytes of a job.json
FOLD = "data.fold"
ENDED = ("done", "diverged")
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def begin(folder: Path, overrides: list[str], fixed: Sequence[str] = ()) -> None:
    """Writes the record of a job that begins; its status is "killed" until it has ended. fixed: the keys that all jobs
    of the sweep share."""
    settings = dict(split(line) for line in overrides)
    swept = [key for key in settings if key not in fixed]
    write(folder, {"overrides": settings, "swept": swept, "status": "killed", "value": None})


def run_job(config: dict[str, Any], folder: Path, resume: bool = False) -> None:
    """Trains a job of a sweep, or goes on with it, and records how it ended. A failure does not end the sweep. The test
    split is not scored, but in a cross-validation."""
    since = time.monotonic()
    row = read(folder)
    assert row is not None
    try:
        with importing():
            from seqtrain.commands import train

        row["value"] = float(train.train(config, folder, resume, swept=row["swept"]))
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
    """Prints the table of a sweep, writes sweep.csv, sweep.md and figures, and returns whether any job failed."""
    rows = gather(folder)
    if not rows:
        return True
    with importing():
        from seqtrain.evaluation.tables import aligned, markdown

    table, files, unfinished = tabulate(rows), Folder(folder), [row for row in rows if row["status"] not in ENDED]
    with files.open("sweep.csv", "w") as file:
        csv.writer(file).writerows(tabulate(rows, repr))
    with files.open("sweep.md", "w") as file:
        file.write(markdown(table[0], table[1:]) + "\n")
    drawn = ", with figures in figures" if draw(rows, folder) else ""
    print("\n".join(["", *aligned(table), "", f"The table is in {folder}/sweep.md and sweep.csv{drawn}."]))
    if any(FOLD in row["swept"] for row in rows):
        found = cross_validation(rows)
        files.replace("folds.json", json.dumps(found, indent=1, ensure_ascii=False).encode())
        print(
            "\n".join(["", *aligned(over_folds(found)), "", f"Mean ± standard deviation; also in {folder}/folds.json."])
        )
    if unfinished:
        print(f"to go on: {command(resume=folder)}")
    return bool(unfinished)


def draw(rows: list[Row], folder: Path) -> bool:
    """Draws which settings led to which result, for TensorBoard and as files. Returns whether there is anything to
    see. rows: the best first."""
    done = [row for row in rows if row["value"] is not None and math.isfinite(row["value"])]
    if not (keys := swept(done)) or len(done) < 2:
        return False
    with importing():
        from seqtrain.engine.recorder import Recorder
        from seqtrain.evaluation import sweep_plots

    settings = {key: [row["overrides"].get(key, "") for row in done] for key in keys}
    results, metric = [row["value"] for row in done], f"valid {done[0].get('monitor', 'value')}"
    recorder = Recorder(folder, 0)
    figures = {
        "sweep parallel coordinates": sweep_plots.parallel_coordinates(settings, results, metric),
        "sweep by setting": sweep_plots.by_setting(settings, results, metric),
    }
    recorder.show(0, figures, keep=True)
    recorder.close()
    return True


def swept(rows: list[Row]) -> list[str]:
    """The settings that differ between jobs."""
    keys = dict.fromkeys(key for row in rows for key in row["overrides"])
    return [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1]


def gather(folder: Path) -> list[Row]:
    """Reads the records of all jobs, the best first, failed and diverged ones last."""
    folders = [path.parent for path in sorted(folder.glob("*/job.json"))]
    rows = [row | {"run": str(job_folder)} for job_folder in folders if (row := read(job_folder))]
    sign = -1 if any(row.get("direction") == "max" for row in rows) else 1
    return sorted(rows, key=lambda row: (row["value"] is None, sign * (row["value"] or 0.0), row["run"]))


def tabulate(rows: list[Row], format_value: Callable[[float], str] = digits) -> list[list[str]]:
    """Returns header and rows of a table: the overrides that differ, the monitor, seconds, status, folder, and the
    reason of failures."""
    keys = swept(rows) or list(rows[0]["overrides"])
    name = next((row["monitor"] for row in rows if row.get("monitor")), "value")
    reasons = ["reason"] if any(row.get("error") for row in rows) else []
    table = [[*keys, name, "seconds", "status", "run", *reasons]]
    for row in rows:
        value = "" if row["value"] is None else format_value(row["value"])
        cells = [*(row["overrides"].get(key, "") for key in keys), value, str(row.get("seconds", ""))]
        table.append([*cells, row["status"], row["run"], *(in_brief(row.get("error", ""), 80) for _ in reasons)])
    return table


# ---------------------------------------------------------------------------------------------------- cross-validation


def of_each_fold(data: dict[str, Any], swept: Sequence[str]) -> str | None:
    """Returns the override that sweeps over the folds of a cross-validation; None where there is none, or one fold."""
    if not data.get("folds") or data.get("fold") is not None:
        return None
    if "data.folds" in swept:
        raise UserError("data.folds: give one number, all of whose folds are trained")
    return f"{FOLD}={','.join(map(str, range(1, data['folds'] + 1)))}"


def cross_validation(rows: list[Row]) -> list[Row]:
    """Returns for each setting beside the fold how many folds are done, and of each metric of each split the mean, the
    standard deviation (None for a single fold) and the value of each fold."""
    settings: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        others = tuple((key, row["overrides"].get(key, "")) for key in row["swept"] if key != FOLD)
        settings.setdefault(others, []).append(row)
    found = []
    for others, jobs in settings.items():
        done = sorted((job for job in jobs if job["status"] == "done"), key=lambda job: int(job["overrides"][FOLD]))
        metrics = [json.loads(Folder(Path(job["run"])).read("metrics.json")) for job in done]
        splits = {split: summary([each[split] for each in metrics]) for split in ("valid", "test", "baseline")
                  if metrics and all(split in each for each in metrics)}  # fmt: skip
        found.append({"settings": dict(others), "folds": [job["overrides"][FOLD] for job in done], **splits})
    return found


def summary(scores: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns mean, standard deviation and all values of each metric that all folds have."""
    names = [name for name, value in scores[0].items() if all(is_a(each.get(name), float) for each in scores)
             and is_a(value, float)]  # fmt: skip
    values = {name: [each[name] for each in scores] for name in names}
    return {
        name: {"mean": mean(some), "std": stdev(some) if len(some) > 1 else None, "values": some}
        for name, some in values.items()
    }


def over_folds(found: list[Row]) -> list[list[str]]:
    """Returns header and rows of a table of `cross_validation`."""
    keys = list(dict.fromkeys(key for row in found for key in row["settings"]))
    splits = [split for split in ("valid", "test", "baseline") if any(split in row for row in found)]
    table = [[*keys, "folds", "metric", *splits]]
    for row in found:
        for name in dict.fromkeys(name for split in splits for name in row.get(split, {})):
            cells = [row.get(split, {}).get(name) for split in splits]
            texts = ["" if cell is None else spread(cell) for cell in cells]
            table.append([*(row["settings"].get(key, "") for key in keys), str(len(row["folds"])), name, *texts])
    return table


def spread(values: Row) -> str:
    return digits(values["mean"]) + ("" if values["std"] is None else f" ± {digits(values['std'])}")


# ---------------------------------------------------------------------------------------------------- going on


def stored_overrides(folder: Path) -> list[str]:
    """Reads the overrides that a sweep was started with. The folder may be a stranger's: raises `UserError` for one
    that could name other code than the options that are here."""
    import yaml

    try:
        content = yaml.safe_load(Folder(folder).read("multirun.yaml", LARGEST))
        lines = content["hydra"]["overrides"]["task"]
        if content["hydra"]["sweeper"]["_target_"] != BASIC_SWEEPER:
            raise UserError(f"resume={folder}: this sweep has a sweeper of its own, which chooses anew; start it again")
    except (ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{folder / 'multirun.yaml'}: damaged ({in_brief(error)})") from None
    if not is_a(lines, list[str]):
        raise UserError(f"{folder / 'multirun.yaml'}: damaged (its overrides are no texts)")
    for line in lines:
        if "_target_" in line or "\\" in line or "${" in line or line.lstrip("+~").startswith(("hydra", "trust")):
            raise UserError(f"resume={folder}: {in_brief(line)}: a sweep with such a setting cannot go on; resume each "
                            "of its jobs")  # fmt: skip
    return lines


def ended(folder: Path) -> set[int]:
    """Returns the numbers of the jobs that need not run again."""
    return {int(number) for row in gather(folder) if row["status"] in ENDED
            and (number := Path(row["run"]).name.partition("-")[0]).isdigit()}  # fmt: skip
