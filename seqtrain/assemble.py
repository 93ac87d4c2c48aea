"""Puts the axes of a configuration together: device, data, task, model. The only place where they meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.nn.modules.module import register_module_parameter_registration_hook

from seqtrain.average import Average
from seqtrain.batch import Batching, Loader, Spec
from seqtrain.checkpoint import Checkpoints
from seqtrain.config import UserError, build, locate
from seqtrain.config.sources import ROOT
from seqtrain.data.cache import prepared
from seqtrain.data.report import Report
from seqtrain.decode import Decoder
from seqtrain.memory import out_of_memory
from seqtrain.optimizer import make_optimizer
from seqtrain.prepare import key_of
from seqtrain.record import Recorder, line
from seqtrain.tasks.base import Task
from seqtrain.threads import allotted, granted
from seqtrain.train import Job, Trainer

Config = dict[str, Any]
Records = dict[str, Sequence[Any]]
Baselines = dict[str, dict[str, float]]
EVALUATION = Batching(examples=128, positions=None)
THREADS = torch.get_num_threads()  # as the machine and OMP_NUM_THREADS have it


def open_device(cfg: Config, place: int | None = None, processes: int = 1) -> torch.device:
    """place: of this process among the `processes` of this machine that train together."""
    name, threads = cfg["device"]["name"], cfg["device"]["threads"]
    torch.set_num_threads(threads or min(THREADS, allotted(processes)))
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[name]:
        raise UserError(f"device={name}: torch finds no such device here; device=cpu or device=auto will do")
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(name, processes)
    if processes > most:
        raise UserError(f"device={name}: {processes} processes need as many devices, and there are {most}; "
                        f"device.processes={most} will do")  # fmt: skip
    if name == "cuda" and place is not None:
        torch.cuda.set_device(place)
        return torch.device(name, place)
    return torch.device(name)


def count_processes(cfg: Config) -> int:
    """How many processes are to train on this machine; on the CPU, for `auto`, how many may be worth it."""
    wanted, device = cfg["device"]["processes"], open_device(cfg).type
    if wanted != "auto":
        return wanted
    return {"cuda": torch.cuda.device_count(), "mps": 1}.get(device, granted())


def open_data(cfg: Config, task: Task) -> Any:
    """The data, if it, the task and the model fit together: which their classes tell before anything is prepared."""
    kind = locate(cfg["data"].get("_target_"), cfg["trust"]).kind
    if kind not in task.kinds:
        raise UserError(
            f"data of the kind {kind!r} does not fit this task, which takes {' or '.join(map(repr, task.kinds))}; "
            f"data that fits: {', '.join(fitting('data', lambda found: found.kind in task.kinds))}"
        )
    outline = task.outline(kind)
    model = locate(cfg["model"].get("_target_"), cfg["trust"])
    if reason := model.refuse(outline):
        name = ", ".join(fitting("model", lambda found: found is model)) or model.__name__
        fits = fitting("model", lambda found: found.refuse(outline) is None)
        raise UserError(f"model={name} does not fit this task: {reason}; models that fit: {', '.join(fits)}")
    return build(cfg["data"], cfg["trust"])


def read(source: Any, split: str) -> Sequence[Any]:
    records = source.read(split)
    if not len(records):
        raise UserError(f"data: the {split} split is empty")
    return records


def reported(task: Task, records: Records) -> Report:
    """The report on the data, from the cache where they are large."""
    if key_of(records["train"]) is None:
        return task.report(records)

    def make(folder: Path) -> None:
        (folder / "report.json").write_text(json.dumps(task.report(records)), encoding="utf-8")

    made = prepared(json.dumps(["report", fingerprint(records), task.state()]), make)
    return Report(*json.loads((made / "report.json").read_text(encoding="utf-8")))


def counts(records: Records) -> str:
    return ", ".join(f"{len(found):,} {split}" for split, found in records.items()) + " records"


def fitting(axis: str, fits: Callable[[Any], bool]) -> list[str]:
    """The options of an axis whose class passes a test."""
    files = sorted((ROOT / axis).glob("*.yaml"))
    targets = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))["_target_"] for file in files}
    return [name for name, target in targets.items() if fits(locate(target, trust=False))]


def settle_precision(key: str, wanted: str, device: torch.device) -> str:
    """The type of arithmetic that a key asks for: `auto` becomes bfloat16 where the processor has it."""
    if device.type == "cpu":
        able = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else:
        able = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bfloat16" and not able:
        what = "CPU" if device.type == "cpu" else "GPU"
        raise UserError(f"{key}=bfloat16: this {what} has no such arithmetic; {key}=auto will do")
    if wanted != "auto":
        return wanted
    return "bfloat16" if able else "float32"


def open_trainer(cfg: Config, device: torch.device) -> Trainer:
    trainer: Trainer = build(cfg["trainer"], cfg["trust"])
    return replace(trainer, precision=settle_precision("trainer.precision", trainer.precision, device))


def open_decoder(cfg: Config, device: torch.device) -> Decoder:
    precision = settle_precision("decode.precision", cfg["decode"]["precision"], device)
    return Decoder(**(cfg["decode"] | {"precision": precision}), seed=cfg["seed"])


def open_model(cfg: Config, spec: Spec, device: torch.device) -> torch.nn.Module:
    backbone = partial(build, cfg["backbone"], cfg["trust"])
    try:
        return build(cfg["model"], cfg["trust"], spec=spec, backbone=backbone).to(device)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(
            "the model does not fit in memory; a smaller model.hidden_size or model.num_layers may"
        ) from None


def check_size(cfg: Config, spec: Spec, weights: dict[str, torch.Tensor]) -> None:
    """Refuses a model that is larger than the weights there are for it, before it takes any memory."""
    problem = UserError("checkpoint: the configuration describes a larger model than there are weights for")
    room = [2 * len(weights) + 100, 2 * sum(weight.numel() for weight in weights.values()) + 10**6]  # ties come later
    if any(isinstance(value, int) and value > room[1] for value in (*cfg["model"].values(), *cfg["backbone"].values())):
        raise problem

    def count(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
        room[0] -= 1
        room[1] -= parameter.numel()
        if min(room) < 0:
            raise problem

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            open_model(cfg, spec, torch.device("meta"))
    finally:
        hook.remove()


def open_job(
    cfg: Config,
    device: torch.device,
    task: Task,
    trainer: Trainer,
    records: Records,
    checkpoints: Checkpoints,
    step: int = 0,
    **more: Any,
) -> Job:
    """All that one training works on, with fresh weights. step: where the events of a resumed run go on."""
    model = open_model(cfg, task.spec, device)
    train, valid = loaders(task, records, trainer, cfg["seed"])
    return Job(
        task=task,
        model=model,
        optimizer=make_optimizer(partial(build, cfg["optimizer"], cfg["trust"]), model),
        schedule=build(cfg["schedule"], cfg["trust"]),
        average=Average(model, trainer.ema, trainer.average),
        train=train,
        valid=valid,
        decoder=open_decoder(cfg, device),
        device=device,
        recorder=Recorder(checkpoints.run, step),
        checkpoints=checkpoints,
        **more,
    )


def loaders(task: Task, records: Records, trainer: Trainer, seed: int) -> tuple[Loader, Loader]:
    """Training and validation batches; with `overfit_batches`, the same few for both."""
    train = task.loader(records["train"], Batching(trainer.batch_size, trainer.batch_tokens), seed)
    if trainer.overfit_batches is not None:
        few = train.only(trainer.overfit_batches)
        return few, few
    return train, task.loader(records["valid"], EVALUATION, None)


def best_baseline(baselines: Baselines, task: Task) -> tuple[str, dict[str, float]]:
    """The best simple method by the task's monitor, or, where none has that metric, the last one."""
    sign = 1 if task.direction == "max" else -1
    able = {name: scores for name, scores in baselines.items() if task.monitor in scores} or baselines
    name = max(able, key=lambda name: sign * able[name].get(task.monitor, 0))
    return name, able[name]


def told(name: str, scores: dict[str, float]) -> str:
    return f"(baseline, {name}: {line(scores)})"


def fingerprint(records: Records) -> str:
    """SHA-256 of all records, or of the keys that stand for them: whether two runs saw the same data."""
    found = hashlib.sha256()

    def feed(item: Any) -> None:
        if isinstance(item, np.ndarray):
            found.update(item.tobytes())
        elif isinstance(item, str):
            found.update(item.encode() + b"\0")
        elif isinstance(item, Iterable):
            for part in item:
                feed(part)
        else:
            found.update(repr(item).encode())

    for found_records in records.values():
        feed(getattr(found_records, "key", found_records))
    return found.hexdigest()
