"""Uses what a run has left: evaluates, predicts; and reports on data before there is a run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from seqtrain.assemble import (
    EVALUATION,
    Config,
    check_size,
    counts,
    open_data,
    open_decoder,
    open_device,
    open_model,
    read,
    reported,
    told,
)
from seqtrain.checkpoint import Checkpoint, Checkpoints, put_weights
from seqtrain.config import LineError, UserError, build
from seqtrain.record import bar, line
from seqtrain.tasks.base import Task
from seqtrain.train import evaluate as score_split


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
        checkpoints = Checkpoints(folder)
        checkpoint = checkpoints.load("best" if (folder / "checkpoints" / "best").exists() else "last")
        checkpoints.restore(self.take, checkpoint)

    def take(self, checkpoint: Checkpoint) -> None:
        """Builds the task and the model that a checkpoint is of."""
        cfg = self.cfg
        self.task: Task = build(cfg["task"], cfg["trust"])
        self.task.load_state(checkpoint.task)
        check_size(cfg, self.task.spec, checkpoint.weights)
        self.model = open_model(cfg, self.task.spec, self.device)
        put_weights(self.model, checkpoint.weights)
        self.model.eval()
        self.decoder = open_decoder(cfg, self.device)

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
