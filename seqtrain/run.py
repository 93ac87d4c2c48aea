"""Puts a configuration together and runs it: trains, evaluates, predicts. The only place where the axes meet."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
import yaml

from seqtrain.average import Average
from seqtrain.batch import Batching, Loader, Spec
from seqtrain.checkpoint import Checkpoints, put_weights, write
from seqtrain.config import LineError, UserError, build, locate
from seqtrain.config.sources import ROOT
from seqtrain.data.cache import prepared
from seqtrain.data.report import Report
from seqtrain.decode import Decoder
from seqtrain.prepare import key_of
from seqtrain.record import Recorder, bar, line
from seqtrain.tasks.base import Task
from seqtrain.train import Job, Progress, Trainer, make_optimizer
from seqtrain.train import evaluate as score_split

log = logging.getLogger(__name__)
Config = dict[str, Any]


def train(cfg: Config, folder: Path, resume: bool = False, sweep: bool = False) -> float:
    """Trains into a run folder, then scores the best weights and writes `metrics.json`: on the validation split and,
    except in sweeps, on the test split. Returns the monitored validation metric."""
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder  # shorter to read and type
    device = open_device(cfg)
    task: Task = build(cfg["task"], cfg["trust"])
    source = open_data(cfg, task)
    records = {split: read(source, split) for split in ("train", "valid", "test")}
    torch.manual_seed(cfg["seed"])
    trainer: Trainer = build(cfg["trainer"], cfg["trust"])
    if trainer.precision == "bfloat16" and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise UserError(
            "trainer.precision=bfloat16: this CPU has no such arithmetic; trainer.precision=float32 will do"
        )
    checkpoints = Checkpoints(folder, trainer.keep)
    checkpoint = checkpoints.load("last") if resume else None
    if checkpoint is None:
        task.fit(records["train"])
    else:
        task.load_state(checkpoint.task)
    model = open_model(cfg, task.spec, device)
    torch.use_deterministic_algorithms(trainer.deterministic)
    size = sum(p.numel() for p in model.parameters())
    log.info("%s\n%s; %s parameters on %s", folder, counts(records), f"{size:,}", device)

    train_loader, valid_loader = loaders(task, records, trainer, cfg["seed"])
    if checkpoint is not None and (folder / "metrics.json").exists():
        progress = Progress(**checkpoint.training["progress"])
        if trainer.done(progress, trainer.total_steps(train_loader)):
            log.info(
                "step %d: nothing is left to do; more trainer.epochs or trainer.max_steps would go on", progress.step
            )
            return json.loads((folder / "metrics.json").read_bytes())["monitor"]["value"]
    if checkpoint is None:
        report = reported(task, records)
        for text in report.lines:
            log.info("  %s", text)
        write(folder / "data.json", json.dumps(report.figures, indent=1, ensure_ascii=False).encode())
    log.info("the baselines …")
    baselines = task.baselines(records["train"], records["valid"])
    job = Job(
        task=task,
        model=model,
        optimizer=make_optimizer(partial(build, cfg["optimizer"], cfg["trust"]), model),
        schedule=build(cfg["schedule"], cfg["trust"]),
        average=Average(model, trainer.ema, trainer.average),
        train=train_loader,
        valid=valid_loader,
        decoder=Decoder(**cfg["decode"], seed=cfg["seed"]),
        device=device,
        recorder=Recorder(folder, checkpoint.training["progress"]["step"] if checkpoint else 0),
        checkpoints=checkpoints,
        baseline=told(*best_baseline(baselines, task)),
    )
    with closing(job.recorder):
        if checkpoint is None:
            job.recorder.show(0, {"config": f"```yaml\n{(folder / 'config.yaml').read_text()}\n```"})
        else:
            job.restore(checkpoint)
            log.info("going on at step %d", job.progress.step)
        trainer.fit(job, folder)
        return finish(job, records, baselines, folder, cfg, sweep)


def finish(job: Job, records: Records, baselines: Baselines, folder: Path, cfg: Config, sweep: bool) -> float:
    """Scores the best weights, tells and records the result, and returns the monitored validation metric."""
    task, progress = job.task, job.progress
    put_weights(job.model, job.checkpoints.load("best").weights)
    found: dict[str, Any] = {}
    if not sweep:
        log.info("the best weights:")
    for split in ("valid",) if sweep else ("valid", "test"):
        if split == "test":
            baselines = task.baselines(records["train"], records["test"])
            loader = task.loader(records["test"], EVALUATION, None)
        else:
            loader = job.valid
        totals = score_split(job.model, task, loader, job.decoder, job.device)
        found[split] = task.score(totals)
        if split == "test":
            found[split] |= task.judge(job.model, records["train"], records["test"], job.decoder)
            shown = task.show(job.model, loader.examples, totals, job.decoder)
            job.recorder.show(progress.step, {f"test/{title}": content for title, content in shown.items()}, keep=True)
        if not sweep:
            log.info("  %s  %s", split, line(found[split]))
            for name, scores in baselines.items():
                log.info("  %s", told(name, scores))
    name, scores = best_baseline(baselines, task)
    monitored = found["valid"][task.monitor]
    found |= {
        "monitor": {"name": task.monitor, "direction": task.direction, "value": monitored},
        "baseline": {"name": name, **scores},
        "baselines": baselines,
        "speed": {
            "items_per_s": progress.items / max(progress.seconds, 1e-9),
            "seconds": progress.seconds,
            "padding_share": progress.padding / max(progress.positions, 1),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / RSS_UNITS_A_MIB,
            "steps": progress.step,
        },
        "parameters": sum(parameter.numel() for parameter in job.model.parameters()),
        "versions": versions(),
        "data": fingerprint(records),
        "curve": progress.curve,
    }
    write(folder / "metrics.json", json.dumps(found, indent=1).encode())
    settings = {key: value for key, value in cfg.items() if isinstance(value, dict)} | {"seed": cfg["seed"]}
    scored = "valid" if sweep else "test"
    job.recorder.hparams(
        progress.step, settings, {f"final/{scored}_{name}": value for name, value in found[scored].items()}
    )
    if not sweep:
        log.info("to use it: seqtrain mode=predict checkpoint=%s input=-", folder)
    return monitored


def inspect(cfg: Config) -> None:
    """Prints what to know of the data before training; `output` gets the figures as JSON."""
    task: Task = build(cfg["task"], cfg["trust"])
    source = open_data(cfg, task)
    records = {split: read(source, split) for split in ("train", "valid", "test")}
    task.fit(records["train"])
    report = reported(task, records)
    print(counts(records), *report.lines, sep="\n  ")
    if cfg["output"] not in (None, "-"):
        with open_output(cfg) as out:
            print(json.dumps(report.figures, indent=1, ensure_ascii=False), file=out)


class Loaded:
    """A trained model, as its run folder keeps it. Made by `seqtrain.load`."""

    def __init__(self, cfg: Config, folder: Path):
        self.cfg = cfg
        self.device = open_device(cfg)
        checkpoint = Checkpoints(folder).load("best" if (folder / "checkpoints" / "best").exists() else "last")
        self.task: Task = build(cfg["task"], cfg["trust"])
        self.task.load_state(checkpoint.task)
        self.model = open_model(cfg, self.task.spec, self.device)
        put_weights(self.model, checkpoint.weights)
        self.model.eval()
        self.decoder = Decoder(**cfg["decode"], seed=cfg["seed"])

    @cached_property
    def source(self) -> Any:
        return open_data(self.cfg, self.task)

    def predict(self, inputs: Sequence[str], details: bool = False) -> list[Any]:
        """The answer to each input, in order: a text, a label, a forecast. With `details`, dictionaries of the input,
        the output and what else is known: scores, log-probabilities, the alignment where the model has one."""
        answers = self.task.predict(self.model, list(inputs), self.decoder) if inputs else []
        if details:
            return [answer | self.task.details(self.model, answer) for answer in answers]
        return [answer["output"] for answer in answers]

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """The metrics of a split of the run's data."""
        loader = self.task.loader(read(self.source, split), EVALUATION, None)
        return self.task.score(score_split(self.model, self.task, loader, self.decoder, self.device))


def load(folder: str | Path) -> Loaded:
    """Brings back the best weights of a run folder, ready to predict. The training data need not exist any more."""
    from seqtrain.folder import read_config

    return Loaded(read_config(Path(folder)), Path(folder))


def evaluate(cfg: Config, checkpoint: Path) -> None:
    """Scores the validation and the test split with the weights of a run folder, beside the baselines."""
    loaded = Loaded(cfg, checkpoint)
    train_records = read(loaded.source, "train")
    found: dict[str, Any] = {}
    for split in ("valid", "test"):
        found[split] = loaded.evaluate(split)
        print(f"{split:6} {line(found[split])}")
        for name, scores in loaded.task.baselines(train_records, read(loaded.source, split)).items():
            print(f"{'':6} {told(name, scores)}")
    if cfg["output"] not in (None, "-"):
        with open_output(cfg) as out:
            print(json.dumps(found, indent=1), file=out)


def predict(cfg: Config, checkpoint: Path) -> None:
    """Answers each line of the input with one line of the output, as the input comes in."""
    loaded = Loaded(cfg, checkpoint)
    as_json = cfg["format"] == "jsonl"
    shown = bar(None, "line", "predict")
    with shown, nullcontext(sys.stdout) if cfg["output"] in (None, "-") else open_output(cfg) as out:
        done = 0
        for lines in together(blocks(cfg["input"]), loaded.task):
            try:
                answers = loaded.predict(lines, details=as_json)
            except LineError as error:
                raise LineError(done + error.number, error.problem) from None
            if not done and not as_json and (header := loaded.task.header(lines[0])):
                print(header, file=out)
            for answer in answers:
                print(json.dumps(answer, ensure_ascii=False) if as_json else one_line(answer), file=out)
            out.flush()
            done += len(lines)
            shown.update(len(lines))


def open_output(cfg: Config) -> TextIO:
    file, source = Path(cfg["output"]).expanduser(), cfg["input"]
    if source not in (None, "-") and file.exists() and file.samefile(Path(source).expanduser()):
        raise UserError(f"output={file}: this is the input too; choose another file")
    try:
        return file.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"output={file}: the file cannot be written ({error.strerror})") from None


def blocks(name: str) -> Iterator[list[str]]:
    """Lines of a file, or of standard input where the name is -, in blocks of what is there to be read."""
    rest = b""
    descriptor = sys.stdin.fileno() if name == "-" else os.open(Path(name).expanduser(), os.O_RDONLY)
    try:
        while block := os.read(descriptor, 1 << 16):
            *lines, rest = (rest + block).split(b"\n")
            if lines:
                yield [decoded(text, name) for text in lines]
        if rest:
            yield [decoded(rest, name)]
    finally:
        if name != "-":
            os.close(descriptor)


def together(blocks: Iterator[list[str]], task: Task) -> Iterator[list[str]]:
    """Lines as they come, or, where they are a table, all of them at once."""
    for first in blocks:
        yield first if task.header(first[0]) is None else list(chain(first, *blocks))
        yield from blocks


def decoded(text: bytes, name: str) -> str:
    try:
        return text.decode().removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UserError(f"input={name}: not UTF-8 ({error.reason} in {text[:40]!r})") from None


def one_line(answer: Any) -> str:
    """An answer as a line: texts with their line ends written as \\n and \\r, lists of numbers as JSON."""
    if not isinstance(answer, str):
        return json.dumps(answer)
    return answer.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


# ---------------------------------------------------------------------------------------------------- the axes

Records = dict[str, Sequence[Any]]
Baselines = dict[str, dict[str, float]]
EVALUATION = Batching(examples=128, positions=None)
RSS_UNITS_A_MIB = 1024**2 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB


def open_device(cfg: Config) -> torch.device:
    name, threads = cfg["device"]["name"], cfg["device"]["threads"]
    if threads is not None:
        torch.set_num_threads(threads)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[name]:
        raise UserError(f"device={name}: torch finds no such device here; device=cpu or device=auto will do")
    return torch.device(name)


def open_data(cfg: Config, task: Task) -> Any:
    """The data, if it, the task and the model fit together: which their classes tell before anything is prepared."""
    kind = locate(cfg["data"]["_target_"], cfg["trust"]).kind
    if kind not in task.kinds:
        raise UserError(
            f"data of the kind {kind!r} does not fit this task, which takes {' or '.join(map(repr, task.kinds))}; "
            f"data that fits: {', '.join(fitting('data', lambda found: found.kind in task.kinds))}"
        )
    outline = task.outline(kind)
    model = locate(cfg["model"]["_target_"], cfg["trust"])
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


def open_model(cfg: Config, spec: Spec, device: torch.device) -> torch.nn.Module:
    backbone = partial(build, cfg["backbone"], cfg["trust"])
    return build(cfg["model"], cfg["trust"], spec=spec, backbone=backbone).to(device)


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


def versions() -> dict[str, str]:
    names = ("seqtrain", "torch", "numpy", "babel", "statsmodels", "sacrebleu", "tokenizers")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


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
