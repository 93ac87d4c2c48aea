"""Checkpoints: written beside, flushed and renamed, checksummed, and read without unpickling anything.

A checkpoint is a folder `step-N` of `model.safetensors` (the weights to use), `training.safetensors` and
`training.json` (all that a resumed training needs), `task.json` (what the task learned from the data),
`config.yaml` and `checksums.json`. The files `last` and `best` beside the folders name one of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from seqtrain.config import UserError

FORMAT = 1
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
        """Writes `step-N` and points `last`, and perhaps `best`, to it. Whole checkpoints are all there ever is."""
        tree, tensors = pack(checkpoint.training)
        files = {
            "model.safetensors": save({name: weight.contiguous() for name, weight in checkpoint.weights.items()}),
            "training.safetensors": save(tensors),
            "training.json": json.dumps(tree).encode(),
            "task.json": json.dumps(checkpoint.task, ensure_ascii=False).encode(),
            "config.yaml": (self.run / "config.yaml").read_bytes(),
        }
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files["checksums.json"] = json.dumps({"format": FORMAT, "sha256": sums}, indent=1).encode()
        name = f"step-{step}"
        new = self.folder / f".{name}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for file, content in files.items():
            write(new / file, content)
        if (self.folder / name).exists():  # the same step again: the same weights, perhaps another record of them
            shutil.rmtree(self.folder / name)
        new.rename(self.folder / name)
        self.point("last", name)
        if best:
            self.point("best", name)
        self.drop_old()

    def point(self, pointer: str, name: str) -> None:
        write(self.folder / f".{pointer}", name.encode() + b"\n")
        (self.folder / f".{pointer}").replace(self.folder / pointer)

    def steps(self) -> list[Path]:
        """The step folders, the newest first."""
        found = [path for path in self.folder.glob("step-*") if path.name[5:].isdigit()]
        return sorted(found, key=lambda path: -int(path.name[5:]))

    def drop_old(self) -> None:
        kept = {self.named("best"), self.named("last")}  # the last may not be the newest: after a damaged one
        for path in self.steps()[self.keep :]:
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def named(self, pointer: str) -> str | None:
        file = self.folder / pointer
        return file.read_text().strip() if file.exists() else None

    def load(self, pointer: str) -> Checkpoint:
        """The checkpoint that a pointer names; where it is damaged, the newest whole one, which is said."""
        name, problem = self.named(pointer), "nothing"
        candidates = self.steps()
        candidates.sort(key=lambda path: path.name != name)  # stable: the named one, then the newest
        for path in candidates:
            try:
                checkpoint = read(path)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                problem = str(error)
                log.warning("%s: damaged (%s); trying the one before", path, error)
                continue
            return checkpoint
        raise UserError(f"{self.run}: there is no whole checkpoint in it ({problem})")


def read(path: Path) -> Checkpoint:
    """Reads and verifies one step folder. Raises ValueError or OSError where it is not what was written."""
    record = json.loads((path / "checksums.json").read_bytes())
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']}, this version reads {FORMAT}")
    files = {}
    for file, checksum in record["sha256"].items():
        files[file] = (path / Path(file).name).read_bytes()
        if hashlib.sha256(files[file]).hexdigest() != checksum:
            raise ValueError(f"{file} differs from its checksum")
    training = unpack(json.loads(files["training.json"]), load(files["training.safetensors"]))
    return Checkpoint(load(files["model.safetensors"]), training, json.loads(files["task.json"]))


def write(file: Path, content: bytes) -> None:
    """Writes a file through to the disk."""
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; tied ones stand once."""
    return {name: p.detach() for name, p in model.named_parameters()} | dict(model.named_buffers())


def put_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copies weights into a model of the very same shape."""
    for name, own in weights_of(model).items():
        found = weights.get(name)
        if found is None or found.shape != own.shape:
            shape = "nothing" if found is None else f"{tuple(found.shape)}"
            raise UserError(f"checkpoint: expected {name} of shape {tuple(own.shape)}, found {shape}")
        own.copy_(found)


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
