"""mode=predict: answers each line or row of the input with one of the output, as the input comes in."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from seqtrain.commands.assembly import Config
from seqtrain.commands.inputs import Block, open_inputs
from seqtrain.commands.loaded import SHOWN_CUTS, Loaded
from seqtrain.commands.outputs import open_writer, output_form
from seqtrain.commands.sentences import open_sentences
from seqtrain.config import UserError
from seqtrain.reading.sentences import CONLL
from seqtrain.tasks.base import Task
from seqtrain.terminal.progress import bar

log = logging.getLogger(__name__)


def predict(cfg: Config, checkpoint: Path) -> None:
    """Answers each line or row of the input with one of the output, as the input comes in."""
    loaded = Loaded(cfg, checkpoint)
    task = loaded.task
    tagged = "tagged" in task.kinds
    inputs = open_sentences(cfg, task.prompted) if tagged else open_inputs(cfg, task.field, task.prompted)
    form, cuts, unfinished = output_form(cfg, inputs.form), 0, 0
    if form in CONLL and not tagged:
        raise UserError(f"format={form}: it holds tagged sentences, which task=tagging writes")
    hidden = cfg["output"] in (None, "-") and sys.stdout.isatty()
    with bar(None, "line", "predict", hidden=hidden) as shown:
        blocks = together(inputs.blocks, task)
        found = ((block, loaded.answers(block.texts, block.numbers, details=form == "jsonl")) for block in blocks)
        first = next(found, None)  # before the output is opened, which a mistake in the input is to leave alone
        header = first and task.header(first[0].texts[0])
        columns = task.columns if header is None else ()
        if first and any("n_best" in answer for answer in first[1]):
            columns = (*columns, "n_best")
        with open_writer(cfg, inputs, columns, header, task.files) as writer:
            for block, answers in chain([first] if first else [], found):
                if header is None:
                    writer.write(block.rows, answers)
                else:  # the answers to a table of series are rows of their own
                    rows = [without(answer, "output") for answer in answers]
                    writer.write(rows, [{"output": answer["output"]} for answer in answers])
                cuts = loaded.warn_of_cuts(answers, block.numbers, cuts)
                unfinished += sum("unfinished" in answer for answer in answers)
                shown.update(len(block.texts))
    if cuts > SHOWN_CUTS:
        log.warning("%s inputs in all are longer than what is read", f"{cuts:,}")
    if unfinished and not (cfg["decode"]["temperature"] and task.spec.source is None):  # samples of a text without end
        log.warning(
            "outputs that were stopped before their end, at the bound of decode.max_length: %s", f"{unfinished:,}"
        )


def together(blocks: Iterator[Block], task: Task) -> Iterator[Block]:
    """Blocks as they come, or, where their lines are a table that is answered as a whole, all of them as one."""
    for first in blocks:
        if task.header(first.texts[0]) is None:
            yield first
            yield from blocks
        else:
            parts = [first, *blocks]
            texts, numbers, rows = (list(chain.from_iterable(column)) for column in zip(*parts, strict=True))
            yield Block(texts, numbers, rows)


def without(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != name}
