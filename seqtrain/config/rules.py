"""Rules between settings, each of them valid alone."""

import os
import re
from typing import Any

from seqtrain.config import expanded, near_path
from seqtrain.config.spelling import did_you_mean


def check_together(config: dict[str, Any]) -> list[str]:
    """Returns a message for each broken rule. A configuration that is incomplete may lack whole sections."""
    trainer = config.get("trainer") or {}
    decode = config.get("decode") or {}
    return [
        *too_many_processes(config),
        *input_and_name(config),
        *batch_size_and_duration(trainer),
        *longer_than_the_bound(decode),
        *a_fold_of_those_there_are(config.get("data") or {}),
        *searched_or_sampled(decode),
    ]


def too_many_processes(config: dict[str, Any]) -> list[str]:
    """Refuses far more threads, processes or jobs than this machine has cores: the system might kill the run."""
    cores = os.cpu_count() or 1  # None: unknown
    device = config.get("device") or {}
    settings = {  # (value, how many are allowed on a machine with few cores)
        "device.threads": (device.get("threads"), 256),
        "device.processes": (device.get("processes"), 16),
        "jobs": (config["jobs"], 64),
    }
    return [
        f"{key}={value}: expected at most {max(allowed, 4 * cores)} on a machine with {cores} cores"
        for key, (value, allowed) in settings.items()
        if isinstance(value, int) and value > max(allowed, 4 * cores)
    ]


def input_and_name(config: dict[str, Any]) -> list[str]:
    """The input must be a file, and the name of the run must be fit for the name of a folder."""
    path, name = config["input"], config["name"]
    problems = []
    if path not in (None, "-") and not os.path.exists(expanded(path)):
        problems.append(f"input={path}: there is no such file{did_you_mean(near_path(expanded(path)))}")
    if path is not None and os.path.isdir(expanded(path)):
        problems.append(f"input={path}: this is a folder; expected a file")
    if name is not None and not re.fullmatch(r"[\w.-]+", name):
        problems.append(
            f"name={name}: expected letters, digits, '.', '_' and '-' only: it becomes part of a folder's name"
        )
    return problems


def batch_size_and_duration(trainer: dict[str, Any]) -> list[str]:
    """Exactly one setting says how large a batch is, and at least one says when training ends. (A trainer of the user's
    own may lack these keys.)"""
    problems = []
    sizes = [key for key in ("batch_size", "batch_tokens") if trainer.get(key) is not None]
    if {"batch_size", "batch_tokens"} <= trainer.keys() and len(sizes) != 1:
        cure = "set one" if not sizes else "add trainer.batch_size=null or trainer.batch_tokens=null"
        state = "both are" if sizes else "neither is"
        problems.append(f"exactly one of trainer.batch_size and trainer.batch_tokens must be set, and {state}: {cure}")
    if {"epochs", "max_steps"} <= trainer.keys() and trainer["epochs"] is None and trainer["max_steps"] is None:
        problems.append("one of trainer.epochs and trainer.max_steps must be set: neither says when training ends")
    return problems


def longer_than_the_bound(decode: dict[str, Any]) -> list[str]:
    """No output is longer than its bound."""
    least, most = decode.get("min_length", 0), decode.get("max_length")
    if most is not None and least > most:
        return [f"decode.min_length={least} is more than decode.max_length={most} allows"]
    return []


def searched_or_sampled(decode: dict[str, Any]) -> list[str]:
    """Some settings choose among samples, which a temperature draws; others change the search."""
    problems, temperature, mbr = [], decode.get("temperature"), decode.get("mbr")
    if mbr and not temperature:
        problems.append(f"decode.mbr={mbr} chooses among samples: add decode.temperature=1")
    if mbr and decode.get("n_best", 1) > mbr:
        problems.append(f"decode.n_best={decode['n_best']} is more than the decode.mbr={mbr} samples")
    if temperature and decode.get("glossary") is not None:
        problems.append("decode.glossary goes with a search, and decode.temperature draws samples: leave one out")
    return problems


def a_fold_of_those_there_are(data: dict[str, Any]) -> list[str]:
    """A fold is one of several."""
    folds, fold = data.get("folds"), data.get("fold")
    if fold is not None and fold > (folds or 0):
        return [f"data.fold={fold}: " + (f"there are data.folds={folds}" if folds else "add data.folds=10, say")]
    return []
