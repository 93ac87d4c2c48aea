"""Answers to inputs as mode=predict gives them, and what a page shows beside them."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from seqtrain.config import LineError, UserError
from seqtrain.reading.files import PIPED
from seqtrain.serving.batcher import Check

MOST_WEIGHTS = 500_000  # of the attention of an answer


class Answers:
    """Answers inputs by a trained model (`seqtrain.load`), all in one thread.

    An input is a text, or the content of a file: a text is never taken for the path of one.
    """

    def __init__(self, loaded: Any):
        self.loaded, self.task = loaded, loaded.task
        self.reads_files = self.task.about()["reads"] == "files"

    def about(self) -> dict[str, Any]:
        """What a page has to know. streams: whether outputs are written item by item."""
        model, spec = self.loaded.model, self.task.spec
        streams = (
            model.decodes and not spec.likelihood.aligns and spec.inputs is not None and self.task.field is not None
        )
        samples = self.loaded.decoder.temperature
        return {"task": type(self.task).__name__, **self.task.about(), "streams": streams, "temperature": samples}

    def value(self, text: str) -> str | bytes:
        """A text as an input: for a model that reads files, as the content of one."""
        return text.encode() if self.reads_files else text

    def predict(
        self, inputs: Sequence[str | bytes], decode: Mapping[str, Any], details: bool, attention: bool, check: Check
    ) -> list[dict[str, Any]]:
        """An answer for each input. decode: settings of the decoder other than the run's. details: with all that is
        known, as in JSON Lines of mode=predict. attention: with the weights between the items of input and output.
        Raises `UserError` with the number of the input."""
        if self.task.field is None:
            return [self.series(number, str(text), details) for number, text in enumerate(inputs, 1)]
        try:
            answers = self.loaded.answers(inputs, details=details, decoder=self.decoder(decode, checked(check)))
        except LineError as error:
            raise UserError(f"input {error.number}: {error.problem.removeprefix(f'{PIPED}: ')}") from None
        if attention:
            answers = [answer | self.attention(answer) for answer in answers]
        return [plain(answer) for answer in answers]

    def decoder(self, decode: Mapping[str, Any], wrap: Callable[[Any], Any]) -> Any:
        """The run's decoder with other settings. Samples without a seed are new ones each time."""
        run = self.loaded.decoder
        changes = {"seed": secrets.randbits(32)} | dict(decode)
        return replace(run, **changes, wrap=lambda step: wrap(run.wrap(step)))

    def series(self, number: int, text: str, details: bool) -> dict[str, Any]:
        """The forecast of a table, or of a line of numbers, which is a row alone."""
        lines = text.strip("\r\n").splitlines()
        if not lines:
            raise UserError(f"input {number}: it is empty")
        try:
            rows = self.loaded.answers(lines, details=details)
        except UserError as error:
            raise UserError(f"input {number}: {str(error).removeprefix('input: ').removeprefix('input, ')}") from None
        header = self.task.header(lines[0])
        if header is None:
            if len(rows) > 1:
                raise UserError(f"input {number}: a history is one line; {len(rows)} came in")
            return plain(rows[0])
        cells = [{name: value for name, value in row.items() if name != "output"} for row in rows]
        return plain({"output": "\n".join([header, *(row["output"] for row in rows)]), "rows": cells})

    def attention(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The items of input and output, and how much each of the output looked at each of the input: (T, S)."""
        if self.task.blank(answer["input"]):
            return {}
        record = self.task.answered(self.task.parse(answer["input"], 1), answer["output"])
        found = self.task.align(self.loaded.model, record)
        if found is None or found[2].size > MOST_WEIGHTS:
            return {}
        sources, targets, weights = found
        weights = weights.astype(float).round(4).tolist()
        return {"attention": {"sources": sources, "targets": targets, "weights": weights}}

    def stream(
        self, value: str | bytes, decode: Mapping[str, Any], check: Check, say: Callable[[str], None]
    ) -> dict[str, Any]:
        """The answer to an input. say: is told of all that is written so far, again and again. The items are chosen one
        by one: sampled, or the best each time."""
        record, items = self.parsed(value), list[Any]()

        def told(step: Any) -> Any:
            begun = False

            def run(inputs: Any, state: Any, memory: Any) -> Any:
                nonlocal begun
                check()
                if begun:
                    items.append(inputs[0, -1].tolist())
                    say(self.task.written(record, items))
                begun = True
                return step(inputs, state, memory)

            return run

        decoder = self.decoder({"beam_size": 1, "n_best": 1} | dict(decode), told)
        return plain(self.loaded.answers([value], decoder=decoder)[0])

    def parsed(self, value: str | bytes) -> Any:
        try:
            return self.task.parse(value, 1)
        except LineError as error:
            raise UserError(f"input: {error.problem.removeprefix(f'{PIPED}: ')}") from None

    def file(self, output: str, ending: str) -> bytes:
        """What an output becomes: a sound, say."""
        makes = self.task.files
        if ending not in makes:
            raise UserError(f"ending {ending!r}: an output becomes {' or '.join(makes) or 'no file'}")
        try:
            return makes[ending](output)
        except ValueError as error:
            raise UserError(f"output: {error}") from None


def checked(check: Check) -> Callable[[Any], Any]:
    """A step of a decoder that ends where nobody waits any more."""

    def wrap(step: Any) -> Any:
        def run(*inputs: Any) -> Any:
            check()
            return step(*inputs)

        return run

    return wrap


def plain(value: Any) -> Any:
    """An answer as JSON: without its input, which the client has; null for a number that JSON has not."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "input"}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
