"""mode=train: trains a model and scores it; the results are in `metrics.json`."""

from __future__ import annotations

import csv
import io
import json
import logging
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqtrain.commands import calibration
from seqtrain.commands.assembly import Assembly, Config, baseline_lines
from seqtrain.commands.origin import Origin
from seqtrain.commands.run_folder import log_to_run
from seqtrain.commands.sweep import FOLD
from seqtrain.config import UserError, in_brief
from seqtrain.config.quoting import command, resume_command
from seqtrain.engine import processes
from seqtrain.engine.checkpoint import Checkpoint, Checkpoints, parse_name, put_weights, versions
from seqtrain.engine.evaluate import evaluate
from seqtrain.engine.processes import Shared, Team
from seqtrain.engine.recorder import excerpt, line
from seqtrain.engine.room import check_room
from seqtrain.engine.sharding import outline
from seqtrain.engine.trainer import Diverged
from seqtrain.evaluation.comparison import best_baseline, verdict
from seqtrain.machine.device import open_device
from seqtrain.machine.signals import Interrupted, Interruption
from seqtrain.machine.threads import launched
from seqtrain.storage.disk import Folder
from seqtrain.trees import map_tensors

log = logging.getLogger(__name__)
RSS_UNITS_PER_MIB = 1024**2 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux


Judge = Callable[[list[float], str], bool]


def train(
    cfg: Config, folder: Path, resume: bool = False, swept: Sequence[str] | None = None, judge: Judge | None = None
) -> float:
    """Trains in a run folder, then scores the best weights on the validation split and, except in a sweep over other
    settings than folds, on the test split, and writes `metrics.json`.

    swept: the settings that a sweep varies; None: this run is not part of a sweep. judge: see `Job`. Returns the
    monitored validation metric.
    """
    if folder.is_relative_to(Path.cwd()):  # shorter to read and type
        folder = folder.relative_to(Path.cwd())
    again = resume_command(folder, cfg["device"])
    if (count := cfg["device"]["processes"]) > 1 and not launched():
        return processes.launch(count, partial(train_in_first, cfg, folder, resume, swept, judge), again)
    team = processes.joined()
    team.again = again
    with Interruption() as interruption, closing(team):
        try:
            return train_until(interruption, team, cfg, folder, resume, swept, judge)
        except Interrupted:
            last = Checkpoints(folder).named("last")
            where = f"at step {parse_name(last)[0]}" if last else "before the first checkpoint"
            log.warning("interrupted %s; to go on: %s", where, again)
            raise
        except Shared as error:
            if (last := Checkpoints(folder).named("last")) is None:
                raise
            raise UserError(f"{error}; the run is kept at step {parse_name(last)[0]}, to go on: {again}") from None
        except Diverged:
            if best := Checkpoints(folder).named("best"):
                where = f"of step {parse_name(best)[0]}"
                log.warning("the best weights, %s, are kept: %s", where, command(mode="evaluate", checkpoint=folder))
            raise


def train_in_first(cfg: Config, folder: Path, resume: bool, swept: Sequence[str] | None, judge: Judge | None) -> float:
    """Calls `train` in the first of several processes, which has to set up its log."""
    log_to_run(folder)
    return train(cfg, folder, resume, swept, judge)


def train_along(team: Team, interruption: Interruption, cfg: Config, folder: Path) -> None:
    """Trains in a process that is not the first one: with the state of the first, and without recording anything."""
    checkpoint = team.share(None)
    parts = open_run(cfg, folder, team, interruption, checkpoint)
    parts.job.recorder.writer = parts.job.recorder.tracking = None
    parts.job.join(team, cfg["device"]["gradients"], cfg["device"]["shard"])
    parts.restore(parts.job.restore, checkpoint)
    parts.trainer.fit(parts.job, folder)


def train_until(
    interruption: Interruption,
    team: Team,
    cfg: Config,
    folder: Path,
    resume: bool,
    swept: Sequence[str] | None,
    judge: Judge | None,
) -> float:
    """Trains in the first or only process: see `train`."""
    checkpoints = Checkpoints(folder)
    checkpoints.clean()
    checkpoint = checkpoints.load("last") if resume and checkpoints.steps() else None
    if resume and checkpoint is None and cfg["init"]:  # a folder does not decide what else is read
        raise UserError(f"{folder}: it ended before its first checkpoint, and it began with init: start it again")
    parts = open_run(cfg, folder, team, interruption, checkpoint)
    trainer, job, step = parts.trainer, parts.job, parts.job.recorder.step
    job.judge = judge
    size = sum(p.numel() for p in job.model.parameters())
    log.info("%s\n%s; %s parameters on %s, %s", folder, parts.counts, f"{size:,}", job.device, trainer.precision)
    with closing(job.recorder):
        if checkpoint is None:
            room = check_room(job.model, {"train": job.train, "valid": job.valid})
            for text in chain(parts.report.lines, parts.notes, room):
                log.info("  %s", text)
            figures = json.dumps(parts.report.figures, indent=1, ensure_ascii=False)
            checkpoints.files.replace("data.json", figures.encode())
            if cfg["init"]:  # so that a resumed run does without the other one
                job.save()
            job.recorder.show(0, {"config": f"```yaml\n{checkpoints.files.read('config.yaml').decode()}\n```"})
        else:
            checkpoints.restore(job.restore, checkpoint)
            if trainer.done(job.progress, trainer.total_steps(job.train)) and checkpoints.files.has("metrics.json"):
                log.info("step %d: nothing is left to do; more trainer.epochs or trainer.max_steps would go on", step)
                return value_of(folder)
            log.info("going on at step %d", step)
        baselines = parts.baselines("valid")
        if swept is not None:
            baselines = dict([best_baseline(baselines, parts.task.monitor)])
        for text in baseline_lines(baselines):
            log.info("  valid  %s", text)
        if team.size > 1:
            shared = map_tensors(Tensor.cpu, checkpoint or job.checkpoint())
            team.call(cfg, folder)
            team.share(outline(shared, job.model) if cfg["device"]["shard"] else shared)
            job.join(team, cfg["device"]["gradients"], cfg["device"]["shard"])
            checkpoints.restore(job.restore, shared)
        trainer.fit(job, folder)
        team.close()
        open_device(cfg["device"])  # this process may use all threads again
        if cfg["device"]["shard"]:
            job.model = parts.new_model(parts.device)  # `finish` gives it the best weights
        return finish(parts, swept)


def open_run(
    cfg: Config, folder: Path, team: Team, interruption: Interruption, checkpoint: Checkpoint | None
) -> Assembly:
    """Makes and checks the parts that one process trains with; the state comes from the checkpoint, if there is one."""
    if cfg["device"]["shard"] and team.size == 1:
        raise UserError("device.shard=true shares out the weights among processes, and there is one: "
                        "device.processes=N starts N, as torchrun does")  # fmt: skip
    parts = Assembly(cfg, folder, checkpoint)
    parts.origin = Origin(cfg) if checkpoint is None and cfg["init"] else None
    parts.device = open_device(cfg["device"], team.local_rank, team.local_size)
    parts.check()
    if parts.head and len(parts.head.shards) < team.size:
        raise UserError(f"device.processes={team.size}: each process reads shards of its own, and data.train has "
                        f"{len(parts.head.shards)}: make more of them, or fewer processes")  # fmt: skip
    torch.manual_seed(cfg["seed"])
    deterministic = parts.trainer.deterministic
    if deterministic != torch.are_deterministic_algorithms_enabled():  # setting it imports torch's compiler: slow
        torch.use_deterministic_algorithms(deterministic)
    if checkpoint is not None:
        check_data(checkpoint, parts.fingerprint)
    parts.task.check(parts.records)
    parts.job.interruption = interruption
    return parts


# ---------------------------------------------------------------------------------------------------- before and after


def value_of(folder: Path) -> float:
    """Reads the monitored metric of a run that has ended."""
    try:
        return float(json.loads(Folder(folder).read("metrics.json", limit=2**26))["monitor"]["value"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{folder / 'metrics.json'}: damaged ({in_brief(error)}); remove it to score anew") from None


def check_data(checkpoint: Checkpoint, data: str) -> None:
    """Raises `UserError` where the data are not those that the run began with."""
    if checkpoint.training.get("data") != data:
        raise UserError("data: their content is not what it was when this run began; a resumed run keeps its data: "
                        "bring the files back, or start a new run")  # fmt: skip


def finish(parts: Assembly, swept: Sequence[str] | None) -> float:
    """Scores the best weights, logs and records the results, and returns the monitored validation metric."""
    job, task, folder = parts.job, parts.task, parts.run
    sweep = swept is not None and swept != [FOLD]  # nothing is chosen among folds: each may be tested
    progress = job.progress
    parts.restore(partial(put_weights, job.model), job.checkpoints.load("best").weights)
    final, found, shown = job.recorder.final(), dict[str, Any](), dict[str, Any]()
    baselines = parts.baselines("valid" if sweep else "test")
    if not sweep:
        log.info("the best weights:")
    for split in ("valid",) if sweep else ("valid", "test"):
        loader = job.valid if split == "valid" else parts.loader(split)
        totals = evaluate(job.model, task, loader, job.decoder, job.device)
        if split == "valid" and parts.trainer.overfit_batches is None:
            if learned := task.calibrate(job.model, loader.examples, totals):
                calibration.keep(job.checkpoints, learned)
            task.load_calibration(learned)
            totals = evaluate(job.model, task, loader, job.decoder, job.device) if learned else totals
        found[split] = task.score(totals)
        if split == "test":
            predictions = task.predictions(job.model, loader.examples, totals, job.decoder)
            if parts.head is None:  # they are compared with all that was trained on
                found[split] |= task.judge(parts.records["train"], predictions)
            write_table(folder, "predictions.csv", predictions)
            shown = task.show(job.model, loader.examples, totals, job.decoder)
            shown |= task.overview(loader.examples, totals)
            final.show(progress.step, {f"test/{title}": content for title, content in shown.items()}, keep=True)
        if not sweep:
            for table, rows in task.tables(loader.examples, totals, split).items():
                write_table(folder, f"{table}.csv", rows)
            log.info("  %-5s  %s", split, line(found[split]))
    if not sweep:
        for text in baseline_lines(baselines):
            log.info("  test   %s", text)
        for metric, signature in task.signatures().items():
            log.info("  %s: %s", metric, signature)
        if samples := shown.get("samples"):  # of a language model, which no metric shows
            log.info("samples:\n  %s", "\n  ".join(excerpt(samples)))
        if problem := verdict("test", found["test"], baselines, task.monitor, progress.curve):
            log.warning("%s", problem)
    name, scores = best_baseline(baselines, task.monitor)
    monitored = found["valid"][task.monitor]
    found |= {
        "monitor": {"name": task.monitor, "direction": task.direction, "value": monitored},
        "baseline": {"name": name, **scores},
        "baselines": baselines,
        "signatures": task.signatures(),
        "speed": {
            **progress.speed(),
            "seconds": progress.seconds,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / RSS_UNITS_PER_MIB,
            "steps": progress.step,
        },
        "parameters": sum(parameter.numel() for parameter in job.model.parameters()),
        "versions": versions(),
        "data": job.data,
        "curve": progress.curve,
    }
    final.hparams(progress.step, parts.settings, by_name(found, task.monitor), swept or ())
    final.close()
    Folder(folder).replace("metrics.json", json.dumps(found, indent=1).encode())  # the last thing: the run is complete
    if not sweep:
        log.info("to use it: %s", command(mode="predict", checkpoint=folder, input="-"))
    return monitored


def by_name(found: dict[str, Any], monitor: str) -> dict[str, float]:
    """Returns the metrics of all splits by their names in TensorBoard, the monitor first. found: metrics by split."""
    order = dict.fromkeys([monitor, *found["valid"]])
    scores = {f"valid_{name}": found["valid"][name] for name in order}
    scores |= {f"test_{name}": value for name, value in found.get("test", {}).items()}
    return {f"with_best_weights/{name}": value for name, value in scores.items()}


def write_table(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows with the same keys as a CSV file; without rows there is no file."""
    if rows:
        out = io.StringIO()
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        Folder(folder).replace(name, out.getvalue().encode("utf-8", "backslashreplace"))
