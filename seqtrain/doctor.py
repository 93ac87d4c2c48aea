"""Checks this machine and a configuration, in less than a minute: a table of what is well, and what to do."""

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

from seqtrain.assemble import Config, open_data, open_device, open_job, open_model, read
from seqtrain.batch import Batch, Batching
from seqtrain.checkpoint import Checkpoints, weights_of
from seqtrain.config import build
from seqtrain.memory import parts
from seqtrain.models.base import Generator
from seqtrain.tasks.base import Task
from seqtrain.threads import granted
from seqtrain.train import Job, Trainer

Finding = tuple[str, bool, str]  # what was checked, whether it is well, what was found or what to do
EXAMPLES = 8  # of the batch that the checks work on
SECONDS = 20  # to learn one batch by heart
NEEDED = 8  # times its weights: what a model takes while it trains, and its checkpoints on the disk


def examine(cfg: Config) -> bool:
    """Prints the table, and returns whether all is well."""
    patient = Patient(cfg)
    well = True
    for name, check in CHECKS.items():
        for what, fine, found in check(patient):
            well &= fine
            print(f"{'ok' if fine else 'NOT OK':8} {what or name:32} {found}", flush=True)
    return well


class Patient:
    """A configuration with a batch of its own data; each check gets a model of its own with the same weights."""

    def __init__(self, cfg: Config):
        self.cfg = cfg
        self.device = open_device(cfg)
        self.task: Task = build(cfg["task"], cfg["trust"])
        source = open_data(cfg, self.task)
        self.records = read(source, "train")
        self.task.fit(self.records)
        self.loader = self.task.loader(self.records, Batching(EXAMPLES, None), cfg["seed"])
        self.batch = next(self.loader.epoch())
        trainer: Trainer = build(cfg["trainer"], cfg["trust"])
        few = {"batch_size": EXAMPLES, "batch_tokens": None}
        self.trainer = replace(trainer, precision="float32", rdrop=0.0, accumulate=1, **few)

    def model(self, device: str = "cpu", still: bool = True) -> nn.Module:
        """`still`: without dropout, and with weights shaken a little: zero biases, as at the start of a training, would
        hide what padding does."""
        torch.manual_seed(self.cfg["seed"])
        model = open_model(self.cfg, self.task.spec, torch.device("cpu"))
        if not still:
            return model.to(device).train()
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.1 * torch.randn(weight.shape)
        return model.to(device).eval()

    def job(self, folder: Path) -> Job:
        torch.manual_seed(self.cfg["seed"])
        records = {"train": self.records, "valid": self.records}
        return open_job(self.cfg, self.device, self.task, self.trainer, records, Checkpoints(folder), baseline=str)

    def two_batches(self, job: Job) -> list[Batch]:
        return [batch for _, batch in zip(range(2), itertools.cycle(job.train.epoch()), strict=False)]

    def gradient(self, model: nn.Module, batches: list[Batch], **how: Any) -> Tensor:
        """The gradient of the mean loss, laid end to end, on the CPU."""
        model.zero_grad(set_to_none=True)
        _, count, _ = replace(self.trainer, **how).backward(model, self.task, batches, None)
        found = [p.grad.flatten() / count for p in model.parameters() if p.grad is not None]
        return torch.cat(found).float().cpu()


def close(a: Tensor, b: Tensor, tolerance: float, cure: str) -> tuple[bool, str]:
    off = float((a - b).norm() / b.norm().clamp(min=1e-12))
    return off <= tolerance, f"differ by {off:.1e} of their size" + ("" if off <= tolerance else f": {cure}")


def threads(patient: Patient) -> Iterator[Finding]:
    there, used = granted(), torch.get_num_threads()
    cure = "" if used <= there else f": device.threads={there} would not let them wait for one another"
    yield "", used <= there, f"{used} threads, {there} cores{cure}"


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
    """A row alone, unpadded, has the scores it has among longer ones."""
    examples = patient.loader.examples
    if not isinstance(patient.loader.plan(0)[0], np.ndarray):
        yield "", True, "the rows of a batch are equally long here"
        return
    order = np.argsort(examples.lengths, kind="stable")
    rows = order[np.linspace(0, len(order) - 1, EXAMPLES).astype(int)]  # from the shortest to the longest
    model = patient.model()
    with torch.no_grad():
        alone = torch.cat([model(examples.batch(row[None])).scores for row in rows])
        yield "", *close(alone, model(examples.batch(rows)).scores, 1e-4, "the model lets padding through")


def batch_cut(patient: Patient) -> Iterator[Finding]:
    model, batch = patient.model(), patient.batch
    cut = [batch.take(rows) for rows in parts(batch, batch.positions()[1] // 3)]
    whole = patient.gradient(model, [batch]).clone()
    yield "", *close(patient.gradient(model, cut), whole, 1e-3, "the gradient depends on trainer.accumulate")


def forward_and_step(patient: Patient) -> Iterator[Finding]:
    """What is decoded in one call is decoded the same step by step."""
    model, batch = patient.model(), patient.batch
    if not isinstance(model, Generator) or batch.inputs is None:
        yield "", True, "this model writes its output at once"
        return
    with torch.no_grad():
        memory, state = model.start(batch)
        whole, _ = model.decode(batch.inputs, state, memory)
        steps = []
        for t in range(batch.inputs.size(1)):
            y, state = model.decode(batch.inputs[:, t : t + 1], state, memory)
            steps.append(y)
    yield "", *close(torch.cat(steps, 1), whole, 1e-4, "predictions will not be those that were trained")


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
    """One batch is learned: the loss falls to less than half, or is on its way there when the time is up."""
    model = patient.model(patient.device.type)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = last = float("inf")
    end, late, steps = time.monotonic() + SECONDS, False, 0
    while steps < 200 and not late and not last < first / 2:
        optimizer.zero_grad(set_to_none=True)
        loss, count, _ = patient.trainer.backward(model, patient.task, [patient.batch], None)
        optimizer.step()
        last, steps = float(loss / count), steps + 1
        first = last if steps == 1 else first
        late = steps > 1 and time.monotonic() > end
    fine = last < (first if late else first / 2)
    slow = f", all that {SECONDS} s had room for" if late else ""
    cure = "" if fine else ": the model does not learn"
    yield "", fine, f"loss {first:.3g} to {last:.3g} in {steps} steps{slow}{cure}"


def write_kill_resume(patient: Patient) -> Iterator[Finding]:
    """Two steps in one go lead to the weights of two steps between which the process was killed while it saved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text("")
        child = get_context("spawn").Process(
            target=save_for_ever, args=(patient.cfg, folder, torch.get_num_threads()), daemon=True
        )
        child.start()
        checkpoints = Checkpoints(folder)
        while child.is_alive() and checkpoints.named("last") is None:
            time.sleep(0.01)
        time.sleep(random.random() / 20)  # somewhere in one of the saves that follow
        child.kill()
        child.join()
        if child.exitcode != -signal.SIGKILL:
            yield "", False, f"the training process ended by itself, with code {child.exitcode}"
            return
        whole, resumed = patient.job(folder), patient.job(folder)
        batches = patient.two_batches(whole)
        for batch in batches:
            patient.trainer.update(whole, [batch])
        checkpoints.clean()
        resumed.restore(checkpoints.load("last"))
        patient.trainer.update(resumed, batches[1:])
        weights = weights_of(resumed.model)
        same = all(torch.equal(weight, weights[name]) for name, weight in weights_of(whole.model).items())
    cure = "other weights: a resumed run will differ; try trainer.deterministic=true"
    yield "", same, "the same bits" if same else cure


def save_for_ever(cfg: Config, folder: Path, threads: int) -> None:
    """One step, then checkpoints without an end: the process is to be killed. Sums of other threads are others."""
    patient = Patient(cfg)
    torch.set_num_threads(threads)
    job = patient.job(folder)
    patient.trainer.update(job, patient.two_batches(job)[:1])
    while True:
        job.save()


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
}
