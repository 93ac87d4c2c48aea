"""Trains each task by one process and by several: python scripts/processes.py [TASK …]

Prints the largest difference between a weight after training by several processes and the same weight after training by
one: 10 steps of the shipped options at a small size, in float32 on the CPU, without dropout, which each process draws
for itself. Batches of 7 rows leave processes with unequal parts, and the last one of an epoch with fewer. AdamW has
eps=1e-5: with 1e-8 it makes whole steps of gradients that are nothing but rounding, in the order of the sums.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

WAYS = {
    "2": ["device.processes=2"],
    "4": ["device.processes=4"],
    "2 sharded": ["device.processes=2", "device.shard=true"],
    "4 sharded": ["device.processes=4", "device.shard=true"],
}
SIZES = ["data.size=52", "data.valid_size=8", "data.test_size=8"]
SPOKEN = [*SIZES, "data.size=90", "data.shortest=1", "data.longest=1"]  # enough for each digit to be learned
TASKS = {
    "sentiment": SIZES,
    "classification": SIZES,
    "tagging": SIZES,
    "generation": ["data.valid_share=0.02", "data.test_share=0.02"],
    "music": SIZES,
    "captioning": SIZES,
    "translation": SIZES,
    "summarization": SIZES,
    "speech": SPOKEN,
    "handwriting": ["data.size=90", "data.shortest=1", "data.longest=1"],
    "forecasting": ["data.test_share=0.5"],
}
SMALL = ["device=cpu", "device.threads=1", "device.kernels=plain", "model.hidden_size=16", "model.dropout=0"]
SMALL += ["trainer.precision=float32", "trainer.batch_tokens=null", "trainer.batch_size=7", "trainer.max_steps=10"]
SMALL += ["trainer.eval_every=10", "decode.max_length=10", "optimizer.eps=1e-5"]


def train(task: str, folder: Path, *more: str) -> Path:
    """The weights of a run in a new folder, at its last step."""
    words = [f"task={task}", *SMALL, *TASKS[task], *more, f"hydra.run.dir={folder}"]
    done = subprocess.run([sys.executable, "-m", "seqtrain", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return folder / "checkpoints" / (folder / "checkpoints" / "last").read_text().strip() / "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    print(f"{'':15}", *(f"{way:>10}" for way in WAYS))
    for task in parser.parse_args().tasks or TASKS:
        with tempfile.TemporaryDirectory() as place:
            one = load_file(train(task, Path(place, "one")))
            print(f"{task:15}", end="", flush=True)
            for way, words in WAYS.items():
                other = load_file(train(task, Path(place, way.replace(" ", "-")), *words))
                print(f"{max(float((other[name] - one[name]).abs().max()) for name in one):11.1e}", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
