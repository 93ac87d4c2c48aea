"""The training loop: the only one. `Trainer.fit` reads from top to bottom; `evaluate` is what scores a split."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain import metrics, optimizer
from seqtrain.average import Average
from seqtrain.batch import Batch, Loader, map_tensors
from seqtrain.checkpoint import Checkpoint, Checkpoints, put_weights, weights_of
from seqtrain.decode import Decoder
from seqtrain.metrics import Totals
from seqtrain.record import Recorder, bar, line
from seqtrain.tasks.base import Task

log = logging.getLogger(__name__)


class Diverged(FloatingPointError):
    """The loss or the monitor is no longer a number."""


@dataclass
class Progress:
    """How far a training has come. position: batches of the epoch that were trained on. best: the rank of the best
    evaluation; stale: evaluations since. items, seconds: target items trained on, and the time it took, evaluations
    left out. padding, positions: how many positions were padding, and all."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    best: list[float] | None = None
    stale: int = 0
    items: int = 0
    padding: int = 0
    positions: int = 0
    seconds: float = 0.0
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
    carried: Any = None  # the model's state where the next batch continues this one

    def save(self, best: bool = False) -> None:
        with self.average.applied():
            weights = {name: weight.cpu().clone() for name, weight in weights_of(self.model).items()}
        self.recorder.flush()
        training = {
            "weights": weights_of(self.model),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "average": self.average.state(),
            "progress": asdict(self.progress),
            "carried": self.carried,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        self.checkpoints.save(self.progress.step, Checkpoint(weights, training, self.task.state()), best)

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
        self.carried = training["carried"]
        torch.set_rng_state(training["random"].cpu())
        if training["random_cuda"]:
            torch.cuda.set_rng_state_all([state.cpu() for state in training["random_cuda"]])


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
            Interruption() as interruption,
            bar(total, "step", "train", progress.step) as shown,
            self.profiler(folder) as tick,
        ):
            running = Running(job.device)
            since = time.perf_counter()
            while not self.done(progress, total):
                size = job.train.size(progress.epoch)
                batches = job.train.epoch(progress.epoch, progress.position)
                while group := list(islice(batches, self.accumulate)):
                    for setting in job.optimizer.param_groups:
                        setting["lr"] = setting["peak_lr"] * job.schedule.factor(progress.step, total)
                    running.add(*self.update(job, group))
                    progress.step += 1
                    progress.position += len(group)
                    ended = progress.position >= size
                    if ended:
                        progress.epoch, progress.position, job.carried = progress.epoch + 1, 0, None
                    if progress.step % self.log_every == 0 or progress.step == total:
                        loss = running.flush(job)
                        shown.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                    progress.seconds += time.perf_counter() - since
                    shown.update()
                    tick()

                    evaluates = progress.step % self.eval_every == 0 if self.eval_every else ended
                    if evaluates or progress.step == total:
                        job.save(best=self.evaluate(job, running))
                    elif interruption.signal or (self.save_every and progress.step % self.save_every == 0):
                        job.save()
                    if interruption.signal:
                        log.warning("interrupted at step %d; to go on: seqtrain resume=%s", progress.step, folder)
                        raise SystemExit(128 + interruption.signal)
                    if self.done(progress, total):
                        break
                    since = time.perf_counter()
        running.flush(job)

    def update(self, job: Job, group: list[Batch]) -> tuple[Tensor, Tensor]:
        """One update of the weights. Gradients are those of the mean over all target items of the group of batches,
        however it is cut. Returns the summed loss and the count of items, still on the device."""
        job.model.train()
        loss_sum = torch.zeros((), device=job.device)
        count = torch.zeros((), device=job.device)
        for batch in group:
            real, every = batch.positions()
            job.progress.items += len(batch.index)
            job.progress.padding += every - real
            job.progress.positions += every
            batch = batch.to(job.device)
            with torch.autocast(job.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                state = job.carried if batch.continues else None
                output = job.model(batch, state)
                loss, items = job.task.loss(output.scores, batch)
                if self.rdrop:
                    again = job.model(batch, state)
                    loss = (loss + job.task.loss(again.scores, batch)[0]) / 2
                    loss = loss + self.rdrop * job.task.divergence(output.scores, again.scores)
                if output.penalty is not None:
                    loss = loss + output.penalty * items
            loss.backward()
            job.carried = map_tensors(Tensor.detach, output.state)
            loss_sum += loss.detach()
            count += items
        gradients = [p.grad for p in job.model.parameters() if p.grad is not None]
        scale = 1 / count.clamp(min=1)
        if self.clip is not None:
            scale = scale * (self.clip / (nn.utils.get_total_norm(gradients) * scale)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale)
        optimizer.step(job.optimizer)
        job.optimizer.zero_grad(set_to_none=True)
        job.average.update()
        return loss_sum, count

    def evaluate(self, job: Job, running: Running) -> bool:
        """Scores the validation split, tells and records it, and returns whether the monitor has never been better."""
        progress, task = job.progress, job.task
        running.flush(job)
        job.average.snapshot()
        decoder = replace(job.decoder, beam_size=1)  # greedy: the beam is for the end
        with job.average.applied():
            totals = evaluate(job.model, task, job.valid, decoder, job.device)
            found = task.score(totals)
            shown = task.show(job.model, job.valid.examples, totals, decoder)
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

    def done(self, progress: Progress, total: int) -> bool:
        """Whether the last step is taken, or the patience at an end."""
        return progress.step >= total or (self.patience is not None and progress.stale >= self.patience)

    @contextmanager
    def profiler(self, folder: Path) -> Iterator[Any]:
        """Yields what is called after each step; with `profile`, records steps 11 to 15."""
        if not self.profile:
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
        """Records the mean loss since the last time and starts anew. A loss that is no number ends the run."""
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
        if not torch.isfinite(torch.tensor(self.loss)):
            raise Diverged(f"the training loss is {self.loss} at step {progress.step}: a lower optimizer.lr may help")
        return self.loss


class Interruption:
    """Notes SIGINT and SIGTERM, so that the step that is under way ends first; a second SIGINT stops at once."""

    def __enter__(self) -> Interruption:
        self.signal = 0
        self.previous: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.previous[number] = signal.signal(number, self.note)
            except ValueError:  # not in the main thread: signals are somebody else's
                break
        return self

    def note(self, number: int, frame: Any) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)


@torch.inference_mode()
def evaluate(model: nn.Module, task: Task, loader: Loader, decoder: Decoder, device: torch.device) -> Totals:
    """The summed measures of a split. They do not depend on how it is cut into batches."""
    model.eval()
    totals: Totals = {}
    state = None
    decoder = replace(decoder)  # draws the same samples each time
    with bar(loader.size(), "batch", "evaluate") as shown:
        for batch in loader.epoch():
            batch = batch.to(device)
            output = model(batch, state if batch.continues else None)
            state = output.state
            totals = metrics.add(totals, task.measure(model, batch, output.scores, loader.examples, decoder))
            shown.update()
    return totals
