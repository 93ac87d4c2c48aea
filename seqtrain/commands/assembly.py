"""Puts the axes of a configuration together: device, data, task, model, training. The only place where they meet."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from seqtrain.codecs.prepared import Text, key_of
from seqtrain.config import UserError, build, locate
from seqtrain.config.sources import ROOT
from seqtrain.contract import Batching, Free, Spec
from seqtrain.decoding.decoder import Decoder
from seqtrain.engine.average import Average
from seqtrain.engine.checkpoint import Checkpoint, Checkpoints, put_weights, weights_of
from seqtrain.engine.job import Job, Progress
from seqtrain.engine.loader import Loader
from seqtrain.engine.memory import out_of_memory
from seqtrain.engine.optimizer import check_sharding, freeze, make_optimizer
from seqtrain.engine.recorder import Recorder, line, settings
from seqtrain.engine.streaming import Preparing, Streaming
from seqtrain.engine.trackers import Tracking, check_tracker
from seqtrain.engine.trainer import Trainer
from seqtrain.evaluation.comparison import Baselines
from seqtrain.evaluation.report import Report
from seqtrain.frontends.base import Frontend
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.machine.accelerate import accelerate
from seqtrain.machine.capture import Recorded
from seqtrain.machine.device import open_device, settle_precision
from seqtrain.machine.kernels import Kernels
from seqtrain.reading.folds import Folds, check_kind
from seqtrain.reading.glossary import Glossary
from seqtrain.reading.shards import Head, head_of
from seqtrain.storage.cache import cached_value
from seqtrain.tasks.base import Task

if TYPE_CHECKING:
    from seqtrain.commands.origin import Origin

Config = dict[str, Any]
Records = dict[str, Sequence[Any]]
log = logging.getLogger(__name__)
SPLITS = ("train", "valid", "test")
EVALUATION = Batching(examples=128, positions=None)


class Assembly:
    """The parts that one configuration describes. Each is made when it is first asked for, from those that it needs;
    before that, it may be set to another.

    cfg: a checked configuration. run: its run folder. checkpoint: what the task and the model take their state from;
    without one the task is fitted on the training records, and the model has fresh weights; or both begin with what
    `origin` has learned, the run that `init` names.
    """

    origin: Origin | None = None

    def __init__(self, cfg: Config, run: Path = Path(), checkpoint: Checkpoint | None = None):
        self.cfg = cfg
        self.run = run
        self.checkpoint = checkpoint
        self.notes: list[str] = []  # what to tell of how the model begins

    def build(self, axis: str, **more: Any) -> Any:
        return build(self.cfg[axis], self.cfg["trust"], **more)

    def restore(self, use: Callable[[Any], Any], state: Any) -> Any:
        """Gives a part of the checkpoint, which may be a stranger's, to the function that uses it."""
        return self.checkpoints.restore(use, state)

    def check(self) -> None:
        """Raises UserError, before anything but the data takes time or memory, for what the device lacks, parts that do
        not fit together, and a checkpoint that does not fit the configuration."""
        if self.cfg["device"]["shard"]:
            check_sharding(self.locate("optimizer"))
        _ = self.trainer, self.decoder, self.source
        check_tracker(self.cfg["tracker"])
        if self.checkpoint is not None:
            self.restore(Progress.read, self.checkpoint.training)
            _ = self.model
        if self.origin is not None:
            self.origin.check()
        self.check_shards()

    def check_shards(self) -> None:
        """Raises UserError for what cannot be done with training data that is never read as a whole."""
        if self.head is None:
            return
        schedule = self.locate("schedule")
        if self.cfg["trainer"]["max_steps"] is None and getattr(schedule, "bounded", False):
            raise UserError(
                f"schedule={schedule.__name__.lower()} goes down to the last update, and the length of shards is "
                "unknown: add trainer.max_steps=N, or schedule=constant"
            )
        if self.cfg["trainer"]["eval_every"] is None and self.cfg["trainer"]["save_every"] is None:
            log.warning("an epoch of shards may be long, and nothing is saved or evaluated before its end; "
                        "trainer.eval_every=N and trainer.save_every=N do so each N updates")  # fmt: skip

    # ---------------------------------------------------------------------------------------------------- machine

    @cached_property
    def device(self) -> torch.device:
        return open_device(self.cfg["device"])

    # ---------------------------------------------------------------------------------------------------- data

    @cached_property
    def unfitted_task(self) -> Task:
        return self.build("task")

    @cached_property
    def task(self) -> Task:
        """Fitted on the training records, or as the checkpoint has it."""
        if self.checkpoint is None:
            fit = partial(self.unfitted_task.fit, self.records["train"])
            if self.origin is None or self.cfg["refit"]:
                fit()
            else:
                self.origin.restore(lambda state: fit(start=state), self.origin.state.task)
        else:
            self.restore(self.unfitted_task.load_state, self.checkpoint.task)
        self.unfitted_task.spec = self.with_likelihood(self.unfitted_task.spec)
        return self.unfitted_task

    def with_likelihood(self, spec: Spec, model: Any = None) -> Spec:
        """With the likelihood that the configuration names, or else the one that a model has for such a task. model:
        its class, where it is another than the chosen one."""
        if not self.cfg.get("likelihood"):
            return spec._replace(likelihood=(model or self.locate("model")).likelihood(spec))
        named = self.build("likelihood", outputs=spec.likelihood.outputs)
        if isinstance(named, Categorical) and isinstance(spec.likelihood, Categorical):
            named.weights = spec.likelihood.weights  # the task has them
        return spec._replace(likelihood=named)

    @cached_property
    def source(self) -> Any:
        """The data, if all axes fit together, which their classes say before anything is read."""
        kind, takes = self.locate("data").kind, self.unfitted_task.kinds
        if kind not in takes:
            raise UserError(
                f"data of the kind {kind!r} does not fit this task, which takes {' or '.join(map(repr, takes))}; "
                f"data that fits: {', '.join(fitting('data', lambda option: option.kind in takes))}"
            )
        self.check_axes(self.unfitted_task.outline(kind))
        options = dict(self.cfg["data"])
        folds, fold = options.pop("folds", None), options.pop("fold", None)
        if folds:
            check_kind(folds, kind)
        source = build(options, self.cfg["trust"])
        if folds and head_of(source.read("train")):
            raise UserError(
                f"data.folds={folds} deals out all records, and shards are not read as a whole: leave it out"
            )
        return Folds(source, folds, fold or 1, self.cfg["seed"]) if folds else source

    def check_axes(self, outline: Spec) -> None:
        """Raises UserError where likelihood, frontend or model do not fit a task of this form, or each other."""
        plain, values = outline, outline.likelihood.values
        outline = self.with_likelihood(outline)
        if outline.likelihood.values != values:
            reason = f"it is of {outline.likelihood.values}, and what comes out is {values}"
            self.refuse("likelihood", reason, lambda option: option.values == values)
        if reason := self.locate("frontend").refuse(outline):
            self.refuse("frontend", reason, lambda option: option.refuse(outline) is None)
        options = {key: value for key, value in self.cfg["frontend"].items() if key != "_target_"}

        def refusal(model: Any) -> str | None:
            seen = self.locate("frontend").of(self.with_likelihood(plain, model), **options)
            return model.refuse(seen)

        if reason := refusal(self.locate("model")):
            self.refuse("model", reason, lambda option: refusal(option) is None)
        scores = torch.zeros(1, 1)
        if (rdrop := self.cfg["trainer"].get("rdrop")) and outline.likelihood.divergence(scores, scores) is None:
            raise UserError(f"trainer.rdrop={rdrop:g} compares probabilities of classes, and this task has none; "
                            "trainer.rdrop=0 leaves it out")  # fmt: skip
        attends = self.locate("model").attends and not self.locate("frontend").shortens
        if (coverage := self.cfg["decode"]["coverage_penalty"]) and not attends:
            raise UserError(f"decode.coverage_penalty={coverage:g} needs attention to each position of the source; "
                            "decode.coverage_penalty=0 leaves it out")  # fmt: skip

    def refuse(self, axis: str, reason: str, fits: Callable[[Any], bool]) -> NoReturn:
        """Raises UserError for the chosen option of an axis, with the names of those that would do."""
        chosen = self.locate(axis)
        name = ", ".join(fitting(axis, lambda option: option is chosen)) or chosen.__name__
        others = ", ".join(fitting(axis, fits)) or "none"
        raise UserError(f"{axis}={name} does not fit this task: {reason}; {axis}s that fit: {others}")

    def locate(self, axis: str) -> Any:
        return locate(self.cfg[axis].get("_target_"), self.cfg["trust"])

    @cached_property
    def records(self) -> Records:
        records = {split: self.source.read(split) for split in SPLITS}
        for split, some in records.items():
            if not len(some):
                raise UserError(f"data: the {split} split is empty")
        return records

    @property
    def head(self) -> Head | None:
        """The rows that stand for shards, where the training data are such."""
        return head_of(self.records["train"])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all records: whether two runs saw the same data."""
        return fingerprint(self.records)

    @property
    def counts(self) -> str:
        """How many records each split has, in words."""
        counts = {split: f"{len(some):,} {split}" for split, some in self.records.items()}
        if self.head is None:
            return ", ".join(counts.values()) + " records"
        shards = self.head.shards
        return (
            f"{len(shards):,} train shards of {shards.size / 1e6:,.1f} MB, {counts['valid']}, {counts['test']} records"
        )

    @cached_property
    def report(self) -> Report:
        """The report on the data; of shards, on the rows that stand for them."""
        found = self.cached_report()
        if self.head is None:
            return found
        count = len(self.records["train"])
        found.figures["train"] |= {"records": None, "fit_records": count}
        about = (
            f"of train, this is about the first {count:,} records of the shards, which vocabularies are learned from"
        )
        return found._replace(lines=[*found.lines, about])

    def cached_report(self) -> Report:
        """From the cache where the data are large."""
        if key_of(self.records["train"]) is None:
            return self.task.report(self.records)
        key = json.dumps(["report", self.fingerprint, self.task.state()])
        return Report(*cached_value(key, lambda: self.task.report(self.records)))

    def baselines(self, split: str) -> Baselines:
        """What the baselines reach on a split; computed once for the same data, settings and code, as in a sweep."""

        def make() -> Baselines:
            return self.task.baselines(self.records["train"], self.records[split])

        data = fingerprint({name: self.records[name] for name in ("train", split)})
        try:
            return cached_value(json.dumps(["baselines", code(), data, self.cfg["task"], self.task.state()]), make)
        except UserError:  # the cache cannot be written
            return make()

    def loader(self, split: str) -> Loader:
        """Batches for evaluation."""
        return Loader.of(self.task.examples(self.records[split]), EVALUATION, None)

    # ---------------------------------------------------------------------------------------------------- model

    @property
    def state(self) -> Checkpoint:
        assert self.checkpoint is not None
        return self.checkpoint

    @cached_property
    def model(self) -> nn.Module:
        """With the weights of the checkpoint; or fresh ones, in place of which word vectors come, and what `origin` has
        learned."""
        if self.checkpoint is not None:
            self.restore(partial(check_size, self), self.checkpoint.weights)
        model = self.new_model(self.device)
        if self.checkpoint is not None:
            self.restore(partial(put_weights, model), self.checkpoint.weights)
        else:
            self.notes += [note for part in model.modules() if isinstance(part, Frontend) and (note := part.begin())]
            if self.origin is not None:
                self.notes.append(self.origin.give(model, self.task.spec))
        if self.cfg["device"]["kernels"] == "auto" and not self.cfg["device"]["shard"]:
            accelerate(model, self.kernels)
        return model

    @cached_property
    def kernels(self) -> Kernels:
        """Which way each layer of the model takes."""
        return Kernels()

    def new_model(self, device: torch.device, spec: Spec | None = None) -> nn.Module:
        """With fresh weights, by the random numbers of torch. spec: of other data than the task's."""
        spec = spec or self.task.spec
        layers = {axis: partial(self.build, axis) for axis in ("frontend", "backbone")}
        try:
            return self.build("model", spec=spec, **layers).to(device)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            raise UserError(
                "the model does not fit in memory; a smaller model.hidden_size or model.num_layers may"
            ) from None

    def shapes(self, spec: Spec) -> dict[str, torch.Size]:
        """The shapes of the weights of a model for such data, by name."""
        with torch.device("meta"), Unfilled():
            return {name: w.shape for name, w in weights_of(self.new_model(torch.device("meta"), spec)).items()}

    @cached_property
    def decoder(self) -> Decoder:
        precision = settle_precision("decode.precision", self.cfg["decode"]["precision"], self.device)
        options = self.cfg["decode"] | {"precision": precision, "glossary": self.glossary}
        n_best, beam_size = options["n_best"], options["beam_size"]
        if isinstance(self.unfitted_task.form, Free) and n_best > beam_size and not options["temperature"]:
            raise UserError(f"decode.n_best={n_best} needs as large a beam, and decode.beam_size is {beam_size}")
        decoder = Decoder(**options, seed=self.cfg["seed"])
        return replace(decoder, wrap=Recorded) if self.device.type == "cpu" else decoder

    @property
    def glossary(self) -> Glossary | None:
        """What terms become; raises UserError where no text becomes a text step by step."""
        if (name := self.cfg["decode"]["glossary"]) is None:
            return None
        if not isinstance(self.task.source, Text) or not isinstance(self.task.target, Text):
            raise UserError("decode.glossary is for a text that becomes a text; this task has other data: leave it out")
        if not self.locate("model").decodes or self.task.spec.likelihood.aligns:
            raise UserError(
                "decode.glossary needs a model that writes step by step, such as attn_seq2seq: leave it out"
            )
        return Glossary(name)

    # ---------------------------------------------------------------------------------------------------- training

    @cached_property
    def trainer(self) -> Trainer:
        trainer: Trainer = self.build("trainer")
        return replace(trainer, precision=settle_precision("trainer.precision", trainer.precision, self.device))

    @cached_property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.run, self.cfg["trainer"]["keep"])

    @property
    def settings(self) -> Config:
        """The settings of a run that other runs may have otherwise."""
        return {key: value for key, value in self.cfg.items() if isinstance(value, dict)} | {"seed": self.cfg["seed"]}

    def training_loader(self, batching: Batching) -> Loader | Streaming:
        seed, workers = self.cfg["seed"], self.trainer.workers
        if self.head is None:
            return Loader.of(self.task.examples(self.records["train"]), batching, seed, workers)
        records: Any = self.records["train"]
        return Streaming(Preparing(self.head.shards, records.make, self.task.examples), batching, seed, workers)

    @cached_property
    def job(self) -> Job:
        """All that one training works on; `Job.restore` brings back what changes in it."""
        batching = Batching(self.trainer.batch_size, self.trainer.batch_tokens)
        train = self.training_loader(batching)
        if self.trainer.overfit_batches is not None:
            train = valid = train.first_batches(self.trainer.overfit_batches)
        else:
            valid = self.loader("valid")
        step = 0 if self.checkpoint is None else Progress.read(self.checkpoint.training).step
        freeze(self.model, self.trainer.freeze)
        return Job(
            task=self.task,
            model=self.model,
            kernels=self.kernels,
            objective=self.trainer.objective(self.model, self.task.spec.likelihood),
            optimizer=make_optimizer(partial(self.build, "optimizer"), self.model, self.trainer.rates),
            schedule=self.build("schedule"),
            average=Average(self.model, self.trainer.ema, self.trainer.average),
            train=train,
            valid=valid,
            decoder=self.decoder,
            device=self.device,
            recorder=Recorder(self.run, step, Tracking(self.cfg["tracker"], self.run, settings(self.settings))),
            checkpoints=self.checkpoints,
            data=self.fingerprint,
        )


def baseline_lines(baselines: Baselines) -> list[str]:
    """How simple methods did, a line each."""
    return [f"(baseline, {name}: {line(scores)})" for name, scores in baselines.items()]


def fitting(axis: str, fits: Callable[[Any], bool]) -> list[str]:
    """The options of an axis whose class passes a test."""
    files = sorted((ROOT / axis).glob("*.yaml"))
    targets = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8"))["_target_"] for file in files}
    return [name for name, target in targets.items() if fits(locate(target, trust=False))]


# -------------------------------------------------------------------------------- the size of a stranger's model


class Unfilled(TorchFunctionMode):
    """Leaves weights without their first values: without memory torch's compiler would be imported to make them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def check_size(parts: Assembly, weights: dict[str, Tensor]) -> None:
    """Raises ValueError for a model larger than the weights that there are for it, before it takes any memory."""
    problem = ValueError("the configuration describes a larger model than there are weights for")
    room = [2 * len(weights) + 100, 2 * sum(weight.numel() for weight in weights.values()) + 10**6]  # ties come later
    settings = [value for axis in ("model", "frontend", "backbone") for value in parts.cfg[axis].values()]
    if any(isinstance(value, int) and value > room[1] for value in settings):
        raise problem

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        room[0] -= 1
        room[1] -= parameter.numel()
        if min(room) < 0:
            raise problem

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), Unfilled():
            parts.new_model(torch.device("meta"))
    finally:
        hook.remove()


# -------------------------------------------------------------------------------- what data and code are the same


@cache
def code() -> str:
    """SHA-256 of the package: another version may compute something else."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def fingerprint(records: Records) -> str:
    """SHA-256 of records, or of the keys that stand for them."""
    digest = hashlib.sha256()

    def feed(item: Any) -> None:
        if isinstance(item, np.ndarray):
            digest.update(item.tobytes())
        elif isinstance(item, str):
            digest.update(item.encode() + b"\0")
        elif isinstance(item, Iterable):
            for part in item:
                feed(part)
        else:
            digest.update(repr(item).encode())

    for some in records.values():
        feed(getattr(some, "key", some))
    return digest.hexdigest()
