"""Times what mode=export writes against mode=predict, in turn, one thread each: python scripts/runner.py RUN

The lines are the inputs in predictions.csv of RUN, repeated. A command is timed with 600 and with 6,000 of them, from
its start to its end; the difference of both is the time of 5,400 lines without the start.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median

COUNTS = (600, 6000)
TURNS = 5


def main() -> None:
    run = Path(sys.argv[1]).absolute()
    seqtrain = [sys.executable, "-m", "seqtrain"]
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        inputs = [row[0] for row in list(csv.reader(file))[1:]]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for count in COUNTS:
            lines = "".join(f"{line}\n" for line in islice(cycle(inputs), count))
            (folder / f"{count}.txt").write_text(lines, encoding="utf-8")
        commands = {"predict": [*seqtrain, "mode=predict", f"checkpoint={run}", "input=-", "device.threads=1"]}
        for name, quantize in {"float32": "false", "int8": "true"}.items():
            words = ["mode=export", f"checkpoint={run}", f"output={folder / name}", f"quantize={quantize}"]
            subprocess.run([*seqtrain, *words], check=True)
            commands[name] = [sys.executable, str(folder / name / "run.py")]
        seconds: dict[tuple[str, int], list[float]] = {(name, count): [] for name in commands for count in COUNTS}
        for _ in range(TURNS):
            for name, count in seconds:
                with (folder / f"{count}.txt").open() as lines:
                    since = time.monotonic()
                    subprocess.run(commands[name], stdin=lines, stdout=subprocess.DEVNULL, check=True)
                    seconds[name, count].append(time.monotonic() - since)
    taken = {key: median(some) for key, some in seconds.items()}
    for name in commands:
        few, many = (taken[name, count] for count in COUNTS)
        speeds = [taken["predict", COUNTS[0]] / few, taken["predict", COUNTS[1]] / many]
        speeds.append((taken["predict", COUNTS[1]] - taken["predict", COUNTS[0]]) / (many - few))
        ratios = ", ".join(f"{speed:.2f}" for speed in speeds)
        print(f"{name}: {few:.2f} s and {many:.2f} s; times as fast as predict: {ratios} (without the start)")


if __name__ == "__main__":
    main()
