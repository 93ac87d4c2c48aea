"""Trains on a generated corpus in shards, and prints what it costs: python scripts/shards.py [--gb GB]

The corpus, GB (5) of gzipped JSON Lines on the disk, is written into a temporary folder: distinct blocks of pairs of
sentences, repeated, since only their amount counts here. Each command is a process of its own:

- a training on all shards: seconds from the command to the end of its first step, largest resident memory;
- the same, interrupted and resumed in the middle of shards: whether it ends with the same weights, bit by bit;
- target items a second on a part of the corpus: as a table, whose ids are arrays in the cache, and as shards, in turn;
  there and in the line before the buffer holds 50 batches, so that its refilling counts four times in 200 updates.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

SHARDS, BLOCKS, PAIRS = 50, 8, 8000  # files; distinct blocks; pairs of a block
LETTERS = "etaoinshrdlu"
BUFFER = 10_000  # rows, the default
ROUNDS = 3


def block(number: int, pairs: int = PAIRS) -> str:
    """Pairs of sentences; a word of the target is that of the source, turned round."""
    draw = random.Random(number)
    words = ["".join(draw.choices(LETTERS, k=draw.randint(2, 9))) for _ in range(4000)]
    sources = (draw.choices(words, k=draw.randint(4, 24)) for _ in range(pairs))
    found = ({"source": " ".join(some), "target": " ".join(word[::-1] for word in some)} for some in sources)
    return "".join(f"{json.dumps(pair)}\n" for pair in found)


def write(folder: Path, size: int) -> None:
    """Writes shards of `size` bytes together, the same blocks once as a table and as shards, and the other splits."""
    texts = [block(number) for number in range(BLOCKS)]
    zipped = [gzip.compress(text.encode(), 6, mtime=0) for text in texts]
    for name in ("shards", "part"):
        (folder / name).mkdir()
    for shard in range(SHARDS):
        with (folder / "shards" / f"{shard:03}.jsonl.gz").open("wb") as file:
            for turn in range(-(-size // SHARDS // len(zipped[0]))):
                file.write(zipped[(shard + turn) % BLOCKS])
    for number, content in enumerate(zipped):
        (folder / "part" / f"{number}.jsonl.gz").write_bytes(content)
    (folder / "part.jsonl").write_text("".join(texts))
    for number, split in enumerate(("valid", "test")):
        (folder / f"{split}.jsonl").write_text(block(BLOCKS + number, 200))


def seqtrain(folder: Path, *words: str, stop: int = 0) -> dict[str, float]:
    """Runs a command; returns what `measured` prints. stop: the step after which the run is interrupted."""
    given = [sys.executable, __file__, "--measured", json.dumps([time.time(), stop, words])]
    environment = os.environ | {"SEQTRAIN_CACHE": str(folder / "cache")}
    done = subprocess.run(given, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 128 + signal.SIGTERM):
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measured(began: float, stop: int, words: list[str]) -> int:
    """Runs a command in this process; prints the seconds to its first step, and its memory in MiB."""
    from seqtrain import cli
    from seqtrain.engine.trainer import Trainer

    update, found = Trainer.update, dict[str, Any]()

    def timed(trainer: Trainer, job: Any, group: Any) -> Any:
        result = update(trainer, job, group)
        if not found:
            found["first_step"], found["processor"] = time.time() - began, time.process_time()
        if job.progress.step + 1 == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    try:
        with patch.object(Trainer, "update", timed):
            code = cli.main(words)
    finally:
        usage = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print(json.dumps(found | {"mib": usage[0], "worker_mib": usage[1]}))
    return code


def told(found: dict[str, float]) -> str:
    first = f"{found['first_step']:.1f} s ({found['processor']:.1f} s of processor time)"
    return f"first step after {first}, {found['mib']:,.0f} MiB at most"


def settings(train: str, run: str, steps: int, buffer: int) -> list[str]:
    return [
        *("task=translation", "data=pairs", f"data.train={train}", "data.valid=valid.jsonl", "data.test=test.jsonl"),
        *("task.tokenizer.unit=bpe", "task.tokenizer.vocab_size=2000", "model.hidden_size=64", "trainer.batch_size=32"),
        *("device=cpu", "device.threads=1", "decode.beam_size=1", "decode.max_length=20"),
        *(f"trainer.max_steps={steps}", f"data.buffer={buffer}", f"hydra.run.dir={run}"),
    ]


def weights(run: Path) -> str:
    last = (run / "checkpoints" / "last").read_text().strip()
    return hashlib.sha256((run / "checkpoints" / last / "model.safetensors").read_bytes()).hexdigest()[:16]


def places(run: Path) -> list[Any]:
    """Where the readers were: the shard in the order of each, and its row."""
    from seqtrain.engine.checkpoint import Checkpoints

    return list(Checkpoints(run).load("last").training["shards"]["places"].values())


def items_per_s(run: Path) -> float:
    return json.loads((run / "metrics.json").read_text())["speed"]["items_per_s"]


def show(folder: Path, gb: float) -> None:
    since = time.monotonic()
    write(folder, int(gb * 1e9))
    size = sum(file.stat().st_size for file in (folder / "shards").iterdir())
    print(f"{size / 1e9:.2f} GB in {SHARDS} shards, written in {time.monotonic() - since:.0f} s", flush=True)
    for workers in (0, 1):
        run = settings("shards/*.gz", f"workers{workers}", 20, BUFFER)
        found = seqtrain(folder, *run, f"trainer.workers={workers}")
        print(f"workers={workers}: {told(found)}; a worker {found['worker_mib']:,.0f} MiB", flush=True)
    for name, stop in {"whole": 0, "cut": 80}.items():  # plain: which kernels are faster is measured in each run
        seqtrain(folder, *settings("shards/*.gz", name, 120, 50 * 32), "device.kernels=plain", stop=stop)
    print(f"interrupted at step 80; its pool began at {places(folder / 'cut')} (shard of a reader, row)", flush=True)
    found = seqtrain(folder, "resume=cut", "device=cpu", "device.threads=1", "device.kernels=plain")
    print(f"resumed: {told(found)}", flush=True)
    print(f"weights {weights(folder / 'cut')}, uninterrupted {weights(folder / 'whole')}", flush=True)
    speeds: dict[str, list[float]] = {"part.jsonl": [], "part/*.gz": []}
    for turn in range(ROUNDS + 1):
        for train, found in speeds.items():
            run = f"{'table' if train == 'part.jsonl' else 'streamed'}-{turn}"
            seqtrain(folder, *settings(train, run, 200, 50 * 32))
            if turn:  # the first one fills the cache
                found.append(items_per_s(folder / run))
    for train, found in speeds.items():
        print(f"{train}: {statistics.median(found):,.0f} target items/s ({min(found):,.0f} to {max(found):,.0f})")
    table, shards = (statistics.median(found) for found in speeds.values())
    print(f"shards / table: {shards / table:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=5.0)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--measured", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measured:
        raise SystemExit(measured(*json.loads(given.measured)))
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        show(Path(folder), given.gb)


if __name__ == "__main__":
    main()
