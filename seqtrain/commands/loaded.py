"""A trained model: `seqtrain.load` returns it in Python, and mode=evaluate and mode=predict use it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seqtrain.commands import calibration
from seqtrain.commands.assembly import Assembly, Config
from seqtrain.commands.inputs import as_texts, column_of, csv_lines
from seqtrain.commands.outputs import beside
from seqtrain.commands.run_folder import read_config
from seqtrain.config import LineError, UserError, in_brief
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.kinds import SPLITS
from seqtrain.decoding.decoder import Decoder
from seqtrain.engine.checkpoint import Checkpoints
from seqtrain.engine.evaluate import evaluate
from seqtrain.evaluation.metrics import Totals
from seqtrain.models.ensemble import together

SHOWN_CUTS = 5  # inputs that are too long, named one by one

log = logging.getLogger(__name__)


class Loaded(Assembly):
    """A trained model with the best weights of its run folder, or several as an ensemble. Made by `seqtrain.load`."""

    def __init__(self, cfg: Config, run: Path):
        super().__init__(cfg, run, Checkpoints(run).load_best())
        if isinstance(cfg["checkpoint"], list):
            self.model = self.ensemble([load(folder) for folder in cfg["checkpoint"][1:]])
        self.model.eval()
        self.restore(self.task.load_calibration, calibration.kept(run))

    def ensemble(self, others: Sequence[Loaded]) -> Any:
        """This model with those of other runs, which have to be fitted on the same data by the same settings."""
        for other in others:
            if other.task.state() != self.task.state():
                raise UserError(f"checkpoint={other.run}: its vocabulary, or what else its task has learned, is not "
                                f"that of {self.run}; an ensemble needs runs on the same data")  # fmt: skip
        try:
            return together([run.model for run in (self, *others)])
        except UserError as error:
            raise UserError(f"checkpoint: these runs make no ensemble: {error}") from None

    @property
    def trained_on(self) -> str | None:
        """The fingerprint of the data that the run was trained and scored on."""
        return self.state.training.get("data")

    def predict(self, inputs: Any, details: bool = False) -> Any:
        """Returns the answer to a text (a text, a label, a forecast), or a list of the answers to several texts.

        An empty input has an empty answer. details: returns dicts with the input, the output, and scores,
        log-probabilities, the attention to the input if the model has any, and how many tokens were cut off.

        For a pandas.Series of texts it returns a Series. For a pandas.DataFrame it returns the table with answers in
        added columns, as mode=predict does; the column that training has read is answered, a missing text as an empty
        one. Raises TypeError for anything else, and for a missing text in a list or a Series.
        """
        pandas = sys.modules.get("pandas")
        if pandas and isinstance(inputs, pandas.DataFrame | pandas.Series):
            return self.predict_pandas(inputs, details)
        texts = [inputs] if isinstance(inputs, str) else as_texts(inputs)
        answers = self.answers(texts, details=details)
        self.warn_of_cuts(answers, range(1, len(texts) + 1))
        results = answers if details else [answer["output"] for answer in answers]
        return results[0] if isinstance(inputs, str) else results

    def predict_pandas(self, inputs: Any, details: bool) -> Any:
        """See `predict`. inputs: a Series or a DataFrame."""
        import pandas as pd

        if self.task.field is None and inputs.ndim == 2:  # time series: the answers are new rows
            lines = csv_lines(inputs.reset_index(drop=inputs.index.names == [None]))
            return pd.DataFrame(self.answers(lines)).drop(columns="output")
        texts = inputs if inputs.ndim == 1 else inputs.iloc[:, self.column(inputs.columns)]
        if inputs.ndim == 2:
            texts = texts.where(texts.notna(), "")  # an empty cell
        answers = self.answers(as_texts(texts), details=details)
        self.warn_of_cuts(answers, range(1, len(answers) + 1))
        results = pd.DataFrame(answers, index=inputs.index, columns=None if details else [*self.task.columns])
        results = results.drop(columns="input", errors="ignore")
        if inputs.ndim == 2:
            return beside(inputs, results)
        return results if details else results["output"]

    def column(self, names: Iterable[Any]) -> int:
        """Returns the index of the column that training has read."""
        wanted, names = column_of(self.cfg, self.task.field), [str(name) for name in names]
        if isinstance(wanted, int) and wanted <= len(names):
            return wanted - 1
        if wanted not in names:
            raise UserError(f"predict: the table has no column {wanted!r}, which training read; it has: "
                            f"{in_brief(', '.join(names))}; a column alone will do: predict(table[NAME])")  # fmt: skip
        return names.index(str(wanted))

    def answers(
        self,
        texts: Sequence[Any],
        numbers: Sequence[int] | None = None,
        details: bool = False,
        decoder: Decoder | None = None,
    ) -> list[dict[str, Any]]:
        """Returns the answer to each text as a dict; for a table of time series, the rows of the forecasts.

        numbers: the lines of the texts, for messages. details: see `predict`. decoder: another than that of the run.
        """
        is_table = bool(texts) and self.task.header(texts[0]) is not None
        indices = [i for i, text in enumerate(texts) if is_table or not self.task.blank(text)]
        answers: list[dict[str, Any]] = []
        if indices:
            try:
                answers = self.task.predict(self.model, [texts[i] for i in indices], decoder or self.decoder)
            except LineError as error:
                i = indices[error.number - 1]
                raise LineError(numbers[i] if numbers else i + 1, error.problem) from None
        if details:
            answers = [answer | self.task.details(self.model, answer) for answer in answers]
        if is_table:
            return answers
        by_index = dict(zip(indices, answers, strict=True))
        return [by_index.get(i, {"input": text, "output": ""}) for i, text in enumerate(texts)]

    def warn_of_cuts(self, answers: Sequence[dict[str, Any]], numbers: Sequence[int], before: int = 0) -> int:
        """Logs which inputs were cut at `task.max_length`, the first few one by one. before: how many have been cut in
        earlier calls. Returns how many have been in all."""
        limit = self.cfg["task"].get("max_length", 0)
        total = before
        for answer, number in zip(answers, numbers, strict=False):
            if left_out := answer.get("cut"):
                total += 1
                if total <= SHOWN_CUTS:
                    log.warning("input, line %d: %s tokens, of which the first %s are read (task.max_length)",
                                number, f"{limit + left_out:,}", f"{limit:,}")  # fmt: skip
        return total

    def evaluate(self, split: str = "test") -> dict[str, float]:
        """Returns the metrics of a split of the run's data: "train", "valid" or "test"."""
        if split not in SPLITS:
            hint = did_you_mean(near(str(split), SPLITS)) or f"; there are: {', '.join(SPLITS)}"
            raise UserError(f"evaluate: there is no split {split!r}{hint}")
        return self.task.score(self.totals(split))

    def totals(self, split: str) -> Totals:
        """Returns what the metrics of a split are made of."""
        return evaluate(self.model, self.task, self.loader(split), self.decoder, self.device)

    def warn_of_other_data(self) -> None:
        """Logs a warning where the data are not those that the run was trained and scored on."""
        if self.trained_on not in (None, self.fingerprint):
            log.warning("data: their content is not what this run was trained and scored on: these scores cannot be "
                        "compared with its own")  # fmt: skip


def load(folder: str | Path, *others: str | Path) -> Loaded:
    """Loads the best weights of a run folder, ready to predict. The training data are not needed. others: the runs that
    make an ensemble with it."""
    several = {"checkpoint": [str(folder), *map(str, others)]} if others else {}
    return Loaded(read_config(Path(folder)) | several, Path(folder))
