"""Runs of a second or less: the shipped configuration and the embedded data, made tiny."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import small
import torch
import yaml

from seqtrain import assemble, folder, run
from seqtrain.batch import Batching
from seqtrain.checkpoint import Checkpoints
from seqtrain.config import build, compose, sources
from seqtrain.record import Recorder
from seqtrain.train import Job, Trainer

TASKS = ("translation", "sentiment", "generation", "forecasting")
OWN = Path(__file__).parent / "data" / "own"
DATA = {
    "dates": {"languages": ["en_US", "de"], "size": 24, "valid_size": 9, "test_size": 7},
    "reviews": {"size": 24, "valid_size": 10, "test_size": 8},
    "places": {"languages": ["en", "ru"], "valid_share": 0.04, "test_share": 0.03},
    "pydocs": {"valid_share": 0.2, "test_share": 0.2},
    "pairs": {"train": str(OWN / "pairs.tsv")},
    "labelled": {"train": str(OWN / "labelled.csv")},
    "text": {"train": str(OWN / "text.txt")},
    "co2": {"valid_share": 0.02, "test_share": 0.9},
    "series": {"train": str(OWN / "series.csv"), "id": "shop", "known": ["holiday"]},
}
SETTINGS = {
    "device": {"name": "cpu"},
    "model": {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0},
    "trainer": {"batch_size": 4, "max_steps": 6, "eval_every": 3, "log_every": 1},
    "schedule": {"warmup_steps": 0},
    "decode": {"max_length": 12, "beam_size": 2},
    "task": {"window": 16, "context": 8, "horizon": 4, "period": 4, "loss": "mse"},
}
HARD = {  # settings that make a resumption difficult
    "model__dropout": 0.3,
    "trainer__ema": 0.9,
    "trainer__average": 2,
    "trainer__accumulate": 2,
    "trainer__eval_every": 3,
    "trainer__max_steps": 8,
    "schedule__patience": 0,
}
WORDS = ["the", "state", "of", "a", "gated", "unit", "is", "what", "was", "read", "and", "kept"]
TOPICS = {str(i): "\n".join(" ".join(random.Random(10 * i + j).sample(WORDS, 9)) for j in range(6)) for i in range(9)}

few_topics = patch("seqtrain.data.pydocs.topics", TOPICS)  # to be entered where data=pydocs is tiny


@contextmanager
def no_figures() -> Iterator[None]:
    """matplotlib takes longer than the rest of a tiny run."""
    plots = {name: Mock() for name in ("attention", "forecast", "confusion")}
    with patch.multiple("seqtrain.plots", **plots), patch("seqtrain.record.Recorder.show"):
        yield


@cache
def composed(task: str) -> compose.Composed:
    folder.register_resolvers()
    return compose.compose(sources.Configs(), [f"task={task}"])


def config(task: str, axes: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """The configuration of a tiny run. axes: options, such as {"model": "seq2seq"}; changes: values, such as
    trainer__max_steps=3."""
    cfg = deepcopy(composed(task).config)
    for axis, option in (axes or {}).items():
        cfg[axis] = small.read(axis, option)
    data = next((name for name in DATA if small.read("data", name)["_target_"] == cfg["data"]["_target_"]), None)
    for section, settings in (SETTINGS | {"data": DATA.get(data, {})}).items():
        cfg[section] |= {key: value for key, value in settings.items() if key in cfg[section]}
    for name, value in changes.items():
        *section, key = name.split("__")
        (cfg[section[0]] if section else cfg)[key] = value
    return cfg


def start(place: Path, task: str, axes: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """The configuration, kept in a new run folder."""
    cfg = config(task, axes, **changes)
    place.mkdir(parents=True)
    folder.claim(place, cfg, composed(task).schema)
    return cfg


def train(place: Path, task: str, axes: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Trains into a new run folder and returns its metrics.json."""
    run.train(start(place, task, axes, **changes), place)
    return metrics(place)


def metrics(place: Path) -> dict[str, Any]:
    return yaml.safe_load((place / "metrics.json").read_text())


def job(cfg: dict[str, Any], place: Path | None = None) -> tuple[Trainer, Job, dict[str, Sequence[Any]]]:
    """All that one training needs, without its files, and the records of each split."""
    task = build(cfg["task"])
    source = assemble.open_data(cfg, task)
    records = {split: assemble.read(source, split) for split in ("train", "valid", "test")}
    torch.manual_seed(cfg["seed"])
    task.fit(records["train"])
    trainer = build(cfg["trainer"])
    checkpoints = Checkpoints(place or Path("nowhere"))
    made = assemble.open_job(cfg, torch.device("cpu"), task, trainer, records, checkpoints, baseline=lambda: "")
    made.valid = task.loader(records["valid"], Batching(8, None), None)
    made.recorder = Mock(spec=Recorder)
    return trainer, made, records
