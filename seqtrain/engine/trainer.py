"""The training loop, the only one: `Trainer.fit` reads from top to bottom."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.config.quoting import command
from seqtrain.contract import Batch, Likelihood
from seqtrain.engine import optimizer
from seqtrain.engine.checkpoint import random_state, set_random_state
from seqtrain.engine.evaluate import evaluate
from seqtrain.engine.job import Job, Progress
from seqtrain.engine.loader import Loader
from seqtrain.engine.memory import gradients
from seqtrain.engine.objective import Objective
from seqtrain.engine.processes import Shared
from seqtrain.engine.profiler import profiled
from seqtrain.engine.recorder import digits, line
from seqtrain.engine.sharding import whole
from seqtrain.engine.streaming import Streaming
from seqtrain.evaluation import plots
from seqtrain.machine.signals import Interrupted
from seqtrain.storage.disk import explain, free_space
from seqtrain.terminal.progress import bar

log = logging.getLogger(__name__)
EXPLODED = 1e6  # times the first training loss: a loss above this ends the run
ENDLESS = sys.maxsize  # updates, where nobody knows how many there will be
ENDED_HIGH = 10  # times the first training loss: a run whose last loss is above this has failed


class Diverged(FloatingPointError):
    """The loss, its gradient or the monitor is not finite, or the loss is far above its first value."""


@dataclass(frozen=True)
class Trainer:
    """The settings of the training loop; the YAML files in `configs/trainer` say what each means."""

    epochs: int | None
    max_steps: int | None
    batch_size: int | None
    batch_tokens: int | None
    workers: int
    accumulate: int
    clip: float | None
    freeze: list[str]
    rates: dict[str, Any]
    precision: str
    rdrop: float
    skip_bad_steps: int
    eval_every: int | None
    save_every: int | None
    keep: int
    patience: int | None
    ema: float
    average: int
    overfit_batches: int | None
    deterministic: bool
    profile: bool
    log_every: int

    def objective(self, model: nn.Module, likelihood: Likelihood) -> Objective:
        """Returns the loss that these settings train a model on."""
        return Objective(model, likelihood, self.precision, self.rdrop)

    def fit(self, job: Job, folder: Path) -> None:
        """Trains until the last step, or until the monitor has not improved for `patience` evaluations."""
        progress, total = job.progress, self.total_steps(job.train)
        running, batches = RunningLoss(job), job.batches()
        with (
            closing(job.train),
            job.interruption.held(),
            bar(total, "step", "train", progress.step) as progress_bar,
            profiled(folder, self.profile and not job.team.rank) as step_ended,
        ):
            if self.evaluation_is_due(progress, total):  # a resumed run was interrupted in this evaluation
                self.after_step(job, running, total)
            while not self.done(progress, total):
                since = time.perf_counter()
                group = self.next_group(job, running, batches)
                for settings in job.optimizer.param_groups:
                    settings["lr"] = settings["peak_lr"] * job.schedule.factor(progress.step, total or ENDLESS)
                running.add(*self.update(job, group))
                job.advance(len(group))
                if progress.first_loss is None or progress.step % self.log_every == 0 or progress.step == total:
                    loss = running.flush()
                    self.check_loss(progress, loss, EXPLODED)
                    progress_bar.set_postfix_str(line({"loss": loss}), refresh=False)
                progress.seconds += time.perf_counter() - since
                progress_bar.update()
                step_ended()
                self.after_step(job, running, total)
        self.check_loss(progress, running.flush(), ENDED_HIGH)

    def next_group(self, job: Job, running: RunningLoss, batches: Iterator[Batch]) -> list[Batch]:
        """Returns the batches of the next update. Where shards cannot be read the state is saved, so that the run can
        go on when they are mended."""
        progress = job.progress
        try:
            return list(islice(batches, min(self.accumulate, job.train.left(progress.epoch, progress.position))))
        except Shared:
            progress.losses = running.sums.tolist()
            job.save()
            raise

    @staticmethod
    def check_loss(progress: Progress, loss: float, limit: float) -> None:
        """Raises `Diverged` where the training loss is `limit` times the first one. A first loss below 1 counts as 1:
        the model was trained before or the data are easy, and any step may multiply it."""
        first = progress.first_loss or 0.0
        if loss > limit * max(first, 1):
            raise Diverged(f"the training has diverged: its loss is {digits(loss)} at step {progress.step}, and began "
                           f"with {digits(first)}; a lower optimizer.lr or trainer.clip may help")  # fmt: skip

    def after_step(self, job: Job, running: RunningLoss, total: int | None) -> None:
        """Evaluates and saves if that is due, and stops if a signal has come."""
        progress = job.progress
        best_before = progress.best
        due = self.evaluation_is_due(progress, total)
        better = False
        with suppress(Interrupted):  # `stop` is set below; a resumed run repeats the evaluation
            better = due and self.evaluate(job, running)
        stop = job.team.signal(job.interruption)
        if due or stop or (self.save_every and progress.step % self.save_every == 0):
            progress.losses = running.sums.tolist()
            try:
                job.save(better)
            except OSError as error:
                if self.done(progress, total):
                    raise
                progress.best = best_before  # the best weights are not on the disk: the next good ones are to be saved
                problem = f"{explain(error)}, {free_space(job.checkpoints.run)}"
                log.error("step %d: the checkpoint could not be saved (%s); older ones stay whole, and the next save "
                          "tries again", progress.step, problem)  # fmt: skip
        if stop:
            raise Interrupted(128 + stop)
        if due and not self.done(progress, total):
            job.check_judge()

    def update(self, job: Job, group: list[Batch]) -> tuple[Tensor, Tensor]:
        """Updates the weights once, with the gradient of the mean loss over all target items of a group of batches.

        The gradient does not depend on how these items are divided into batches. Returns the summed loss and the count
        of items, still on the device.
        """
        job.model.train()
        state_before = {"carried": job.carried, **random_state(job.device)}
        loss_sum, count, job.carried = gradients(job, group)
        scale = job.team.size / count.clamp(min=1e-9)  # the gradient is the mean over all processes
        gradient = [weight.grad for weight in job.model.parameters() if weight.grad is not None]
        norm = whole(nn.utils.get_total_norm(gradient)) * scale
        job.gradient_norm = norm
        if not torch.isfinite(loss_sum + norm):
            self.bad_step(job, group, state_before, float(loss_sum / count.clamp(min=1)), float(norm))
            loss_sum, count = torch.zeros_like(loss_sum), torch.zeros_like(count)
        else:
            if self.clip is not None:
                scale = scale * (self.clip / norm).clamp(max=1)
            optimizer.step(job.optimizer, scale)
            job.average.update()
        job.optimizer.zero_grad(set_to_none=True)
        return loss_sum, count

    def bad_step(self, job: Job, group: list[Batch], state_before: dict[str, Any], loss: float, norm: float) -> None:
        """Handles a loss or gradient that is not finite: writes a checkpoint from which mode=replay repeats the step,
        and raises `Diverged` unless such steps are skipped. The weights have not been updated."""
        progress = job.progress
        step = progress.step + 1
        job.carried = state_before.pop("carried")
        checkpoint = job.checkpoint()
        if job.team.size > 1:  # this process has only its own rows
            group = job.train.whole(progress.epoch, progress.position, group)
        replayed = state_before | {"batches": [batch._asdict() for batch in group]}
        checkpoint = checkpoint._replace(training=checkpoint.training | replayed)
        problem = f"the training loss is {loss}" if not math.isfinite(loss) else f"the gradient is {norm}"
        try:
            job.team.lead(lambda: job.checkpoints.write_bad(step, checkpoint))
            cure = f"to see where: {command(mode='replay', checkpoint=job.checkpoints.run)}"
        except OSError as error:
            cure = f"it could not be kept ({explain(error)})"
        if progress.skipped >= self.skip_bad_steps:
            raise Diverged(f"{problem} at step {step}: a lower optimizer.lr may help; {cure}")
        progress.skipped += 1
        count = f"{progress.skipped} of at most {self.skip_bad_steps}"
        log.warning("%s at step %d: skipped, %s; %s", problem, step, count, cure)

    def evaluate(self, job: Job, running: RunningLoss) -> bool:
        """Scores the validation split, logs and records the metrics, and returns whether the monitor is the best so
        far."""
        progress, task = job.progress, job.task
        running.flush()
        snapshots_before, random_before = job.average.snapshots, random_state(job.device)
        job.average.snapshot()
        decoder = replace(job.decoder, beam_size=1)  # greedy: the beam is for the end
        try:
            with job.average.applied(), job.whole():
                totals = evaluate(job.model, task, job.valid, decoder, job.device, job.interruption, job.team)
                scores = task.score(totals)
                samples = {} if job.team.rank else task.show(job.model, job.valid.examples, totals, decoder)
        except Interrupted:  # a resumed run repeats the evaluation from the same state
            job.average.snapshots = snapshots_before
            set_random_state(random_before, job.device)
            raise
        job.recorder.show(progress.step, {f"valid/{title}": content for title, content in samples.items()})
        value = scores[task.monitor]
        rank = [value if task.direction == "max" else -value, -scores["loss"]]  # the loss decides between equals
        better = not math.isnan(value) and (progress.best is None or rank > progress.best)
        if better:
            progress.best, progress.stale = rank, 0
        else:
            progress.stale += 1
        job.schedule.observe(better)
        job.recorder.scalars(progress.step, scores, "valid")
        train_loss = running.mean()
        point = {"step": progress.step, "seconds": round(progress.seconds, 1), "train_loss": train_loss, **scores}
        progress.curve.append(point)
        if not job.team.rank:
            job.recorder.keep("curves", plots.curves(progress.curve, task.monitor, task.spec.likelihood.unit))
        log.info("step %d  epoch %d  %s", progress.step, progress.epoch, line({"train loss": train_loss}))
        log.info("  valid  %s%s", line(scores), " *" if better else "")
        if not math.isfinite(value):
            raise Diverged(f"{task.monitor} is {value} at step {progress.step}: a lower optimizer.lr may help")
        return better

    def total_steps(self, loader: Loader | Streaming) -> int | None:
        """Returns the number of updates of the whole training; None where nobody knows it."""
        if self.max_steps is not None:
            return self.max_steps
        if (batches := loader.size()) is None:
            return None
        return (self.epochs or 0) * -(-batches // self.accumulate)  # rounded up

    def evaluation_is_due(self, progress: Progress, total: int | None) -> bool:
        """Whether the model has to be evaluated after this step, and has not been yet."""
        if not progress.step or (progress.curve and progress.curve[-1]["step"] == progress.step):
            return False
        if progress.step == total:
            return True
        if self.eval_every:
            return progress.step % self.eval_every == 0
        if self.overfit_batches:  # an epoch has only a few steps
            return progress.step % self.log_every == 0
        return progress.position == 0  # an epoch has ended

    def done(self, progress: Progress, total: int | None) -> bool:
        """Whether the last step has been made, or the monitor has not improved for `patience` evaluations."""
        ended = progress.epoch >= (self.epochs or 0) if total is None else progress.step >= total
        return ended or (self.patience is not None and progress.stale >= self.patience)


class RunningLoss:
    """The training loss since the last evaluation. Sums stay on the device, so that no step waits for it."""

    def __init__(self, job: Job):
        self.job = job
        self.loss = math.nan
        self.recorded = job.progress.losses  # [summed loss, count of items] when the loss was last recorded
        self.sums = torch.tensor(self.recorded, device=job.device, dtype=torch.float64)
        self.steps = 0

    def add(self, loss: Tensor, count: Tensor) -> None:
        self.sums += torch.stack([loss, count])
        self.steps += 1

    def flush(self) -> float:
        """Records and returns the mean loss since the last call."""
        if not self.steps:
            return self.loss
        progress = self.job.progress
        sums = self.sums.tolist()
        self.loss = (sums[0] - self.recorded[0]) / max(sums[1] - self.recorded[1], 1)
        if progress.first_loss is None:
            progress.first_loss = self.loss
        learning_rate, norm = self.job.optimizer.param_groups[0]["lr"], float(self.job.gradient_norm)
        values = {"loss": self.loss, "learning_rate": learning_rate, "gradient_norm": norm}
        self.job.recorder.scalars(progress.step, values, "train")
        if progress.seconds:  # zero in the first step
            self.job.recorder.scalars(progress.step, progress.speed(), "speed")
        self.recorded, self.steps = sums, 0
        return self.loss

    def mean(self) -> float:
        """Returns the mean loss since the last evaluation, and resets the sums."""
        loss, count = self.sums.tolist()
        self.sums.zero_()
        self.recorded = [0.0, 0.0]
        return loss / max(count, 1)
