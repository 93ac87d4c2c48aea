"""The training loop: the only one. `Trainer.fit` reads from top to bottom; `evaluate` is what scores a split."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain import metrics, optimizer
from seqtrain.average import Average
from seqtrain.batch import Batch, Loader, ahead, join, map_tensors, weave
from seqtrain.checkpoint import Checkpoint, Checkpoints, put_weights, random_state, set_random_state, weights_of
from seqtrain.decode import Decoder
from seqtrain.disk import free, told
from seqtrain.interruption import Interrupted, Interruption
from seqtrain.memory import fit_in_memory, parts
from seqtrain.metrics import Totals
from seqtrain.record import Recorder, bar, line
from seqtrain.tasks.base import Task
from seqtrain.team import Team

log = logging.getLogger(__name__)
REHEARSED = 3  # steps


class Diverged(FloatingPointError):
    """The loss, its gradient or the monitor is no longer a number."""


@dataclass
class Progress:
    """How far a training has come. position: batches of the epoch that were trained on. best: the rank of the best
    evaluation; stale: evaluations since. items, seconds: target items trained on, and the time it took, evaluations
    left out. padding, positions: how many positions were padding, and all. skipped: bad steps, left out. bound:
    positions of the largest batch that fits in memory, once that is known."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    best: list[float] | None = None
    stale: int = 0
    items: int = 0
    padding: int = 0
    positions: int = 0
    seconds: float = 0.0
    skipped: int = 0
    bound: int | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Job:
    """All that one training works on; what of it changes is kept in every checkpoint."""

    task: Task
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any
    average: Average
    train: Loader
    valid: Loader
    decoder: Decoder
    device: torch.device
    recorder: Recorder
    checkpoints: Checkpoints
    baseline: Callable[[], str]
    progress: Progress = field(default_factory=Progress)
    carried: Any = None  # the model's state where the next batch continues this one, of this process's rows
    team: Team = field(default_factory=Team)
    interruption: Interruption = field(default_factory=Interruption)
    data: str = ""  # the fingerprint of the data

    def batches(self) -> Iterator[Batch]:
        """What is left of the epoch. This process's part of a batch is on the device, or on its way there."""
        for batch in self.train.epoch(self.progress.epoch, self.progress.position):
            yield batch._replace(part=self.team.take(batch).to(self.device))

    def save(self, best: bool = False) -> None:
        self.recorder.flush()
        kept = self.checkpoint()
        self.team.lead(lambda: self.checkpoints.save(self.progress.step, kept, best))

    def checkpoint(self) -> Checkpoint:
        own = {"carried": map_tensors(Tensor.cpu, self.carried), **random_state(self.device)}
        states = self.team.gather(own)
        with self.average.applied():
            weights = {name: weight.cpu().clone() for name, weight in weights_of(self.model).items()}
        training = {
            "weights": weights_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "average": self.average.state(),
            "progress": asdict(self.progress),
            **states[0],
            "carried": weave([state.pop("carried") for state in states]),
            "others": states[1:],
            "data": self.data,
        }
        return Checkpoint(weights, training, self.task.state())

    def restore(self, checkpoint: Checkpoint) -> None:
        training = map_tensors(lambda tensor: tensor.to(self.device), checkpoint.training)
        put_weights(self.model, training["weights"])
        settings = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(training["optimizer"])
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)  # what the configuration says now holds
        vars(self.schedule).update(training["schedule"])
        self.average.load_state(training["average"])
        self.progress = Progress(**training["progress"])
        own = slice(self.team.rank, None, self.team.size)
        self.carried = map_tensors(lambda tensor: tensor[own].contiguous(), training["carried"])
        states = [training, *training.get("others", ())]
        if self.team.rank < len(states):
            set_random_state(states[self.team.rank], self.device)
        else:  # every process draws masks of its own
            torch.manual_seed(hash((torch.initial_seed(), self.team.rank, self.progress.step)))


@dataclass(frozen=True)
class Trainer:
    """The settings of `configs/trainer`, which says what each means."""

    epochs: int | None
    max_steps: int | None
    batch_size: int | None
    batch_tokens: int | None
    accumulate: int
    clip: float | None
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

    def fit(self, job: Job, folder: Path) -> None:
        """Trains until the last step, or until the monitor has not got better for `patience` evaluations."""
        progress = job.progress
        total = self.total_steps(job.train)
        with (
            job.interruption.held(),
            bar(total, "step", "train", progress.step) as shown,
            self.profiler(folder, job.team.rank) as tick,
        ):
            running = Running(job.device)
            if self.evaluates(progress, total):  # where the last run was stopped in the middle of it
                self.rest(job, running, total)
            since = time.perf_counter()
            while not self.done(progress, total):
                size = job.train.size(progress.epoch)
                batches = ahead(job.batches(), job.device)
                while group := list(islice(batches, self.accumulate)):
                    for setting in job.optimizer.param_groups:
                        setting["lr"] = setting["peak_lr"] * job.schedule.factor(progress.step, total)
                    running.add(*self.update(job, group))
                    progress.step += 1
                    progress.position += len(group)
                    if progress.position >= size:
                        progress.epoch, progress.position, job.carried = progress.epoch + 1, 0, None
                    if progress.step % self.log_every == 0 or progress.step == total:
                        loss = running.flush(job)
                        shown.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                    progress.seconds += time.perf_counter() - since
                    shown.update()
                    tick()
                    self.rest(job, running, total)
                    if self.done(progress, total):
                        break
                    since = time.perf_counter()
        running.flush(job)

    def rest(self, job: Job, running: Running, total: int) -> None:
        """What is due between two steps: to evaluate, to save, and to stop where a signal came."""
        progress, best = job.progress, job.progress.best
        due, better = self.evaluates(progress, total), False
        with suppress(Interrupted):  # noted; the evaluation comes when the run goes on
            better = due and self.evaluate(job, running)
        stop = job.team.signal(job.interruption)
        if due or stop or (self.save_every and progress.step % self.save_every == 0):
            try:
                job.save(better)
            except OSError as error:
                if self.done(progress, total):
                    raise
                progress.best = best  # what could not be kept is not to be beaten
                log.error("step %d: the checkpoint could not be saved (%s, %s); older ones stay whole, and the next "
                          "save tries again", progress.step, told(error), free(job.checkpoints.run))  # fmt: skip
        if stop:
            raise Interrupted(128 + stop)

    def update(self, job: Job, group: list[Batch]) -> tuple[Tensor, Tensor]:
        """One update of the weights. Gradients are those of the mean over all target items of the group of batches,
        however it is cut. Returns the summed loss and the count of items, still on the device."""
        job.model.train()
        for batch in group:
            real, every = batch.positions()
            job.progress.items += len(batch.index)
            job.progress.padding += every - real
            job.progress.positions += every
        before = {"carried": job.carried, **random_state(job.device)}
        loss_sum, count, job.carried = self.gradients(job, group)
        scale = 1 / count.clamp(min=1)
        norm = nn.utils.get_total_norm([w.grad for w in job.model.parameters() if w.grad is not None]) * scale
        if not torch.isfinite(loss_sum + norm):
            loss_sum, count = self.bad_step(job, group, before, float(loss_sum * scale), float(norm))
        else:
            if self.clip is not None:
                scale = scale * (self.clip / norm).clamp(max=1)
            optimizer.step(job.optimizer, scale)
            job.average.update()
        job.optimizer.zero_grad(set_to_none=True)
        return loss_sum, count

    def gradients(self, job: Job, group: list[Batch]) -> tuple[Tensor, Tensor, Any]:
        """As `backward`, the sums over all processes, of which each works on its part of every batch."""
        own = [batch.part or job.team.take(batch) for batch in group]
        own = [part for part in own if len(part.rows)]  # a part of a few rows may be none
        return fit_in_memory(job, group, lambda bound: self.backward(job.model, job.task, own, job.carried, bound))

    def rehearse(self, job: Job) -> None:
        """Some first steps without their updates, to see how long they take; the job has to be restored after it."""
        batches = job.train.epoch()
        for group in [list(islice(batches, self.accumulate)) for _ in range(REHEARSED)]:
            if group:
                job.carried = self.gradients(job, group)[2]
                job.optimizer.zero_grad(set_to_none=True)

    def backward(
        self, model: nn.Module, task: Task, group: list[Batch], carried: Any, bound: int | None = None
    ) -> tuple[Tensor, Tensor, Any]:
        """Adds up the gradients of a group of batches, in parts of at most `bound` positions. Returns the summed loss,
        the count of items, and the state that is carried on, detached."""
        device = next(model.parameters()).device
        loss_sum, count = torch.zeros((), device=device), torch.zeros((), device=device)
        for whole in group:
            states = []
            for rows in parts(whole, bound):
                batch = whole.take(rows).to(device) if bound else whole.to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                    state = map_tensors(lambda t: t[rows], carried) if batch.continues else None  # noqa: B023
                    output = model(batch, state)
                    loss, items = task.loss(output.scores, batch)
                    if self.rdrop:
                        again = model(batch, state)
                        loss = (loss + task.loss(again.scores, batch)[0]) / 2
                        loss = loss + self.rdrop * task.divergence(output.scores, again.scores)
                    if output.penalty is not None:
                        loss = loss + output.penalty * items
                loss.backward()
                states.append(map_tensors(Tensor.detach, output.state))
                loss_sum += loss.detach()
                count += items
            carried = join(states)
        return loss_sum, count, carried

    def bad_step(
        self, job: Job, group: list[Batch], before: dict[str, Any], loss: float, norm: float
    ) -> tuple[Tensor, Tensor]:
        """Keeps all that a step with a loss or gradient that is no number began with, to be replayed; ends the run
        unless such steps are skipped. The weights are still those of the step before."""
        job.carried, step = before.pop("carried"), job.progress.step + 1
        kept = job.checkpoint()
        kept = kept._replace(training=kept.training | before)
        batches = [{k: v for k, v in batch._asdict().items() if k not in ("rows", "part")} for batch in group]
        problem = f"the training loss is {loss}" if not math.isfinite(loss) else f"the gradient is {norm}"
        try:
            kept.training["batches"] = batches
            job.team.lead(lambda: job.checkpoints.write_bad(step, kept))
            cure = f"to see where: seqtrain mode=replay checkpoint={job.checkpoints.run}"
        except OSError as error:
            cure = f"it could not be kept ({told(error)})"
        if job.progress.skipped >= self.skip_bad_steps:
            raise Diverged(f"{problem} at step {step}: a lower optimizer.lr may help; {cure}")
        job.progress.skipped += 1
        count = f"{job.progress.skipped} of at most {self.skip_bad_steps}"
        log.warning("%s at step %d: skipped, %s; %s", problem, step, count, cure)
        return torch.zeros((), device=job.device), torch.zeros((), device=job.device)

    def evaluate(self, job: Job, running: Running) -> bool:
        """Scores the validation split, tells and records it, and returns whether the monitor has never been better."""
        progress, task = job.progress, job.task
        running.flush(job)
        before = job.average.snapshots, random_state(job.device)
        job.average.snapshot()
        decoder = replace(job.decoder, beam_size=1)  # greedy: the beam is for the end
        try:
            with job.average.applied():
                totals = evaluate(job.model, task, job.valid, decoder, job.device, job.interruption, job.team)
                found = task.score(totals)
                shown = {} if job.team.rank else task.show(job.model, job.valid.examples, totals, decoder)
        except Interrupted:  # as if it had never begun
            job.average.snapshots = before[0]
            set_random_state(before[1], job.device)
            raise
        job.recorder.show(progress.step, {f"valid/{title}": content for title, content in shown.items()})
        value = found[task.monitor]
        rank = [value if task.direction == "max" else -value, -found["loss"]]  # the loss decides between equals
        better = value == value and (progress.best is None or rank > progress.best)
        progress.best, progress.stale = (rank, 0) if better else (progress.best, progress.stale + 1)
        job.schedule.observe(better)
        job.recorder.scalars(progress.step, found, "valid")
        progress.curve.append({"step": progress.step, "seconds": round(progress.seconds, 1), **found})
        mark, baseline = " *" if better else "", job.baseline()
        log.info("step %d  epoch %d  train loss %.3f", progress.step, progress.epoch, running.loss)
        log.info("  valid  %s%s", line(found), mark)
        log.info("  %s", baseline)
        if value != value:
            raise Diverged(f"{task.monitor} is {value} at step {progress.step}: a lower optimizer.lr may help")
        return better

    def total_steps(self, loader: Loader) -> int:
        per_epoch = -(-loader.size() // self.accumulate)
        return self.max_steps if self.max_steps is not None else (self.epochs or 0) * per_epoch

    def evaluates(self, progress: Progress, total: int) -> bool:
        """Whether an evaluation is due, and has not been done."""
        if not progress.step or (progress.curve and progress.curve[-1]["step"] == progress.step):
            return False
        ended = progress.position == 0  # an epoch
        return (progress.step % self.eval_every == 0 if self.eval_every else ended) or progress.step == total

    def done(self, progress: Progress, total: int) -> bool:
        """Whether the last step is taken, or the patience at an end."""
        return progress.step >= total or (self.patience is not None and progress.stale >= self.patience)

    @contextmanager
    def profiler(self, folder: Path, rank: int) -> Iterator[Any]:
        """Yields what is called after each step; with `profile`, records steps 11 to 15."""
        if not self.profile or rank:
            yield lambda: None
            return
        from torch.profiler import profile, schedule

        def write(found: Any) -> None:
            table = found.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
            (folder / "profile.txt").write_text(table)
            found.export_chrome_trace(str(folder / "trace.json"))
            log.info("profile of steps 11 to 15: %s, %s", folder / "profile.txt", folder / "trace.json")

        with profile(schedule=schedule(wait=9, warmup=1, active=5, repeat=1), on_trace_ready=write) as found:
            yield found.step


class Running:
    """The training loss and speed since they were last told, summed up without waiting for the device."""

    def __init__(self, device: torch.device):
        self.loss = float("nan")
        self.sums = torch.zeros(2, device=device, dtype=torch.float64)
        self.start = time.perf_counter()
        self.steps = 0

    def add(self, loss: Tensor, count: Tensor) -> None:
        self.sums += torch.stack([loss, count])
        self.steps += 1

    def flush(self, job: Job) -> float:
        """Records the mean loss since the last time and starts anew."""
        if not self.steps:
            return self.loss
        loss, count = self.sums.tolist()
        self.loss = loss / max(count, 1)
        progress = job.progress
        values = {"loss": self.loss, "learning_rate": job.optimizer.param_groups[0]["lr"]}
        job.recorder.scalars(progress.step, values, "train")
        speed = {
            "items_per_s": progress.items / max(progress.seconds, 1e-9),
            "padding_share": progress.padding / max(progress.positions, 1),
        }
        job.recorder.scalars(progress.step, speed, "speed")
        self.sums.zero_()
        self.steps = 0
        return self.loss


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    task: Task,
    loader: Loader,
    decoder: Decoder,
    device: torch.device,
    interruption: Interruption | None = None,
    team: Team | None = None,
) -> Totals:
    """The summed measures of a split. They do not depend on how it is cut into batches, nor on the team that does it,
    which is not interrupted: its processes would not stop at the same batch."""
    team = team or Team()
    model.eval()
    totals: Totals = {}
    state = None
    decoder = replace(decoder)  # draws the same samples each time
    with bar(loader.size(), "batch", "evaluate") as shown:
        for batch in ahead((team.take(whole).to(device) for whole in loader.epoch()), device):
            if interruption is not None and team.size == 1:
                interruption.check()
            if not len(batch.rows):
                continue
            output = model(batch, state if batch.continues else None)
            state = output.state
            totals = metrics.add(totals, task.measure(model, batch, output.scores, loader.examples, decoder))
            shown.update()
    return reduce(metrics.add, filter(None, team.gather(totals)), {})
