"""What a stranger can do to a run folder: to each key of its configuration, and each file, value and tensor in it."""

import copy
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file


class Case(NamedTuple):
    """kind: what is counted together. spoil: changes a run folder, beside which lies what it must not reach."""

    kind: str
    name: str
    spoil: Callable[[Path, Path], object]


# ---------------------------------------------------------------------------------------------------- configurations

VALUES = {
    "wrong type": ["[]", "{a: 1}", "''", "x", "true", "null", "[[1], x]", "é"],
    "huge": ["1000000000000000000", "1e300", "123456789012345678901234567890", "-1", "1000000"],
    "no number": [".nan", ".inf", "[.nan]"],
    "a path": ["OUT/file", "/dev/zero", "OUT/pipe", "OUT/*", "~/.profile"],
    "code": ["os.system", "${oc.env:HOME}", "!!python/object/apply:os.system [touch OUT/ran]", "OUT.ran", "torch.load"],
}
COMMENTS = ("KEPT", "", "# dict or list or str or int or float or bool or null: anything")


def keys(run: Path, common: bool) -> Iterator[Case]:
    """Every line of config.yaml with two hostile values of each kind. common: also those lines that all tasks share."""
    lines, comments = (run / "config.yaml").read_text().splitlines(), cycle(COMMENTS)
    choices = {kind: cycle(values) for kind, values in VALUES.items()}
    section = ""
    for place, line in enumerate(lines):
        key = line.partition(":")[0]
        section = section if line.startswith(" ") else key
        if common or section in ("task", "model", "data"):
            for kind, values in choices.items():
                for value in [next(values), next(values)]:
                    comment = next(comments)
                    yield Case(f"key, {kind}", f"{section}, {line.strip()} as {value} {comment}",
                               lambda run, out, n=place, v=value, c=comment: set_key(run, out, n, v, c))  # fmt: skip
            yield Case("key, missing", line, lambda run, out, n=place: set_lines(run, n, []))
    for added in ("output: OUT/file", "input: OUT/file", "mode: train", "trust: true", "hydra: {run: {dir: OUT}}"):
        yield Case("key, added", added, lambda run, out, a=added: set_lines(run, 0, [a.replace("OUT", str(out))], 0))


def set_key(run: Path, out: Path, place: int, value: str, comment: str) -> None:
    line = (run / "config.yaml").read_text().splitlines()[place]
    key, _, rest = line.partition(":")
    kept = rest.partition("#")[1] + rest.partition("#")[2] if comment == "KEPT" else comment
    set_lines(run, place, [f"{key}: {value.replace('OUT', str(out))}  {kept}"])


def set_lines(run: Path, place: int, new: list[str], count: int = 1) -> None:
    lines = (run / "config.yaml").read_text().splitlines()
    lines[place : place + count] = new
    (run / "config.yaml").write_text("\n".join(lines) + "\n")


# ---------------------------------------------------------------------------------------------------- files

NEW = (
    *(".config.yaml", ".metrics.json", ".data.json", "figures", ".profile.txt", "failed.txt", "job.json"),
    *("checkpoints/.last", "checkpoints/.best", "checkpoints/.step-3", "checkpoints/step-3", "checkpoints/.x"),
)


def gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def put(path: Path, make: Callable[[], object]) -> None:
    gone(path)
    make()


def hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**42)


def moved_out(path: Path, out: Path) -> None:
    """The very content, but behind a link."""
    if path.exists():
        shutil.move(path, out / "moved")
    path.symlink_to(out / "moved")


FILES: dict[str, Callable[[Path, Path], object]] = {
    "a link to a file": lambda path, out: put(path, lambda: path.symlink_to(out / "file")),
    "a link to a folder": lambda path, out: put(path, lambda: path.symlink_to(out)),
    "a link to what it was": moved_out,
    "a link to itself": lambda path, out: put(path, lambda: path.symlink_to(path)),
    "a link to nothing": lambda path, out: put(path, lambda: path.symlink_to(out / "ran")),
    "a link to a device": lambda path, out: put(path, lambda: path.symlink_to("/dev/zero")),
    "a second name": lambda path, out: put(path, lambda: os.link(out / "file", path)),
    "a pipe": lambda path, out: put(path, lambda: os.mkfifo(path)),
    "a folder": lambda path, out: put(path, path.mkdir),
    "empty": lambda path, out: put(path, path.touch),
    "garbage": lambda path, out: put(path, lambda: path.write_bytes(b"\x80[{:\n\x1b" * 99)),
    "a hole": lambda path, out: put(path, lambda: hole(path)),
}


def files(run: Path) -> Iterator[Case]:
    """Every file and folder of a run, and those that it would write, as something else."""
    for name in [*sorted(str(path.relative_to(run)) for path in run.rglob("*")), *NEW]:
        for kind, make in FILES.items():
            yield Case(f"file, {kind}", name, lambda run, out, n=name, m=make: m(run / n, out))


# ---------------------------------------------------------------------------------------------------- contents

HOSTILE = [None, True, -1, 0, 10**18, 10**40, 1e308, float("nan"), "", "x", "\ud800", "\x1b[2J", [], {}, [[]], {"a": 1}]


def newest(run: Path) -> Path:
    return run / "checkpoints" / "step-2"


def sign(run: Path) -> None:
    """Checksums that are right."""
    record = json.loads((newest(run) / "checksums.json").read_bytes())
    for name in record["sha256"]:
        record["sha256"][name] = hashlib.sha256((newest(run) / name).read_bytes()).hexdigest()
    (newest(run) / "checksums.json").write_text(json.dumps(record))


def places(tree: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a tree of JSON stand; of long lists, the first ones and the last."""
    yield way
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for place, (key, value) in enumerate(items):
        if place < 12 or place == len(tree) - 1:
            yield from places(value, (*way, key))


def changed(tree: Any, way: tuple[Any, ...], value: Any) -> Any:
    if not way:
        return value
    tree = copy.copy(tree)
    tree[way[0]] = changed(tree[way[0]], way[1:], value)
    return tree


def values(run: Path, name: str) -> Iterator[Case]:
    """Every value in a JSON file of the checkpoint, and of the JSON inside it; checksums are right."""
    values, tree = cycle(HOSTILE), json.loads((newest(run) / name).read_bytes())
    for way in places(tree):
        for value in [next(values) for _ in range(1 if name == "training.json" else 3)]:
            yield Case(f"value in {name}", f"{name}, {way} as {value!r}",
                       lambda run, out, w=way, v=value: set_json(run, name, changed(tree, w, v)))  # fmt: skip
    for way in places(tree):
        if way and way[-1] == "model":
            inner = json.loads(get(tree, way))
            for inside in places(inner):
                value = next(values)
                yield Case("value of a tokenizer", f"{inside} as {value!r}",
                           lambda run, out, w=way, i=inside, v=value, t=inner: set_json(
                               run, name, changed(tree, w, json.dumps(changed(t, i, v)))))  # fmt: skip


def get(tree: Any, way: tuple[Any, ...]) -> Any:
    return get(tree[way[0]], way[1:]) if way else tree


def set_json(run: Path, name: str, tree: Any) -> None:
    (newest(run) / name).write_text(json.dumps(tree))
    if name != "checksums.json":
        sign(run)


TENSORS: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
    "no number": lambda t: torch.full_like(t, float("nan")) if t.is_floating_point() else t.flatten()[:-1],
    "infinite": lambda t: torch.full_like(t, float("inf")) if t.is_floating_point() else t * 0 + 255,
    "another type": lambda t: t.to(torch.float64 if t.is_floating_point() else torch.int32),
    "flat": lambda t: t.flatten().clone() if t.ndim > 1 else t[None],
    "nothing": lambda t: torch.zeros(2**40, 0, dtype=t.dtype),
    "longer": lambda t: torch.cat([t.flatten()] * 7),
    "missing": lambda t: None,
}


def tensors(run: Path, name: str) -> Iterator[Case]:
    kinds = cycle(TENSORS)
    for tensor in sorted(load_file(newest(run) / name)):
        for kind in [next(kinds), next(kinds)]:
            yield Case(f"tensor, {kind}", f"{name}, {tensor}",
                       lambda run, out, t=tensor, k=kind: set_tensor(run, name, t, TENSORS[k]))  # fmt: skip


def set_tensor(run: Path, file: str, name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    found = load_file(newest(run) / file)
    new = change(found.pop(name))
    save_file(found if new is None else found | {name: new.contiguous()}, newest(run) / file)
    sign(run)


def of_a_run(run: Path, common: bool) -> Iterator[Case]:
    """All of them. common: also what all tasks have in common."""
    yield from keys(run, common)
    if common:
        yield from files(run)
    for name in ("task.json", *(["training.json", "checksums.json"] if common else [])):
        yield from values(run, name)
    for name in ("model.safetensors", "training.safetensors"):
        yield from tensors(run, name)


def told_badly(text: str) -> str | None:
    """What no output may hold."""
    return next((word for word in ("Traceback", "CANARY", "panicked") if re.search(word, text)), None)
