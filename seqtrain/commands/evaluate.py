"""mode=evaluate: scores the validation and the test split with the weights of a run folder, beside the baselines."""

from __future__ import annotations

import json
from pathlib import Path

from seqtrain.commands.assembly import Config, baseline_lines
from seqtrain.commands.loaded import Loaded
from seqtrain.commands.outputs import open_text_output
from seqtrain.engine.recorder import line


def evaluate(cfg: Config, checkpoint: Path) -> None:
    """Scores the validation and the test split with the weights of a run folder, beside the baselines."""
    loaded = Loaded(cfg, checkpoint)
    loaded.warn_of_other_data()
    scores = {}
    for split in ("valid", "test"):
        scores[split] = loaded.evaluate(split)
        print(f"{split:6} {line(scores[split])}")
        for text in baseline_lines(loaded.baselines(split)):
            print(f"{'':6} {text}")
    for metric, signature in loaded.task.signatures().items():
        print(f"{metric}: {signature}")
    if cfg["output"] not in (None, "-"):
        with open_text_output(cfg) as out:
            print(json.dumps(scores, indent=1), file=out)
