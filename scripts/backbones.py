"""Trains each backbone on the embedded default of each task, and writes the table of docs/settings/backbones.md:

python scripts/backbones.py                      all that is missing: hours
python scripts/backbones.py music speech         these tasks only
python scripts/backbones.py --page               only the table, from what results/backbones holds

A finished run is a file, results/backbones/TASK/BACKBONE.json; run folders lie in outputs/backbones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT, RUNS = ROOT / "results" / "backbones", ROOT / "outputs" / "backbones"
PAGE = ROOT / "docs" / "settings" / "backbones.md"
BEGIN, END = "<!-- defaults: written by scripts/backbones.py -->\n", "<!-- /defaults -->"
METRICS = {  # the metric that is shown of each task, its name, and the factor that it is shown with
    "translation": ("exact_match", "exact match, %", 100),
    "sentiment": ("accuracy", "accuracy, %", 100),
    "tagging": ("f1", "F1, %", 100),
    "generation": ("bits_per_char", "bits per character", 1),
    "music": ("loss", "nats a frame", 1),
    "speech": ("wer", "WER, %", 100),
    "handwriting": ("cer", "CER, %", 100),
    "summarization": ("rouge_l", "ROUGE-L", 1),
    "captioning": ("bleu", "BLEU", 1),
    "forecasting": ("mae", "MAE, ppm", 1),
}
BACKBONES = {  # what each needs beside the settings of the task
    "gru": (),
    "lstm": (),
    "mingru": ("model.num_layers=2",),
    "transformer": ("model.num_layers=2", "optimizer.lr=1e-3"),
    "tcn": (),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(METRICS)}")
    parser.add_argument("--page", action="store_true", help="only write the table")
    args = parser.parse_args()
    if unknown := set(args.tasks) - set(METRICS):
        parser.error(f"no task {', '.join(sorted(unknown))}; there are {', '.join(METRICS)}")
    if not args.page:
        for task in args.tasks or METRICS:
            for backbone in BACKBONES:
                if not (KEPT / task / f"{backbone}.json").exists():
                    train(task, backbone)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.split(END)[1], encoding="utf-8")


def train(task: str, backbone: str) -> None:
    """Trains one run, or goes on with it, and keeps its figures."""
    folder = RUNS / task / backbone
    if not (folder / "metrics.json").exists():
        words = [f"task={task}", f"backbone={backbone}", *BACKBONES[backbone], "seed=0", "device.threads=1"]
        words = [*words, f"hydra.run.dir={folder}"]
        if (folder / "checkpoints" / "last").exists():
            words = [f"resume={folder}"]
        subprocess.run([sys.executable, "-m", "seqtrain", *words], cwd=ROOT, check=True)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    found = {key: metrics[key] for key in ("valid", "test", "baselines", "parameters", "data", "versions")}
    file = KEPT / task / f"{backbone}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def table() -> str:
    """A row for each task that has been trained, with the figure of the test split of each backbone."""
    lines = [f"| task, metric | {' | '.join(f'`{name}`' for name in BACKBONES)} |", "|---" * (len(BACKBONES) + 1) + "|"]
    for task, (metric, name, factor) in METRICS.items():
        if (KEPT / task).exists():
            cells = [cell(KEPT / task / f"{backbone}.json", metric, factor) for backbone in BACKBONES]
            lines.append(f"| `{task}`, {name} | {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def cell(file: Path, metric: str, factor: int) -> str:
    if not file.exists():
        return ""
    value = factor * json.loads(file.read_text(encoding="utf-8"))["test"][metric]
    return f"{value:.{2 if value < 10 else 1}f}"


if __name__ == "__main__":
    main()
