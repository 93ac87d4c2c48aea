"""Checkpoints: written beside, flushed and renamed, checksummed, and read without unpickling anything.

A checkpoint is a folder `step-N` of `model.safetensors` (the weights to use), `training.safetensors` and
`training.json` (all that a resumed training needs), `task.json` (what the task learned from the data),
`config.yaml` and `checksums.json`, which also names versions; a step that is saved again is `step-N.2`. The files
`last` and `best` beside the folders name one of them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import platform
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from seqtrain.config import UserError, in_brief
from seqtrain.disk import contents, replace, sync, write

FORMAT = 1
FILES = ("model.safetensors", "training.safetensors", "training.json", "task.json", "config.yaml")
log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    weights: dict[str, Tensor]
    training: Any
    task: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: the newest `keep` and the best one stay."""

    def __init__(self, run: Path, keep: int = 1):
        self.run = run
        self.folder = run / "checkpoints"
        self.keep = keep

    def save(self, step: int, checkpoint: Checkpoint, best: bool) -> None:
        """Writes `step-N` and points `last`, and perhaps `best`, to it. Whole checkpoints are all there ever is: a
        pointer moves when what it names is complete, and only what no pointer names is removed."""
        same = [path.name for path in self.steps() if number(path)[0] == step]  # the newest first
        name = f"step-{step}.{number(Path(same[0]))[1] + 1}" if same else f"step-{step}"
        self.write(name, checkpoint)
        if best or self.named("best") in same:  # the same weights, perhaps with another record of them
            replace(self.folder / "best", name.encode() + b"\n")
        replace(self.folder / "last", name.encode() + b"\n")  # at last: what it names has the best one on record
        for path in self.steps():
            if path.name in same:
                self.remove(path)
        self.drop_old()

    def write(self, name: str, checkpoint: Checkpoint) -> None:
        """Writes a folder that takes its name when it is complete."""
        tree, tensors = pack(checkpoint.training)
        files = {
            "model.safetensors": save({name: weight.contiguous() for name, weight in checkpoint.weights.items()}),
            "training.safetensors": save(tensors),
            "training.json": json.dumps(tree).encode(),
            "task.json": json.dumps(checkpoint.task, ensure_ascii=False).encode(),
            "config.yaml": (self.run / "config.yaml").read_bytes(),
        }
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = {"format": FORMAT, "versions": versions(), "sha256": sums}
        files["checksums.json"] = json.dumps(manifest, indent=1).encode()
        new = self.folder / f".{name}"
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            for file, content in files.items():
                write(new / file, content)
            sync(new)
            new.rename(self.folder / name)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)  # a full disk has better uses for half a checkpoint
            raise
        sync(self.folder)

    def write_bad(self, step: int, checkpoint: Checkpoint) -> None:
        """Writes `bad-step-N`, what a step began with that went wrong; the last such one stays."""
        for path in self.folder.glob("bad-step-*"):
            self.remove(path)
        self.write(f"bad-step-{step}", checkpoint)

    def steps(self) -> list[Path]:
        """The step folders, the newest first."""
        return sorted((path for path in self.folder.glob("step-*") if number(path)[0] >= 0), key=number, reverse=True)

    def drop_old(self) -> None:
        kept = {self.named("best"), self.named("last")}  # the last may not be the newest: after a damaged one
        for path in self.steps()[self.keep :]:
            if path.name not in kept:
                self.remove(path)

    def remove(self, path: Path) -> None:
        """Removes a folder, which is no checkpoint any more from the first moment on."""
        gone = path.with_name(f".{path.name}")
        shutil.rmtree(gone, ignore_errors=True)
        try:
            path.rename(gone)
        except OSError as error:
            log.warning("%s: it cannot be removed (%s)", path, error.strerror)
        shutil.rmtree(gone, ignore_errors=True)

    def clean(self) -> None:
        """Removes what a killed run left half written or half removed."""
        for path in self.folder.glob(".*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def named(self, pointer: str) -> str | None:
        try:
            return contents(self.folder / pointer, self.run, limit=4096).decode().strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: damaged (%s)", self.folder / pointer, error)
            return None

    def load(self, pointer: str) -> Checkpoint:
        """The checkpoint that a pointer names; where it is damaged, the newest whole one, which is said."""
        name, problem = self.named(pointer), "nothing"
        candidates = self.steps()
        candidates.sort(key=lambda path: path.name != name)  # stable: the named one, then the newest
        if candidates and candidates[0].name != name:
            log.warning("%s names no checkpoint; trying the newest", self.folder / pointer)
        for path in candidates:
            try:
                return read(path, self.run)
            except DAMAGE as error:
                problem = str(error) or type(error).__name__
                log.warning("%s: damaged (%s); trying the one before", path, problem)
        raise UserError(f"{self.run}: there is no whole checkpoint in it ({problem})")

    def restore(self, take: Callable[[Any], Any], kept: Any) -> Any:
        """Hands what was read to what makes use of it. Its checksum is right; its content may be a stranger's."""
        try:
            return take(kept)
        except UserError:
            raise
        except Exception as error:
            problem = in_brief(f"{type(error).__name__}: {error}")
            raise UserError(f"{self.run}: the checkpoint does not fit this configuration ({problem})") from error


DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError, SafetensorError)


def number(path: Path) -> tuple[int, int]:
    """The step of a step folder, -1 where it is none, and how often the step had been saved."""
    match = re.fullmatch(r"step-([0-9]{1,18})(?:\.([0-9]{1,18}))?", path.name)
    return (int(match[1]), int(match[2] or 1)) if match else (-1, 0)


def read(path: Path, root: Path | None = None) -> Checkpoint:
    """Reads and verifies one step folder, whose files lie in `root`. Raises one of DAMAGE where it is not what was
    written."""
    root = root or path
    record = json.loads(contents(path / "checksums.json", root, limit=2**16))
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']}, this version reads {FORMAT}")
    files = {}
    for file in FILES:
        files[file] = contents(path / file, root)
        if hashlib.sha256(files[file]).hexdigest() != record["sha256"][file]:
            raise ValueError(f"{file} differs from its checksum")
    training = unpack(json.loads(files["training.json"]), load(files["training.safetensors"]))
    return Checkpoint(load(files["model.safetensors"]), training, json.loads(files["task.json"]))


@cache
def versions() -> dict[str, str]:
    """Of Python and of the packages that a result may depend on."""
    names = ("seqtrain", "torch", "numpy", "babel", "statsmodels", "sacrebleu", "tokenizers")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; tied ones stand once."""
    return {name: p.detach() for name, p in model.named_parameters()} | dict(model.named_buffers())


def put_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copies weights into a model of the very same shape."""
    for name, own in weights_of(model).items():
        found = weights.get(name)
        if found is None or found.shape != own.shape or found.dtype != own.dtype:
            shape = "nothing" if found is None else f"{tuple(found.shape)} of {found.dtype}"
            raise UserError(f"checkpoint: expected {name} of shape {tuple(own.shape)} of {own.dtype}, found {shape}")
        own.copy_(found)


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every generator that this process draws from while it trains."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["random"].cpu())
    if state["random_cuda"]:
        torch.cuda.set_rng_state(state["random_cuda"][0].cpu(), device)


def pack(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Splits nested dicts, lists and tuples into JSON and the tensors in it."""
    tensors: dict[str, Tensor] = {}

    def walk(node: Any) -> Any:
        if isinstance(node, Tensor):
            name = str(len(tensors))
            tensors[name] = node.detach().clone().contiguous()
            return {"tensor": name}
        if isinstance(node, tuple):
            return {"tuple": [walk(item) for item in node]}
        if isinstance(node, list):
            return [walk(item) for item in node]
        if isinstance(node, dict):  # as pairs: JSON knows no keys but strings
            return {"items": [[key, walk(value)] for key, value in node.items()]}
        return node

    return walk(tree), tensors


def unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The reverse of `pack`."""
    makers: dict[str, Callable[[Any], Any]] = {
        "tensor": lambda name: tensors[name],
        "tuple": lambda items: tuple(walk(item) for item in items),
        "items": lambda items: {key: walk(value) for key, value in items},
    }

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            ((kind, content),) = node.items()
            return makers[kind](content)
        return [walk(item) for item in node] if isinstance(node, list) else node

    return walk(tree)
