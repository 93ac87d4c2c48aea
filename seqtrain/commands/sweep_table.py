"""The table at the end of a sweep, its figures, and means over folds and seeds."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from seqtrain.commands.sweep import ENDED, FOLD, STUDY, Row, gather
from seqtrain.config import UserError, in_brief, locate
from seqtrain.config.json_values import is_a
from seqtrain.config.quoting import command
from seqtrain.engine.recorder import digits
from seqtrain.machine.signals import importing
from seqtrain.storage.disk import Folder

REPEATS = {FOLD: "folds", "seed": "seeds"}  # keys that repeat a setting, over whose values a mean is shown
SPLITS = ("valid", "test", "baseline")


def finish(folder: Path) -> bool:
    """Prints the table of a sweep, writes sweep.csv, sweep.md and figures, and returns whether any job has not
    ended."""
    rows = gather(folder)
    if not rows:
        return True
    with importing():
        from seqtrain.evaluation.tables import aligned, markdown

    table, files, unfinished = tabulate(rows), Folder(folder), [row for row in rows if row["status"] not in ENDED]
    with files.open("sweep.csv", "w") as file:
        csv.writer(file).writerows(tabulate(rows, repr, str))
    with files.open("sweep.md", "w") as file:
        file.write(markdown(table[0], table[1:]) + "\n")
    important = importance(folder)
    drawn = ", with figures in figures" if draw(rows, folder, important) else ""
    print("\n".join(["", *aligned(table), "", f"The table is in {folder}/sweep.md and sweep.csv{drawn}."]))
    if important:
        shares = "  ".join(f"{key} {share:.2f}" for key, share in important.items())
        print(f"importance of the settings (PED-ANOVA): {shares}")
    for key, name in REPEATS.items():
        if any(key in row["swept"] for row in rows):
            found = repeated(rows, key)
            files.replace(f"{name}.json", json.dumps(found, indent=1, ensure_ascii=False).encode())
            shown = over_repeats(found, name, None if key == FOLD else rows[0].get("monitor"))
            print("\n".join(["", *aligned(shown), "", f"Mean ± standard deviation; also in {folder}/{name}.json."]))
            break
    if unfinished:
        print(f"to go on: {command(resume=folder)}")
    return bool(unfinished)


def importance(folder: Path) -> dict[str, float]:
    """Returns the share of each setting in how good the jobs of a search are; empty for another sweep, and where its
    study is damaged."""
    if Folder(folder).has(STUDY):
        from seqtrain.commands.study import Study

        with suppress(UserError):
            return Study(folder).importance()
    return {}


def draw(rows: list[Row], folder: Path, important: dict[str, float]) -> bool:
    """Draws which settings led to which result, for TensorBoard and as files; of a search also its course, and the
    importance of the settings. Returns whether there is anything to see. rows: the best first."""
    done = [row for row in rows if row["status"] == "done" and math.isfinite(row["value"])]
    if not (keys := swept(done)) or len(done) < 2:
        return False
    with importing():
        from seqtrain.engine.recorder import Recorder
        from seqtrain.evaluation import sweep_plots

    settings = {key: [brief(row["overrides"].get(key, "")) for row in done] for key in keys}
    results, metric = [row["value"] for row in done], f"valid {done[0].get('monitor', 'value')}"
    recorder = Recorder(folder, 0)
    figures = {
        "sweep parallel coordinates": sweep_plots.parallel_coordinates(settings, results, metric),
        "sweep by setting": sweep_plots.by_setting(settings, results, metric),
    }
    if Folder(folder).has(STUDY):
        valued = [
            (row["number"] + 1, row["value"], row["status"] == "pruned") for row in rows if row["value"] is not None
        ]
        figures["sweep history"] = sweep_plots.history(valued, done[0].get("direction", "min"), metric)
    if important:
        figures["sweep importance"] = sweep_plots.importance(important)
    recorder.show(0, figures, keep=True)
    recorder.close()
    return True


def swept(rows: list[Row]) -> list[str]:
    """The settings that differ between jobs."""
    keys = dict.fromkeys(key for row in rows for key in row["overrides"])
    return [key for key in keys if len({row["overrides"].get(key) for row in rows}) > 1]


def brief(setting: str) -> str:
    """Returns a value of a setting as it is shown; a number that a sampler drew has all digits of a float."""
    with suppress(ValueError):
        return f"{float(setting):.4g}" if len(setting) > 10 else setting
    return setting


def tabulate(
    rows: list[Row], format_value: Callable[[float], str] = digits, format_setting: Callable[[str], str] = brief
) -> list[list[str]]:
    """Returns header and rows of a table: the overrides that differ, the monitor, seconds, status, folder, and the
    reason of failures."""
    keys = swept(rows) or list(rows[0]["overrides"])
    name = next((row["monitor"] for row in rows if row.get("monitor")), "value")
    reasons = ["reason"] if any(row.get("error") for row in rows) else []
    table = [[*keys, name, "seconds", "status", "run", *reasons]]
    for row in rows:
        value = "" if row["value"] is None else format_value(row["value"])
        cells = [*(format_setting(row["overrides"].get(key, "")) for key in keys), value, str(row.get("seconds", ""))]
        table.append([*cells, row["status"], row["run"], *(in_brief(row.get("error", ""), 80) for _ in reasons)])
    return table


# ---------------------------------------------------------------------------------------------------- repeats


def of_each_fold(data: dict[str, Any], swept: Sequence[str], trust: bool) -> str | None:
    """Returns the override that sweeps over the folds of a cross-validation; None where there is none, or one fold."""
    if not data.get("folds") or data.get("fold") is not None:
        return None
    from seqtrain.reading.folds import check_kind  # NumPy is slow to import

    check_kind(data["folds"], locate(data["_target_"], trust).kind)
    if "data.folds" in swept:
        raise UserError("data.folds: give one number, all of whose folds are trained")
    return f"{FOLD}={','.join(map(str, range(1, data['folds'] + 1)))}"


def repeated(rows: list[Row], key: str) -> list[Row]:
    """Returns for each setting beside `key`, the best first, with which values of it jobs are done, and of each metric
    of each split the mean, the standard deviation (None for a single job) and the value of each job."""
    settings: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        others = tuple((other, row["overrides"].get(other, "")) for other in row["swept"] if other != key)
        settings.setdefault(others, []).append(row)
    found: list[tuple[float, Row]] = []
    for others, jobs in settings.items():
        done = [job for job in jobs if job["status"] == "done" and Folder(Path(job["run"])).has("metrics.json")]
        done.sort(key=lambda job: int(job["overrides"][key]))
        metrics = [json.loads(Folder(Path(job["run"])).read("metrics.json")) for job in done]
        splits = {split: summary([each[split] for each in metrics]) for split in SPLITS
                  if metrics and all(split in each for each in metrics)}  # fmt: skip
        values = [job["overrides"][key] for job in done]
        sign = -1 if any(job.get("direction") == "max" for job in jobs) else 1
        rank = sign * mean(job["value"] for job in done) if done else math.inf
        found.append((rank, {"settings": dict(others), REPEATS[key]: values, **splits}))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def summary(scores: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns mean, standard deviation and all values of each metric that all jobs have."""
    names = [name for name, value in scores[0].items() if all(is_a(each.get(name), float) for each in scores)
             and is_a(value, float)]  # fmt: skip
    values = {name: [each[name] for each in scores] for name in names}
    return {
        name: {"mean": mean(some), "std": stdev(some) if len(some) > 1 else None, "values": some}
        for name, some in values.items()
    }


def over_repeats(found: list[Row], repeats: str, only: str | None) -> list[list[str]]:
    """Returns header and rows of a table of `repeated`. repeats: what they are, such as "folds". only: the metric that
    is shown; None: all."""
    keys = list(dict.fromkeys(key for row in found for key in row["settings"]))
    splits = [split for split in SPLITS if any(split in row for row in found)]
    table = [[*keys, repeats, "metric", *splits]]
    for row in found:
        for name in dict.fromkeys(name for split in splits for name in row.get(split, {})):
            if only in (None, name):
                cells = [row.get(split, {}).get(name) for split in splits]
                texts = ["" if cell is None else spread(cell) for cell in cells]
                settings = (brief(row["settings"].get(key, "")) for key in keys)
                table.append([*settings, str(len(row[repeats])), name, *texts])
    return table


def spread(values: Row) -> str:
    return digits(values["mean"]) + ("" if values["std"] is None else f" ± {digits(values['std'])}")
