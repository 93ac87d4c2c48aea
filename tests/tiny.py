"""Runs of a second or less: the shipped configuration and the embedded data, made tiny."""

import random
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import small
import torch
import yaml

from seqtrain.commands import run_folder
from seqtrain.commands import train as command
from seqtrain.commands.assembly import Assembly
from seqtrain.config import compose, sources
from seqtrain.contract import Batching
from seqtrain.engine.job import Job
from seqtrain.engine.loader import Loader
from seqtrain.engine.recorder import Recorder
from seqtrain.engine.trainer import Trainer

TASKS = ("translation", "sentiment", "generation", "tagging", "forecasting", "music")
OWN = Path(__file__).parent / "data" / "own"
SPOKEN = {
    "size": 40,
    "valid_size": 4,
    "test_size": 4,
    "shortest": 1,
    "longest": 1,
}  # so many that each label is learned
DRAWN = {"size": 40, "shortest": 1, "longest": 1}
DATA = {
    "dates": {"languages": ["en_US", "de"], "size": 24, "valid_size": 9, "test_size": 7},
    "reviews": {"size": 24, "valid_size": 10, "test_size": 8},
    "places": {"languages": ["en", "ru"], "valid_share": 0.04, "test_share": 0.03},
    "pydocs": {"valid_share": 0.2, "test_share": 0.2},
    "part_writing": {"size": 17, "valid_size": 3, "test_size": 3},
    "scenes": {"size": 12, "valid_size": 5, "test_size": 5},
    "scene_attributes": {"size": 12, "valid_size": 5, "test_size": 5},
    "match_reports": {"size": 24, "valid_size": 9, "test_size": 7},
    "scores": {"train": str(OWN / "scores"), "steps": 2},
    "abc": {"train": str(OWN / "tunes.abc")},
    "pairs": {"train": str(OWN / "pairs.tsv")},
    "labelled": {"train": str(OWN / "labelled.csv")},
    "text": {"train": str(OWN / "text.txt")},
    "lines": {"train": str(OWN / "text.txt")},
    "tagged": {"train": str(OWN / "tagged.conll")},
    "roles": {"size": 24, "valid_size": 9, "test_size": 7},
    "co2": {"valid_share": 0.02, "test_share": 0.03},
    **dict.fromkeys(("digits", "digit_strings"), SPOKEN),
    **dict.fromkeys(("pen_digits", "pen_digit_strings", "pen_digit_images", "pen_digit_lines"), DRAWN),
    **{
        name: dict.fromkeys(("train", "valid", "test"), str(OWN / f"{name}.csv")) for name in ("strokes", "line_images")
    },
    "recordings": dict.fromkeys(("train", "valid", "test"), str(OWN / "recordings.csv")),
    "series": {"train": str(OWN / "series.csv"), "id": "shop", "known": ["holiday"]},
}
if find_spec("pyphen"):
    DATA["hyphenation"] = {"languages": ["lt"], "valid_share": 0.02, "test_share": 0.02}
FRONTENDS = {"scene_attributes": "embedding"}  # where that of the task leaves too few positions for a sentence
LINES = {  # what a model of each task can answer
    "translation": ["May 3, 2021", "Mai", "4. Juni 1999"],
    "sentiment": ["a good film", "good", "not good"],
    "generation": ["the state", "", "of"],
    "music": ["C4+E4 C4+F4", "", "A3 . C8"],
    "tagging": ["def f ( x ) :", "import os", "x"],
    "forecasting": ["1 2 3 4 5 6 7 8", "[8, 7, 6, 5, 4, 3, 2, null]", "1,2,3,4,5,6,7,nan"],
    "handwriting": [str(OWN / "handwriting" / name) for name in ("00.inkml", "01.json", "02.unp")],
    "speech": [str(OWN / "recordings" / f"{number:02}.wav") for number in range(3)],
}
SETTINGS = {
    "device": {"name": "cpu"},
    "model": {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0, "word_dropout": 0.0},
    "trainer": {"batch_size": 4, "max_steps": 6, "eval_every": 3, "log_every": 1},
    "schedule": {"warmup_steps": 0},
    "decode": {"max_length": 12, "beam_size": 2, "length": 6},
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


@contextmanager
def few_topics() -> Iterator[None]:
    """To be entered where data=pydocs and data=roles are tiny; may be entered inside another."""
    few = [f"{sysconfig.get_paths()['stdlib']}/{name}.py" for name in ("bisect", "keyword", "colorsys", "queue")]
    with patch("seqtrain.data.pydocs.topics", TOPICS), patch("seqtrain.data.roles.modules", lambda: few):
        yield


@contextmanager
def no_figures() -> Iterator[None]:
    """matplotlib takes longer than the rest of a tiny run, and so does the sound of an untrained model."""
    plots = {
        name: Mock()
        for name in (
            *("attention", "forecast", "confusion", "reliability", "precision_recall", "tagged", "curves", "roll"),
            *("transcript", "written"),
        )
    }
    with (
        patch.multiple("seqtrain.evaluation.plots", **plots),
        patch.multiple("seqtrain.engine.recorder.Recorder", show=Mock(), keep=Mock()),
        patch("seqtrain.evaluation.synthesis.play", lambda notes: np.zeros(1, np.float32)),
    ):
        yield


@cache
def composed(task: str) -> compose.Composed:
    run_folder.register_resolvers()
    return compose.compose(sources.Configs(), [f"task={task}"])


def config(task: str, axes: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """The configuration of a tiny run. axes: options, such as {"model": "seq2seq"}; changes: values, such as
    trainer__max_steps=3."""
    cfg = deepcopy(composed(task).config)
    for axis, option in (axes or {}).items():
        cfg[axis] = small.read(axis, option)
    data = next((name for name in DATA if small.read("data", name)["_target_"] == cfg["data"]["_target_"]), "")
    if data in FRONTENDS and "frontend" not in (axes or {}):
        cfg["frontend"] = small.read("frontend", FRONTENDS[data])
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
    run_folder.claim(place, cfg, composed(task).schema)
    return cfg


def train(place: Path, task: str, axes: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Trains into a new run folder and returns its metrics.json."""
    command.train(start(place, task, axes, **changes), place)
    return metrics(place)


def metrics(place: Path) -> dict[str, Any]:
    return yaml.safe_load((place / "metrics.json").read_text())


def job(cfg: dict[str, Any], place: Path | None = None) -> tuple[Trainer, Job, dict[str, Sequence[Any]]]:
    """All that one training needs, without its files, and the records of each split."""
    parts = Assembly(cfg, place or Path("nowhere"))
    torch.manual_seed(cfg["seed"])
    made = parts.job
    made.valid = Loader.of(parts.task.examples(parts.records["valid"]), Batching(8, None), None)
    made.recorder = Mock(spec=Recorder)
    return parts.trainer, made, parts.records
