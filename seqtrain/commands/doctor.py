"""mode=doctor: checks this machine and a configuration in less than a minute, and prints a table of findings."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqtrain.commands.assembly import Assembly, Config
from seqtrain.contract import Batch, Batching
from seqtrain.engine.checkpoint import Checkpoints, weights_of
from seqtrain.engine.evaluate import evaluate
from seqtrain.engine.job import Job
from seqtrain.engine.loader import Loader, lengths_of
from seqtrain.engine.objective import backward, parts
from seqtrain.machine.threads import granted
from seqtrain.models.base import Generator
from seqtrain.storage.cache import cache
from seqtrain.trees import join

Finding = tuple[str, bool, str]  # (name, "" for that of the check; whether it is good; result, or what to do)
EXAMPLES = 8  # in the batch that the checks use
SECONDS = 20  # the time for overfitting one batch
NEEDED = 8  # memory for training, in sizes of the model's weights; also the size of a checkpoint on the disk


def doctor(cfg: Config) -> bool:
    """Prints the findings of all checks, and returns whether all are good."""
    patient = Patient(cfg)
    all_good = True
    for check_name, check in CHECKS.items():
        for name, good, result in check(patient):
            all_good &= good
            print(f"{'ok' if good else 'NOT OK':8} {name or check_name:32} {result}", flush=True)
    return all_good


class Patient:
    """A configuration with a batch of its data. Each check makes its own model, with the same weights."""

    def __init__(self, cfg: Config):
        self.parts = Assembly(cfg)
        self.cfg, self.device, self.task, self.records = cfg, self.parts.device, self.parts.task, self.parts.records
        self.loader = Loader.of(self.task.examples(self.records["train"]), Batching(EXAMPLES, None), cfg["seed"])
        self.batch = next(self.loader.epoch())
        few = {"batch_size": EXAMPLES, "batch_tokens": None}
        self.trainer = replace(self.parts.trainer, precision="float32", rdrop=0.0, accumulate=1, **few)

    def model(self, device: str = "cpu") -> nn.Module:
        """Makes the model without dropout. Noise is added to its weights: biases of zero, as before training, could
        hide an effect of padding."""
        torch.manual_seed(self.cfg["seed"])
        model = self.parts.new_model(torch.device("cpu"))
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.1 * torch.randn(weight.shape)
        return model.to(device).eval()

    def job(self, folder: Path) -> Job:
        torch.manual_seed(self.cfg["seed"])
        parts = Assembly(self.cfg, folder)
        parts.records, parts.unfitted_task, parts.task, parts.trainer = self.records, self.task, self.task, self.trainer
        return parts.job

    def two_batches(self, job: Job) -> list[Batch]:
        return list(itertools.islice(job.batches(), 2))

    def gradient(self, model: nn.Module, batches: list[Batch], **settings: Any) -> Tensor:
        """Returns the gradient of the mean loss for all weights as one vector on the CPU. settings: of the trainer."""
        model.zero_grad(set_to_none=True)
        objective = replace(self.trainer, **settings).objective(model, self.task.spec.likelihood)
        _, count, _ = backward(objective, batches, None)
        gradients = [p.grad.flatten() / count for p in model.parameters() if p.grad is not None]
        return torch.cat(gradients).float().cpu()


def close(a: Tensor, b: Tensor, tolerance: float, cure: str) -> tuple[bool, str]:
    """Compares two tensors by their relative difference in norm; returns whether they are close, and the result."""
    difference = float((a - b).norm() / b.norm().clamp(min=1e-12))
    good = difference <= tolerance
    return good, f"differ by {difference:.1e} of their size" + ("" if good else f": {cure}")


def threads(patient: Patient) -> Iterator[Finding]:
    """No more threads are used than there are cores."""
    cores, used = granted(), torch.get_num_threads()
    cure = "" if used <= cores else f": device.threads={cores} would not let them wait for one another"
    yield "", used <= cores, f"{used} threads, {cores} cores{cure}"


def room(patient: Patient) -> Iterator[Finding]:
    size = sum(p.numel() * p.element_size() for p in patient.model().parameters()) * NEEDED / 2**20
    disk = shutil.disk_usage(".").free / 2**20
    kept = size * (patient.trainer.keep + 2)
    yield (
        "free disk",
        disk > kept,
        f"{disk:,.0f} MiB, about {kept:,.0f} needed" + ("" if disk > kept else ": make room"),
    )
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
        cure = "" if memory > size else ": a smaller model.hidden_size or trainer.batch_size"
        yield "free memory", memory > size, f"{memory:,.0f} MiB, about {size:,.0f} needed for the model{cure}"


def padding(patient: Patient) -> Iterator[Finding]:
    """A row has the same scores alone, without padding, as in a batch with longer rows."""
    examples = patient.loader.examples
    if not isinstance(patient.loader.plan(0)[0], np.ndarray):
        yield "", True, "the rows of a batch are equally long here"
        return
    order = np.argsort(lengths_of(examples.sizes), kind="stable")
    rows = order[np.linspace(0, len(order) - 1, EXAMPLES).astype(int)]  # from the shortest to the longest
    model = patient.model()
    with torch.no_grad():
        alone = torch.cat([model(examples.batch(row[None])).scores for row in rows])
        yield "", *close(alone, model(examples.batch(rows)).scores, 1e-4, "the model lets padding through")


def batch_cut(patient: Patient) -> Iterator[Finding]:
    model, batch = patient.model(), patient.batch
    cut = [batch.select(rows) for rows in parts(batch, batch.positions()[1] // 3)]
    whole = patient.gradient(model, [batch]).clone()
    yield "", *close(patient.gradient(model, cut), whole, 1e-3, "the gradient depends on trainer.accumulate")


def forward_and_step(patient: Patient) -> Iterator[Finding]:
    """Decoding in one call gives the same as decoding step by step."""
    model, batch = patient.model(), patient.batch
    if not isinstance(model, Generator) or batch.inputs is None:
        yield "", True, "this model writes its output at once"
        return
    with torch.no_grad():
        memory, state = model.start(batch.source, batch.source_lengths)
        whole, _ = model.decode(batch.inputs, state, memory)
        steps = []
        for t in range(batch.inputs.size(1)):
            y, state = model.decode(batch.inputs[:, t : t + 1], state, memory)
            steps.append(y)
        found, wanted = model.output(join(steps, 1)), model.output(whole)
    yield "", *close(found, wanted, 1e-4, "predictions will not be those that were trained")


def device(patient: Patient) -> Iterator[Finding]:
    if patient.device.type == "cpu":
        yield "", True, "the device is the CPU"
        return
    here, there = (patient.gradient(patient.model(name), [patient.batch]) for name in ("cpu", patient.device.type))
    yield "", *close(there, here, 1e-2, "device=cpu computes something else")


def bfloat16(patient: Patient) -> Iterator[Finding]:
    try:
        model = patient.model(patient.device.type)
        full = patient.gradient(model, [patient.batch]).clone()
        half = patient.gradient(model, [patient.batch], precision="bfloat16")
    except RuntimeError as error:
        fine = patient.cfg["trainer"]["precision"] == "float32"
        yield "", fine, f"not here ({str(error).splitlines()[0]}): keep trainer.precision=float32"
        return
    fine, found = close(half, full, 0.1, "keep trainer.precision=float32")
    yield "", fine or patient.cfg["trainer"]["precision"] == "float32", found


def by_heart(patient: Patient) -> Iterator[Finding]:
    """The model can overfit one batch: the loss falls below half, or falls at all until the time is up."""
    model = patient.model(patient.device.type)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = last = float("inf")
    end = time.monotonic() + SECONDS
    late = False
    steps = 0
    while steps < 200 and not late and not last < first / 2:
        optimizer.zero_grad(set_to_none=True)
        objective = patient.trainer.objective(model, patient.task.spec.likelihood)
        loss, count, _ = backward(objective, [patient.batch], None)
        optimizer.step()
        last, steps = float(loss / count), steps + 1
        first = last if steps == 1 else first
        late = steps > 1 and time.monotonic() > end
    good = last < (first if late else first / 2)
    slow = f", all that {SECONDS} s had room for" if late else ""
    cure = "" if good else ": the model does not learn"
    yield "", good, f"loss {first:.3g} to {last:.3g} in {steps} steps{slow}{cure}"


def write_kill_resume(patient: Patient) -> Iterator[Finding]:
    """Two steps give the same weights when the process is killed between them, while it saves, and resumed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text("")
        child = get_context("spawn").Process(
            target=save_endlessly, args=(patient.cfg, folder, torch.get_num_threads()), daemon=True
        )
        child.start()
        checkpoints = Checkpoints(folder)
        while child.is_alive() and checkpoints.named("last") is None:
            time.sleep(0.01)
        time.sleep(random.random() / 20)  # until it is somewhere within a later save
        child.kill()
        child.join()
        if child.exitcode != -signal.SIGKILL:
            yield "", False, f"the training process ended by itself, with code {child.exitcode}"
            return
        uninterrupted, resumed = patient.job(folder), patient.job(folder)
        batches = patient.two_batches(uninterrupted)
        checkpoints.clean()
        checkpoint = checkpoints.load("last")
        uninterrupted.kernels.load_state(checkpoint.training["kernels"])  # the child may have chosen others
        for batch in batches:
            patient.trainer.update(uninterrupted, [batch])
        resumed.restore(checkpoint)
        patient.trainer.update(resumed, batches[1:])
        weights = weights_of(resumed.model)
        same = all(torch.equal(weight, weights[name]) for name, weight in weights_of(uninterrupted.model).items())
    cure = "other weights: a resumed run will differ; try trainer.deterministic=true"
    yield "", same, "the same bits" if same else cure


def save_endlessly(cfg: Config, folder: Path, threads: int) -> None:
    """Makes one step, then saves checkpoints until the process is killed. threads: as many as the parent has, since the
    order of sums, and so the last bits, depend on it."""
    patient = Patient(cfg)
    job = patient.job(folder)
    torch.set_num_threads(threads)  # after the job, whose device sets them, too
    patient.trainer.update(job, patient.two_batches(job)[:1])
    while True:
        job.save()


def kernels(patient: Patient) -> Iterator[Finding]:
    """Lists the kernels that are chosen for one batch of training and one of evaluation, in the sizes of a real run."""
    parts, setting = patient.parts, patient.cfg["device"]["kernels"]
    if setting == "plain" or patient.device.type != "cpu":
        yield "", True, f"those of torch (device={patient.device.type}, device.kernels={setting})"
        return
    trainer, model = parts.trainer, parts.model
    train = Loader.of(patient.loader.examples, Batching(trainer.batch_size, trainer.batch_tokens), patient.cfg["seed"])
    backward(trainer.objective(model.train(), patient.task.spec.likelihood), [next(train.epoch())], None)
    decoder = replace(parts.decoder, max_length=2)
    evaluate(model, patient.task, parts.loader("valid").first_batches(1), decoder, patient.device)
    chosen, trials = parts.kernels.chosen, parts.kernels.trials
    yield "", True, f"{len(trials)} of {len(chosen)} choices by trial, kept in {cache()}"
    for work, way in chosen.items():
        times = trials[work].milliseconds.items() if work in trials else []
        found = ", ".join(f"{name} {time:.3g} ms" for name, time in times) or "not tried"
        yield "", True, f"{work}: {way} ({found})"


CHECKS: dict[str, Callable[[Patient], Iterator[Finding]]] = {
    "threads": threads,
    "room": room,
    "padding": padding,
    "cut of a batch": batch_cut,
    "forward against step": forward_and_step,
    "CPU against the device": device,
    "bfloat16 against float32": bfloat16,
    "one batch by heart": by_heart,
    "write, kill, resume": write_kill_resume,
    "kernels": kernels,
}
