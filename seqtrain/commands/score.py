"""mode=score: how probable a model finds outputs that are given, each with its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from seqtrain.commands.assembly import Config, fitting
from seqtrain.commands.inputs import BLOCK, Block, Inputs, open_inputs, table_path
from seqtrain.commands.loaded import Loaded
from seqtrain.commands.outputs import open_writer, output_form, refuse_text
from seqtrain.commands.sentences import form_by_name
from seqtrain.config import LineError, UserError, in_brief
from seqtrain.reading.sentences import Choice, open_sentences
from seqtrain.reading.tables import as_text, value_of
from seqtrain.tasks.base import Task
from seqtrain.terminal.progress import bar


def score(cfg: Config, checkpoint: Path) -> None:
    """Writes the inputs as a table, with the log-probabilities of the outputs in added columns."""
    loaded = Loaded(cfg, checkpoint)
    task, likelihood = loaded.task, loaded.task.spec.likelihood
    if not likelihood.density:
        others = fitting("likelihood", lambda other: other.values == likelihood.values and other.density)
        raise UserError(f"{checkpoint}: this model gives best guesses and no probabilities; a run with one of these "
                        f"likelihoods does: {', '.join(others)}")  # fmt: skip
    inputs, records = opened(cfg, task)
    refuse_text(output_form(cfg, inputs.form))
    cuts = 0
    with bar(None, "line", "score") as shown:
        first = next(records, None)  # before the output is opened, which a mistake in the input is to leave alone
        with open_writer(cfg, inputs, task.measures, None, {}) as writer:
            for block, some in chain([first] if first else [], records):
                known = [record for record in some if record is not None]
                found = iter(task.log_probs(loaded.model, known) if known else [])
                scores = [{} if record is None else next(found) for record in some]
                cuts = loaded.warn_of_cuts(scores, block.numbers, cuts)
                writer.write(block.rows, scores)
                shown.update(len(some))


Read = Iterator[tuple[Block, Sequence[Any]]]  # blocks, and the record of each row; None where there is nothing in it


def opened(cfg: Config, task: Task) -> tuple[Inputs, Read]:
    """The input, and its records block by block."""
    if "tagged" in task.kinds and (form := cfg["input_format"] or form_by_name(cfg["input"], cfg["data"])) != "text":
        return Inputs("tsv", ["tokens", "tags"], iter(())), sentences(cfg, form)
    inputs = open_inputs(cfg, task.field, task.prompted)
    if task.field is None:
        return inputs._replace(form="csv"), series(inputs, task)
    if inputs.form == "text":
        names = [name.removesuffix("s") for name in task.fields] if task.source is not None else [task.fields[1]]
        return inputs._replace(form="tsv", header=names), of_lines(inputs, names, task)
    return inputs, of_rows(inputs, cfg, task)


def of_lines(inputs: Inputs, names: list[str], task: Task) -> Read:
    """Lines of an input, a tab and an output; of a text where there is nothing else."""
    for texts, numbers, _ in inputs.blocks:
        rows: list[dict[str, Any]] = []
        for text, number in zip(texts, numbers, strict=True):
            if not isinstance(text, str):
                raise UserError("input: a file by itself has no output to be scored; expected a table")
            cells = text.split("\t", len(names) - 1)
            if text.strip() and len(cells) < len(names):
                raise LineError(number, f"expected {' and '.join(names)} with a tab between them, found "
                                        f"{in_brief(text, 60)!r}")  # fmt: skip
            rows.append(dict(zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=True)))
        yield (
            Block(texts, numbers, rows),
            [
                given(task, *list(row.values())[:: len(names) - 1 or 1], number)
                for row, number in zip(rows, numbers, strict=True)
            ],
        )


def of_rows(inputs: Inputs, cfg: Config, task: Task) -> Read:
    """Rows of a table with a column of the inputs and one of the outputs."""
    field = task.fields[1].removesuffix("s")
    column = str(cfg["data"].get(field) or field)
    for block in inputs.blocks:
        records = []
        for source, row, number in zip(block.texts, block.rows, block.numbers, strict=True):
            target = source if task.source is None else cell(row, column, field, number)
            records.append(given(task, *([source] if task.source is None else [source, target]), number))
        yield block, records


def cell(row: dict[str, Any], column: str, field: str, number: int) -> str:
    """The output in a row."""
    try:
        return as_text(value_of(row, column, f"data.{field}"), column)
    except ValueError as error:
        raise LineError(number, str(error)) from None


def given(task: Task, *values: Any) -> Any:
    """The record of an input and an output, or of a text alone, and the number of its line; None where nothing is
    there."""
    *texts, number = values
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    return task.given(texts[0], texts[-1], number)


def sentences(cfg: Config, form: str) -> Read:
    """Tagged sentences."""
    encoding = cfg["encoding"] or cfg["data"].get("encoding", "utf-8")
    found = open_sentences(table_path(cfg["input"]), "input", Choice.of(cfg["data"]), form, encoding)
    for begin in range(0, len(found), BLOCK):
        some = [found[i] for i in range(begin, min(begin + BLOCK, len(found)))]
        rows = [{"tokens": " ".join(record.tokens), "tags": " ".join(record.tags)} for record in some]
        yield Block([row["tokens"] for row in rows], range(begin + 1, begin + 1 + len(rows)), rows), some


def series(inputs: Inputs, task: Any) -> Read:
    """Series whose last steps are the output."""
    blocks = list(inputs.blocks)
    lines = [*chain.from_iterable(block.texts for block in blocks)]
    if lines:
        rows, records = task.given_series(lines)
        yield Block(lines, range(1, len(rows) + 1), rows), records
