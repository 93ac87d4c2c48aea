"""Trains a configuration from its data to `metrics.json`."""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
import time
import traceback
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqtrain import disk
from seqtrain.assemble import (
    EVALUATION,
    Baselines,
    Config,
    Records,
    best_baseline,
    count_processes,
    counts,
    fingerprint,
    open_data,
    open_decoder,
    open_device,
    open_job,
    open_trainer,
    read,
    reported,
    told,
)
from seqtrain.batch import map_tensors
from seqtrain.checkpoint import Checkpoint, Checkpoints, number, put_weights, versions
from seqtrain.config import UserError, build
from seqtrain.interruption import Interrupted, Interruption, Lost
from seqtrain.record import line
from seqtrain.tasks.base import Task
from seqtrain.team import COURTESY, Several, Team, gathered
from seqtrain.train import Job, Trainer, evaluate

log = logging.getLogger(__name__)
RSS_UNITS_A_MIB = 1024**2 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB


def train(cfg: Config, folder: Path, resume: bool = False, sweep: bool = False) -> float:
    """Trains into a run folder, then scores the best weights and writes `metrics.json`: on the validation split and,
    except in sweeps, on the test split. Returns the monitored validation metric."""
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder  # shorter to read and type
    with Interruption() as interruption, gathered(count_processes(cfg), folder) as team:
        try:
            return train_until(interruption, team, cfg, folder, resume, sweep)
        except Interrupted:
            last = Checkpoints(folder).named("last")
            where = f"at step {number(Path(last))[0]}" if last else "before the first checkpoint"
            log.warning("interrupted %s; to go on: seqtrain resume=%s", where, folder)
            raise


def train_until(interruption: Interruption, team: Team, cfg: Config, folder: Path, resume: bool, sweep: bool) -> float:
    """What the first process does, or the only one."""
    checkpoints = Checkpoints(folder)
    checkpoints.clean()
    checkpoint = checkpoints.load("last") if resume and checkpoints.steps() else None
    trainer, job, records = open_run(cfg, folder, team, interruption, checkpoint)
    task, step = job.task, job.recorder.step

    @cache  # at the first evaluation: a training should not wait for them
    def baselines() -> Baselines:
        log.info("the baselines …")
        return task.baselines(records["train"], records["valid"])

    job.baseline = lambda: told(*best_baseline(baselines(), task))
    size = sum(p.numel() for p in job.model.parameters())
    log.info("%s\n%s; %s parameters on %s, %s", folder, counts(records), f"{size:,}", job.device, trainer.precision)
    with closing(job.recorder):
        if checkpoint is None:
            report = reported(task, records)
            for text in report.lines:
                log.info("  %s", text)
            disk.replace(folder / "data.json", json.dumps(report.figures, indent=1, ensure_ascii=False).encode())
            job.recorder.show(0, {"config": f"```yaml\n{(folder / 'config.yaml').read_text()}\n```"})
        else:
            checkpoints.restore(job.restore, checkpoint)
            if trainer.done(job.progress, trainer.total_steps(job.train)) and (folder / "metrics.json").exists():
                log.info("step %d: nothing is left to do; more trainer.epochs or trainer.max_steps would go on", step)
                return json.loads((folder / "metrics.json").read_bytes())["monitor"]["value"]
            log.info("going on at step %d", step)
        if isinstance(team, Several):
            kept = checkpoint or job.checkpoint()
            team.call(cfg, folder)
            come_together(team, cfg, trainer, job, team.share(map_tensors(Tensor.cpu, kept)))
        trainer.fit(job, folder)
        team.close()
        open_device(cfg)  # with all the threads again
        return finish(job, records, baselines(), folder, cfg, sweep)


def open_run(
    cfg: Config, folder: Path, team: Team, interruption: Interruption, checkpoint: Checkpoint | None
) -> tuple[Trainer, Job, Records]:
    """All that one process works on; the task is fitted, or is that of a checkpoint."""
    device = open_device(cfg, team.place, team.neighbours)
    trainer, _ = open_trainer(cfg, device), open_decoder(cfg, device)  # what the device lacks is said before all else
    task: Task = build(cfg["task"], cfg["trust"])
    source = open_data(cfg, task)
    records = {split: read(source, split) for split in ("train", "valid", "test")}
    torch.manual_seed(cfg["seed"])
    if trainer.deterministic != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler
        torch.use_deterministic_algorithms(trainer.deterministic)
    checkpoints, data, step = Checkpoints(folder, trainer.keep), fingerprint(records), 0
    if checkpoint is None:
        task.fit(records["train"])
    else:
        check_data(checkpoint, data)
        checkpoints.restore(task.load_state, checkpoint.task)
        step = checkpoints.restore(lambda kept: kept["progress"]["step"], checkpoint.training)
    more: dict[str, Any] = {"baseline": str, "interruption": interruption, "data": data}
    return trainer, open_job(cfg, device, task, trainer, records, checkpoints, step, **more), records


# ---------------------------------------------------------------------------------------------------- several processes


def follow() -> int:
    """What a process does that is not the first one: it trains along, silently, and ends with the same exit code."""
    logging.basicConfig(level=logging.CRITICAL, format="seqtrain: %(message)s", force=True)
    logging.captureWarnings(True)
    with Interruption() as interruption, interruption.held():
        team = Several.met()
        try:
            word = team.heard()
            if isinstance(word, int):
                return word
            cfg, folder = word
            kept = team.share(None)
            trainer, job, _ = open_run(cfg, folder, team, interruption, kept)
            job.recorder.writer = None
            if come_together(team, cfg, trainer, job, kept):
                trainer.fit(job, folder)
            return team.last_word(math.inf) or 0
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            if (code := team.last_word(COURTESY)) is not None:
                return code  # the first one has told
            if isinstance(error, Lost):
                log.critical("%s", error)
            else:
                plain = isinstance(error, UserError | FloatingPointError)
                log.critical("process %d of %d: %s", team.rank, team.size, error if plain else traceback.format_exc())
            return 2 if isinstance(error, UserError) else 1
        finally:
            team.close()


def come_together(team: Several, cfg: Config, trainer: Trainer, job: Job, kept: Checkpoint) -> bool:
    """Lets all processes begin with what the first one has kept, and returns whether this one is needed."""
    job.team = team
    if cfg["device"]["processes"] == "auto" and job.device.type == "cpu" and team.own:
        job.team = quickest(team, cfg, trainer, job, kept)
        if job.team is not team:
            team.close()
    job.checkpoints.restore(job.restore, kept)
    return job.team is team


def quickest(team: Several, cfg: Config, trainer: Trainer, job: Job, kept: Checkpoint) -> Team:
    """One process with all the threads, or all processes with their share of them: what takes less time for some first
    steps of this very training, at the best of three times."""
    seconds, threads = [math.inf, math.inf], [0, 0]
    for _ in range(3):
        for i, one in enumerate((Team(), team)):
            job.team = one
            job.restore(kept)
            open_device(cfg, one.place, one.neighbours)
            threads[i] = torch.get_num_threads()
            team.gather(None)  # all are there
            since = time.perf_counter()
            if one is team or team.rank == 0:
                trainer.rehearse(job)
            seconds[i] = min(seconds[i], time.perf_counter() - since)
    alone, together = team.share(seconds)
    log.info("%d processes with %d thread(s) each take %.2f of the time of one with %d: %s", team.size, threads[1],
             together / alone, threads[0], "they train" if together < alone else "the one trains")  # fmt: skip
    best = team if together < alone else Team()
    open_device(cfg, best.place, best.neighbours)
    return best


# ---------------------------------------------------------------------------------------------------- before and after


def check_data(checkpoint: Checkpoint, data: str) -> None:
    """A resumed run goes on with the very data it had."""
    if checkpoint.training.get("data", data) != data:
        raise UserError("data: their content is not what it was when this run began; a resumed run keeps its data: "
                        "bring the files back, or start a new run")  # fmt: skip


def finish(job: Job, records: Records, baselines: Baselines, folder: Path, cfg: Config, sweep: bool) -> float:
    """Scores the best weights, tells and records the result, and returns the monitored validation metric."""
    task, progress = job.task, job.progress
    after = progress.step + 1  # in TensorBoard: what a run that is resumed in here would write a second time
    put_weights(job.model, job.checkpoints.load("best").weights)
    found: dict[str, Any] = {}
    if not sweep:
        log.info("the best weights:")
    for split in ("valid",) if sweep else ("valid", "test"):
        if split == "test":
            baselines = task.baselines(records["train"], records["test"])
            loader = task.loader(records["test"], EVALUATION, None)
        else:
            loader = job.valid
        totals = evaluate(job.model, task, loader, job.decoder, job.device)
        found[split] = task.score(totals)
        if split == "test":
            found[split] |= task.judge(job.model, records["train"], records["test"], job.decoder)
            shown = task.show(job.model, loader.examples, totals, job.decoder)
            job.recorder.show(after, {f"test/{title}": content for title, content in shown.items()}, keep=True)
        if not sweep:
            log.info("  %s  %s", split, line(found[split]))
            for name, scores in baselines.items():
                log.info("  %s", told(name, scores))
    name, scores = best_baseline(baselines, task)
    monitored = found["valid"][task.monitor]
    found |= {
        "monitor": {"name": task.monitor, "direction": task.direction, "value": monitored},
        "baseline": {"name": name, **scores},
        "baselines": baselines,
        "speed": {
            "items_per_s": progress.items / max(progress.seconds, 1e-9),
            "seconds": progress.seconds,
            "padding_share": progress.padding / max(progress.positions, 1),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / RSS_UNITS_A_MIB,
            "steps": progress.step,
        },
        "parameters": sum(parameter.numel() for parameter in job.model.parameters()),
        "versions": versions(),
        "data": job.data,
        "curve": progress.curve,
    }
    settings = {key: value for key, value in cfg.items() if isinstance(value, dict)} | {"seed": cfg["seed"]}
    scored = "valid" if sweep else "test"
    job.recorder.hparams(after, settings, {f"final/{scored}_{name}": value for name, value in found[scored].items()})
    job.recorder.flush()
    disk.replace(folder / "metrics.json", json.dumps(found, indent=1).encode())  # the last thing: the run is complete
    if not sweep:
        log.info("to use it: seqtrain mode=predict checkpoint=%s input=-", folder)
    return monitored
