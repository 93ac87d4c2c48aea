"""Compares a search that stops bad jobs with the grid of all combinations: python scripts/search.py FOLDER [SETTING …]

Both train 40 jobs of the same space on `reviews`, one after the other; the settings are added to each, such as
data.size=2000. It prints the best result of both, and how long each took. A folder that is there already is resumed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SPACE = ["backbone=gru,lstm", "model.hidden_size=16,32,64,128", "optimizer.lr=1e-4,3e-4,1e-3,3e-3,1e-2"]
SEARCH = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=40", "hydra.sweeper.pruner=asha"]


def run(folder: Path, words: list[str]) -> tuple[float, float, str]:
    """Returns the best result, the seconds of all jobs together, and how they have ended."""
    begun = (folder / "multirun.yaml").exists()
    overrides = [f"resume={folder}"] if begun else ["-m", f"hydra.sweep.dir={folder}", "task=sentiment", *SPACE, *words]
    subprocess.run([sys.executable, "-m", "seqtrain", *overrides], check=True, stdout=subprocess.DEVNULL)
    rows = [json.loads(file.read_text()) for file in folder.glob("*/job.json")]
    ends = [row["status"] for row in rows]
    counts = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    return max(row["value"] for row in rows if row["status"] == "done"), sum(row["seconds"] for row in rows), counts


def main() -> None:
    folder, settings = Path(sys.argv[1]), sys.argv[2:]
    taken = {}
    for name, words in (("search", SEARCH), ("grid", [])):
        since = time.monotonic()
        best, taken[name], counts = run(folder / name, [*words, *settings])
        print(
            f"{name}: best {best:.4f}, {taken[name]:.0f} s ({counts}); {time.monotonic() - since:.0f} s now", flush=True
        )
    print(f"the search took {taken['search'] / taken['grid']:.0%} of the time of the grid, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
