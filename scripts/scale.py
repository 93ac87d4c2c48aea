"""Measures how training grows with its processes, and holds a model of its time against it: python scripts/scale.py

Everything runs on this machine, with one thread a process and gloo: one, two and four processes train a Transformer,
each on as many rows as one alone has; the sum of as many numbers as it has gradients is timed apart. Then come the time
of a checkpoint, and how fast one core reads and tokenizes shards.

python scripts/scale.py --plan prints what the model says for GPUs, whose rates are assumptions, named in the output.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

ROWS, STEPS, ROUNDS = 64, 20, 3
WIDTHS, PROCESSES = (128, 512), (1, 2, 4)
DAY, TOKENS = 86_400.0, 1e10


@dataclass(frozen=True)
class Cluster:
    """flops: of a device, a second, in training as a whole. devices: of a node. bandwidth, latency: bytes a second
    that a device sends within an all-reduce, and seconds of a message. disk: bytes a second of checkpoints. failures:
    of a node, a day. restart: seconds from a failure to the next step. reading: tokens a second of one core."""

    flops: float
    devices: int
    bandwidth: float
    latency: float
    disk: float
    failures: float
    restart: float
    reading: float


# An H100 does 989e12 bfloat16 operations a second at the most; 40% of them is what well-kept code reaches. A card of
# 400 Gbit/s for each; local disks; a node fails every 60 days. The reading rate is the one measured here.
ASSUMED = Cluster(
    flops=0.4 * 989e12,
    devices=8,
    bandwidth=40e9,
    latency=20e-6,
    disk=0.5e9,
    failures=1 / 60,
    restart=120,
    reading=387_000,
)
INSIDE = 300e9  # bytes a second of an all-reduce within a node


def all_reduce(size: float, processes: int, bandwidth: float, latency: float) -> float:
    """Seconds of a sum in a ring (Patarasu and Yuan 2009): each process sends 2 (n - 1) / n of the bytes, in 2 (n - 1)
    messages."""
    return 2 * (processes - 1) * (size / processes / bandwidth + latency)


def plan(
    cluster: Cluster, nodes: int, parameters: float, tokens: float, batch: float, bytes_sent: int
) -> dict[str, float]:
    """What a training of so many tokens takes. batch: tokens of an update. bytes_sent: of a gradient."""
    count = nodes * cluster.devices
    compute = 6 * parameters * batch / count / cluster.flops
    send = all_reduce(parameters * bytes_sent, count, cluster.bandwidth, cluster.latency)
    hidden = min(send, compute * 2 / 3)  # the backward pass, beside which gradients are sent, is two thirds
    step = compute + send - hidden
    save = parameters * 12 / cluster.disk  # weights and the two moments of Adam
    between_failures = DAY / (cluster.failures * nodes)
    every = sqrt(2 * save * between_failures)  # Young 1974
    lost = save / every + (every / 2 + cluster.restart) / between_failures
    seconds = tokens / batch * step / (1 - lost)
    return {
        "tokens_per_s": batch / step,
        "step": step,
        "send": send,
        "waits": (send - hidden) / step,
        "checkpoint_gb": parameters * 12 / 1e9,
        "save": save,
        "save_every": every,
        "lost": lost,
        "hours": seconds / 3600,
        "device_hours": seconds / 3600 * count,
        "reading_cores": batch / step / cluster.reading / nodes,
    }


# ---------------------------------------------------------------------------------------------- what is measured


def seqtrain(folder: Path, *words: str) -> dict[str, Any]:
    """Trains; returns metrics.json."""
    run = folder / f"run-{len(list(folder.iterdir()))}"
    given = [sys.executable, "-m", "seqtrain", *words, f"hydra.run.dir={run}"]
    done = subprocess.run(given, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return json.loads((run / "metrics.json").read_text())


def rate(folder: Path, width: int, processes: int) -> tuple[float, int]:
    """Updates a second, and the number of weights. Times of two runs are subtracted: what is not training is the same
    in both."""
    seconds, parameters = [], 0
    for steps in (STEPS // 2, STEPS + STEPS // 2):
        metrics = seqtrain(
            folder,
            *(
                "task=translation",
                "backbone=transformer",
                f"model.hidden_size={width}",
                f"model.embedding_size={width}",
            ),
            *(f"trainer.batch_size={ROWS * processes}", f"trainer.max_steps={steps}", "trainer.eval_every=1000"),
            *("device=cpu", "device.threads=1", "device.kernels=plain", f"device.processes={processes}"),
            *("data.size=8000", "data.valid_size=8", "data.test_size=8", "decode.beam_size=1", "decode.max_length=2"),
        )
        seconds.append(metrics["speed"]["seconds"])
        parameters = metrics["parameters"]
    return STEPS / (seconds[1] - seconds[0]), parameters


def sums(processes: int, numbers: int) -> float:
    """Seconds of the sum of so many float32 over so many processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--no-python"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    given = [*torchrun, sys.executable, __file__, f"--sum={numbers}"]
    done = subprocess.run(given, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.splitlines()[-1])


def time_sums(numbers: int) -> None:
    """Runs in each process of `sums`."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    tensor, seconds = torch.ones(numbers), []
    for _ in range(12):
        dist.barrier()
        since = time.perf_counter()
        dist.all_reduce(tensor)
        seconds.append(time.perf_counter() - since)
    if dist.get_rank() == 0:
        print(median(seconds[2:]), flush=True)
    dist.destroy_process_group()


def checkpoint_rate(folder: Path, weights: int) -> float:
    """Bytes a second of a checkpoint of so many weights and Adam's two moments, checksums and fsync included."""
    import torch

    from seqtrain.engine.checkpoint import Checkpoint, Checkpoints

    (folder / "config.yaml").write_text("")
    moments = {"first": torch.randn(weights), "second": torch.randn(weights)}
    checkpoint = Checkpoint({"weight": torch.randn(weights)}, {"step": 1, **moments}, {})
    seconds = []
    for step in range(ROUNDS):
        since = time.perf_counter()
        Checkpoints(folder).write(f"step-{step}", checkpoint)
        seconds.append(time.perf_counter() - since)
    return 12 * weights / median(seconds)


def reading_rate(folder: Path) -> float:
    """Target tokens a second that one core reads from gzipped shards of JSON Lines, tokenizes and makes batches of."""
    from shards import block

    from seqtrain.commands.assembly import Assembly
    from seqtrain.config import compose, sources
    from seqtrain.contract import Batching

    (folder / "shards").mkdir()
    for number in range(8):
        with gzip.open(folder / "shards" / f"{number}.jsonl.gz", "wt") as file:
            file.write(block(number))
    for split in ("valid", "test"):
        (folder / f"{split}.jsonl").write_text(block(8, 10))
    files = [f"data.train={folder}/shards", f"data.valid={folder}/valid.jsonl", f"data.test={folder}/test.jsonl"]
    words = ["task=translation", "data=pairs", *files, "task.tokenizer.unit=bpe", "device=cpu", "device.threads=1"]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    loader: Any = Assembly(compose.compose(sources.Configs(), words).config).training_loader(Batching(ROWS, None))
    count, since = 0, None
    for batch in loader.stream(0, 0):
        if since is None:
            since = time.perf_counter()  # what is learned from the first rows is not counted
        else:
            count += int(batch.target_lengths.sum())
        if count > 1_000_000:
            break
    assert since is not None
    return count / (time.perf_counter() - since)


def measure(folder: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, a thread and {ROWS} rows a process; medians of {ROUNDS} rounds in turn")
    print(
        "| weights | processes | updates/s | sum of the gradients, ms | the model says | off by |\n" + "|---" * 6 + "|"
    )
    for width in WIDTHS:
        found: dict[int, list[float]] = {count: [] for count in PROCESSES}
        parameters = 0
        for _ in range(ROUNDS):
            for count, rates in found.items():
                speed, parameters = rate(folder, width, count)
                rates.append(speed)
        alone = 1 / median(found[1])
        for count, rates in found.items():
            send = sums(count, parameters) if count > 1 else 0.0
            says = 1 / (alone * max(1, count / cores) + send)
            seen = median(rates)
            print(
                f"| {parameters:,} | {count} | {seen:.2f} ({min(rates):.2f} to {max(rates):.2f}) | {1000 * send:.0f} "
                f"| {says:.2f} | {says / seen - 1:+.0%} |",
                flush=True,
            )
    print(f"a checkpoint of 10 million weights: {checkpoint_rate(folder, 10**7) / 1e6:,.0f} MB/s")
    print(f"reading, tokenizing and batching gzipped shards: {reading_rate(folder):,.0f} target tokens/s of one core")


def show_plan() -> None:
    print(f"assumed: {ASSUMED}")
    print(f"a Transformer, {TOKENS / 1e9:.0f} billion tokens, 500,000 an update; gradients in float32, bfloat16")
    print(
        "| weights | GPUs | tokens/s | waits for the sum | checkpoint | saved | lost | hours | GPU hours | cores |\n"
        + "|---" * 10
        + "|"
    )
    for parameters in (1e8, 1e9):
        for nodes in (1, 8):
            cluster, counts = (ASSUMED, nodes * ASSUMED.devices)
            if nodes == 1:  # within a node the sum goes over its own links
                cluster = replace(cluster, bandwidth=INSIDE)
            full, half = (plan(cluster, nodes, parameters, TOKENS, 5e5, size) for size in (4, 2))
            print(
                f"| {parameters / 1e6:,.0f} million | {counts} | {full['tokens_per_s']:,.0f} | {full['waits']:.0%}, "
                f"{half['waits']:.0%} | {full['checkpoint_gb']:.1f} GB in {full['save']:.0f} s | "
                f"{full['save_every'] / 60:.0f} min | {full['lost']:.1%} | {full['hours']:.1f} | "
                f"{full['device_hours']:.0f} | {full['reading_cores']:.0f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="what the model says for GPUs")
    parser.add_argument("--sum", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sum:
        time_sums(given.sum)
    elif given.plan:
        show_plan()
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder))


if __name__ == "__main__":
    main()
