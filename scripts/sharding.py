"""Measures the memory of one of several processes, plain and sharded: python scripts/sharding.py [KEY=VALUE …]

Three updates of a wide Transformer on the CPU. MiB of the process with the most: its own numbers of the weights, of
their gradients and of Adam's moments; and the most resident memory above that before the model was made, in an update
and where an evaluation has the whole weights.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.distributed.fsdp  # its code is not to be counted
from torch.multiprocessing.spawn import spawn

from seqtrain.commands import run_folder
from seqtrain.commands.assembly import Assembly
from seqtrain.config import compose, sources
from seqtrain.engine import optimizer
from seqtrain.engine.processes import Team

WAYS = [(1, False), (2, False), (2, True), (4, False), (4, True)]  # processes, and whether they share out the weights
WIDE = ["backbone=transformer", "model.hidden_size=1024", "model.embedding_size=1024", "model.num_layers=3"]
WIDE += ["device=cpu", "device.threads=1", "device.kernels=plain", "trainer.batch_size=8", "trainer.precision=float32"]
WIDE += ["data.size=200", "data.valid_size=8", "data.test_size=8"]
COLUMNS = ("weights", "gradients", "moments", "update", "evaluation")


def mib(tensors: Iterable[Any]) -> float:
    """Of the numbers that this process has of some tensors."""
    own = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors if tensor is not None]
    return sum(tensor.numel() * tensor.element_size() for tensor in own) / 2**20


def resident(name: str) -> float:
    """VmRSS: MiB now; VmHWM: the most since `forget`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**10


def forget() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure(rank: int, size: int, shard: bool, words: list[str], folder: str) -> None:
    """In one process: leaves a tensor of a number for each of `COLUMNS` in the folder."""
    warnings.simplefilter("ignore")
    run_folder.register_resolvers()
    parts = Assembly(compose.compose(sources.Configs(), words).config)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    team = Team()
    team.rank, team.size = rank, size
    _ = parts.task
    before = resident("VmRSS")
    torch.manual_seed(0)
    job, trainer = parts.job, parts.trainer
    if size > 1:
        job.join(team, "float32", shard)
    update = optimizer.step
    found: dict[str, float] = {}

    def step(*args: Any) -> None:
        found["gradients"] = mib(weight.grad for weight in job.model.parameters())
        update(*args)

    batches = list(islice(job.batches(), 4))
    with patch.object(optimizer, "step", step):
        trainer.update(job, batches[:1])
        forget()
        for batch in batches[1:3]:
            trainer.update(job, [batch])
    found |= {"update": resident("VmHWM") - before, "weights": mib(job.model.parameters())}
    found["moments"] = mib(value for state in job.optimizer.state.values() for value in state.values())
    forget()
    job.model.eval()
    with job.whole(), torch.inference_mode():
        job.model(batches[3])
    found["evaluation"] = resident("VmHWM") - before
    torch.save(torch.tensor([found[name] for name in COLUMNS]), f"{folder}/{rank}")
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    print(f"{'':10}", *(f"{name:>12}" for name in COLUMNS))
    for size, shard in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            spawn(measure, (size, shard, WIDE + sys.argv[1:], folder), size)
            found = torch.stack([torch.load(f"{folder}/{rank}") for rank in range(size)]).amax(0)
        print(f"{size} {'sharded' if shard else 'plain':8}", *(f"{number:12.0f}" for number in found.tolist()))


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    main()
