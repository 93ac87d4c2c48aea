"""Checkpoints: written under a temporary name, flushed and renamed; checksummed; read without unpickling anything.

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
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from seqtrain.config import UserError, in_brief
from seqtrain.engine.sharding import like
from seqtrain.storage.disk import Folder
from seqtrain.trees import tensors

FORMAT = 1
FILES = ("model.safetensors", "training.safetensors", "training.json", "task.json", "config.yaml")
log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    weights: dict[str, Tensor]  # to be used, perhaps averaged
    training: Any  # nested dicts, lists and tuples of tensors and JSON values: what a resumed training needs
    task: dict[str, Any]  # what the task learned from the data


class Checkpoints:
    """The checkpoints of one run, of which the newest `keep` and the best one are kept."""

    def __init__(self, run: Path, keep: int = 1):
        self.run = run
        self.files = Folder(run)
        self.folder = run / "checkpoints"  # for messages
        self.keep = keep

    def save(self, step: int, checkpoint: Checkpoint, best: bool) -> None:
        """Writes `step-N` and points `last` to it, and `best` too if it is the best.

        However the process ends, `last` and `best` name complete checkpoints: they change when the new one is written,
        and only then are old ones removed.
        """
        of_same_step = [name for name in self.steps() if parse_name(name)[0] == step]  # the newest first
        name = f"step-{step}.{parse_name(of_same_step[0])[1] + 1}" if of_same_step else f"step-{step}"
        self.write(name, checkpoint)
        if best or self.named("best") in of_same_step:  # the weights are the same, the rest may differ
            self.files.replace("checkpoints/best", name.encode() + b"\n")
        self.files.replace("checkpoints/last", name.encode() + b"\n")  # after `best`, on which a resumed run relies
        for old in of_same_step:
            self.remove(old)
        self.drop_old()

    def write(self, name: str, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint into a folder that gets its name when it is complete."""
        tree, tensors = pack(checkpoint.training)
        files = {
            "model.safetensors": save({name: weight.contiguous() for name, weight in checkpoint.weights.items()}),
            "training.safetensors": save(tensors),
            "training.json": json.dumps(tree).encode(),
            "task.json": json.dumps(checkpoint.task, ensure_ascii=False).encode(),
            "config.yaml": self.files.read("config.yaml"),
        }
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = {"format": FORMAT, "versions": versions(), "sha256": sums}
        files["checksums.json"] = json.dumps(manifest, indent=1).encode()
        new = f"checkpoints/.{name}"
        self.files.make("checkpoints")
        try:
            self.files.remove(new)
            self.files.make(new)
            for file, content in files.items():
                self.files.write(f"{new}/{file}", content)
            self.files.sync(new)
            self.files.rename(new, name)
        except OSError:
            with suppress(OSError):
                self.files.remove(new)  # the disk may be full
            raise

    def write_bad(self, step: int, checkpoint: Checkpoint) -> None:
        """Writes `bad-step-N`, the state before a step whose loss or gradient was not finite. Only the last is kept."""
        for name in self.bad_steps():
            self.remove(name)
        self.write(f"bad-step-{step}", checkpoint)

    def steps(self) -> list[str]:
        """Returns the names of the step folders, the newest first."""
        names = [name for name in self.files.names("checkpoints") if parse_name(name)[0] >= 0]
        return sorted(names, key=parse_name, reverse=True)

    def bad_steps(self) -> list[str]:
        """Returns the names of the folders that `write_bad` wrote."""
        names = self.files.names("checkpoints")
        return [name for name in names if name.startswith("bad-") and parse_name(name.removeprefix("bad-"))[0] >= 0]

    def drop_old(self) -> None:
        """Removes all but the newest `keep` checkpoints, the best and the last. (After a damaged one, a resumed run
        goes on from an older one: the last need not have the highest step.)"""
        kept = {self.named("best"), self.named("last")}
        for name in self.steps()[self.keep :]:
            if name not in kept:
                self.remove(name)

    def remove(self, name: str) -> None:
        """Removes a checkpoint. It is renamed first, so that half of it is never taken for a checkpoint."""
        try:
            self.files.remove(f"checkpoints/.{name}")
            self.files.rename(f"checkpoints/{name}", f".{name}")
            self.files.remove(f"checkpoints/.{name}")
        except OSError as error:
            log.warning("%s: it cannot be removed (%s)", self.folder / name, error.strerror)

    def clean(self) -> None:
        """Removes what a killed run left half written or half removed."""
        for name in self.files.names("checkpoints"):
            if name.startswith((".step-", ".bad-step-", ".last", ".best")):
                self.files.remove(f"checkpoints/{name}")

    def named(self, pointer: str) -> str | None:
        """Returns the name of the checkpoint that the file `last` or `best` holds; None where there is none."""
        try:
            return self.files.read(f"checkpoints/{pointer}", limit=4096).decode().strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: damaged (%s)", self.folder / pointer, error)
            return None

    def load(self, pointer: str) -> Checkpoint:
        """Reads the checkpoint that `last` or `best` names; where it is damaged, the newest complete one, with a
        warning. Raises `UserError` where none is complete."""
        name = self.named(pointer)
        problem = "nothing"
        candidates = self.steps()
        candidates.sort(key=lambda step: step != name)  # the named one first, then the newest (sorting is stable)
        if candidates and candidates[0] != name:
            log.warning("%s names no checkpoint; trying the newest", self.folder / pointer)
        for step in candidates:
            try:
                checkpoint = self.read(step)
                check_finite(checkpoint)
                return checkpoint
            except DAMAGE as error:
                problem = str(error) or type(error).__name__
                log.warning("%s: damaged (%s); trying the one before", self.folder / step, problem)
        raise UserError(f"{self.run}: there is no whole checkpoint in it ({problem})")

    def load_best(self) -> Checkpoint:
        """Reads the best checkpoint, or the last one of a run that has not been evaluated yet."""
        return self.load("best" if self.files.has("checkpoints/best") else "last")

    def read(self, name: str) -> Checkpoint:
        """Reads and verifies one step folder. Raises one of `DAMAGE` where it differs from what was written."""
        record = json.loads(self.files.read(f"checkpoints/{name}/checksums.json", limit=2**16))
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, of seqtrain {record['versions']['seqtrain']}; "
                             f"this version reads {FORMAT}")  # fmt: skip
        files = {}
        for file in FILES:
            files[file] = self.files.read(f"checkpoints/{name}/{file}")
            if hashlib.sha256(files[file]).hexdigest() != record["sha256"][file]:
                raise ValueError(f"{file} differs from its checksum")
        training = unpack(json.loads(files["training.json"]), load(files["training.safetensors"]))
        return Checkpoint(load(files["model.safetensors"]), training, json.loads(files["task.json"]))

    def restore(self, use: Callable[[Any], Any], state: Any) -> Any:
        """Calls use(state) with a part of a checkpoint. Any exception becomes a `UserError`: a checkpoint of somebody
        else may have right checksums and yet any content."""
        try:
            return use(state)
        except UserError:
            raise
        except Exception as error:
            problem = in_brief(error if type(error) is ValueError else f"{type(error).__name__}: {error}")
            raise UserError(
                f"{self.run}: the checkpoint, of seqtrain {self.version()}, does not fit this configuration ({problem})"
            ) from error

    def version(self) -> str:
        """Returns the version of seqtrain that has written the last checkpoint."""
        try:
            record = json.loads(self.files.read(f"checkpoints/{self.named('last')}/checksums.json", limit=2**16))
            return in_brief(record["versions"]["seqtrain"], 20)
        except DAMAGE:
            return "an unknown version"


# What reading a damaged checkpoint raises.
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError, SafetensorError)


def parse_name(name: str) -> tuple[int, int]:
    """Returns (step, count of saves of that step) for the name of a step folder; (-1, 0) for any other name."""
    match = re.fullmatch(r"step-([0-9]{1,18})(?:\.([0-9]{1,18}))?", name)
    return (int(match[1]), int(match[2] or 1)) if match else (-1, 0)


def check_finite(checkpoint: Checkpoint) -> None:
    """Raises ValueError for a weight that is not finite, or NaN in the state of the training: no run saves such. (The
    moments of an optimizer may be infinite.)"""
    if any(tensor.is_floating_point() and tensor.isnan().any() for tensor in tensors(checkpoint.training)):
        raise ValueError("the training state holds NaN")
    for name, weight in (*checkpoint.weights.items(), *checkpoint.training.get("weights", {}).items()):
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise ValueError(f"the weight {name} is no number")


@cache
def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results may depend on."""
    names = ("seqtrain", "torch", "numpy", "babel", "sacrebleu", "tokenizers")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Returns parameters and buffers by name; tied parameters only once."""
    return {name: p.detach() for name, p in model.named_parameters()} | dict(model.named_buffers())


def put_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copies weights into a model. Raises ValueError where names, shapes or types differ."""
    for name, weight in weights_of(model).items():
        new = weights.get(name)
        if new is None or new.shape != weight.shape or new.dtype != weight.dtype:
            found = "nothing" if new is None else f"{tuple(new.shape)} of {new.dtype}"
            raise ValueError(f"expected {name} of shape {tuple(weight.shape)} of {weight.dtype}, found {found}")
        if not (new := like(new, weight)).is_meta:  # see `outline`
            weight.copy_(new)


def random_state(device: torch.device) -> dict[str, Any]:
    """Returns the state of torch's random number generators, which dropout draws from."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["random"].cpu())
    if state["random_cuda"]:
        torch.cuda.set_rng_state(state["random_cuda"][0].cpu(), device)


def pack(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Splits nested dicts, lists and tuples into a JSON value and the tensors by name; see `unpack`."""
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
        if isinstance(node, dict):  # as a list of pairs: keys need not be texts, as they are in JSON
            return {"items": [[key, walk(value)] for key, value in node.items()]}
        return node

    return walk(tree), tensors


def unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Joins what `pack` has split."""
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
