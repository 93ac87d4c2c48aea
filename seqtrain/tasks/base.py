"""What all tasks have in common: they fit codecs, prepare examples, and answer lines. A task adds what is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import torch

from seqtrain.codecs.encoded import Encoded, Several
from seqtrain.codecs.prepared import Column
from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.text import END, UNKNOWN
from seqtrain.config import LineError, UserError
from seqtrain.contract import Aligned, Batch, Fixed, Free, Likelihood, Output, Reals, Spec, Tokens
from seqtrain.data.kinds import RECORDS
from seqtrain.evaluation import plots, report, tables
from seqtrain.evaluation.metrics import METRICS, Totals, Weighted, of_sums
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.likelihoods.point import Point

POSITIONS = 2**15  # padded positions that are scored at a time


class Task:
    """What is learned, of which data, and how it is judged.

    A task is made of its options, fitted on the training records (`fit`) or brought back from a checkpoint
    (`load_state`), and from then on has a `spec`. It says how outputs are compared with targets (`compare`), and what
    simple methods would put out (`guesses`).

    kinds: the kinds of data it takes.
    sources: the codec of the source by the kind of data, where that decides; None: it has one `source`.
    fields: what of a record its codecs `source` and `target` are made for; source is None where nothing comes in.
    keys: the names of these codecs in a checkpoint.
    many: whether the source is a sequence.
    one_vocab: whether the codecs share their ids.
    several: whether a record has several targets: training takes one of them, drawn anew in each epoch.
    copies: whether much of a target stands in its source.
    form: how many positions come out; where that is free, a decoder reads what it has written.
    columns: of an answer of `predict`, what a table of answers shows.
    measures: of what `log_probs` gives, what a table shows.
    units: options on which the unit of a metric depends: scores can be compared where they are the same.
    """

    kinds: ClassVar[tuple[str, ...]]
    sources: dict[str, Any] | None = None  # Codecs
    fields: tuple[str, ...] = ("source", "target")
    keys: ClassVar[tuple[str, str]] = ("source", "target")
    many: bool = True
    one_vocab: bool = False
    several: ClassVar[bool] = False
    copies: ClassVar[bool] = False
    form: Fixed | Aligned | Free = Free()
    columns: ClassVar[tuple[str, ...]] = ("output",)
    measures: ClassVar[tuple[str, ...]] = ("log_prob", "items", "log_prob_per_item")
    units: ClassVar[tuple[str, ...]] = ()
    label_smoothing: float = 0.0
    monitor: str
    source: Any = None  # Codec | None
    target: Any = None  # Codec; None for series
    spec: Spec

    # ------------------------------------------------------------------------------------------------ data

    def outline(self, kind: str) -> Spec:
        """The form of the spec for a kind of data, its sizes unknown before `fit`: enough to tell which models fit."""
        self.choose(kind)
        return self.described()

    def choose(self, kind: str) -> None:
        """Settles what the kind of the data decides."""
        if self.sources is not None:
            self.kind, self.source, self.fields = kind, self.sources[kind], RECORDS[kind]._fields

    def described(self) -> Spec:
        source, target = None if self.source is None else self.source.positions, self.target.positions
        inputs = target if isinstance(self.form, Free) else None
        return Spec(
            source,
            self.many,
            inputs,
            self.likelihood(),
            self.form,
            one_vocab=self.one_vocab,
            copies=self.copies,
            classes=target.items if isinstance(target, Tokens) else (),
        )

    def likelihood(self) -> Likelihood:
        """What the scores mean, where the target's codec is fitted."""
        positions = self.target.positions
        if isinstance(positions, Tokens):
            return Categorical(positions.size, self.label_smoothing)
        return Point(int(np.prod(positions.shape)), "mse")

    def fit(self, records: Sequence[Any], start: dict[str, Any] | None = None) -> None:
        """Learns from the training records what the data needs: tokenizers, labels, scales. start: the state of another
        run, from which these come instead, but for labels that it does not have: see `Codec.renew`."""
        self.choose(next((kind for kind, record in RECORDS.items() if isinstance(records[0], record)), self.kinds[0]))
        source, target = self.fields
        if self.one_vocab:
            self.learn(self.source, self.keys[0], Column(records, source, target), start)
            self.target.share(self.source)
        else:
            if self.source is not None:
                self.learn(self.source, self.keys[0], Column(records, source), start)
            targets = chain.from_iterable(map(self.targets, records)) if self.several else Column(records, target)
            self.learn(self.target, self.keys[1], targets, start)
        self.spec = self.described()

    @staticmethod
    def learn(codec: Any, key: str, values: Iterable[Any], start: dict[str, Any] | None) -> None:
        """Fits a codec, or gives it its part of another run's state."""
        if start is None:
            codec.fit(values)
        else:
            codec.load_state(start[key])
            codec.renew(values)

    def targets(self, record: Any) -> Sequence[Any]:
        """The targets of a record, as their codec reads them."""
        found = getattr(record, self.fields[1])
        return found if self.several else [found]

    def state(self) -> dict[str, Any]:
        """What `fit` learned, as JSON."""
        source, target = self.keys
        state = {} if self.sources is None else {"kind": self.kind}
        state |= {} if self.source is None else {source: self.source.state()}
        return state | {target: None if self.one_vocab else self.target.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave. A stranger's may hold anything: raises an exception where `fit` learns no such."""
        self.choose(state.get("kind", self.kinds[0]))
        source, target = self.keys
        if self.source is not None:
            self.source.load_state(state[source])
        if not self.one_vocab:
            self.target.load_state(state[target])
        elif state[target] is None:
            self.target.share(self.source)
        else:
            raise ValueError("one vocabulary was learned, and there are two")
        self.spec = self.described()

    def check(self, records: dict[str, Sequence[Any]]) -> None:
        """Raises `UserError` for splits that cannot be trained on or scored; asked of a task that is fitted."""

    def report(self, records: dict[str, Sequence[Any]]) -> report.Report:
        """What to know of the records of each split before training; asked of a task that is fitted."""
        return report.encoded(records, dict(zip(self.fields, (self.source, self.target), strict=True)))

    def examples(self, records: Sequence[Any]) -> Any:
        """Records prepared for batching."""
        source, target = self.fields
        encoded = None if self.source is None else self.source.encode_all(Column(records, source))
        if self.several:
            targets = [self.targets(record) for record in records]
            counts = np.array([len(some) for some in targets])
            return Several(records, encoded, self.target.encode_all([*chain.from_iterable(targets)]), counts)
        return Encoded(records, encoded, self.target.encode_all(Column(records, target)), isinstance(self.form, Free))

    # ------------------------------------------------------------------------------------------------ calibration

    def calibrate(self, model: Any, examples: Any, totals: Totals) -> dict[str, Any]:
        """What is learned from the validation split with the best weights, when training has ended, as JSON: what makes
        probabilities true. By default nothing: {}. totals: the measures of the split."""
        return {}

    def load_calibration(self, learned: dict[str, Any]) -> None:
        """Takes what `calibrate` gave, or {}; from then on answers and metrics follow it. It is not called before a
        training has ended. A stranger's may hold anything: raises an exception for what is not learned."""

    def calibrated(self, output: Output) -> Output:
        """The output with scores as calibration has them; by default as they are."""
        return output

    # ------------------------------------------------------------------------------------------------ metrics

    def loss(self, batch: Batch, output: Output) -> Totals:
        """What the loss is made of: the nats and the items of each row."""
        likelihood, output = self.spec.likelihood, self.calibrated(output)
        return {"nats": by_example(likelihood.nll(output, batch)), "items": by_example(likelihood.items(batch))}

    def measure(self, model: Any, rows: Any, batch: Batch, output: Output, examples: Any, decoder: Any) -> Totals:
        """What `score` makes the metrics of, for each example of a batch. rows: their places in the split."""
        records = [examples.records[row] for row in rows]
        if isinstance(self.form, Free):
            assert batch.inputs is not None
            answers = self.answer(model, batch._replace(inputs=batch.inputs[:, :1]), records, decoder)
            outputs = [answer["output"] for answer in answers]
        else:
            outputs = self.outputs(output)
        targets = list(Column(records, self.fields[1]))
        return self.loss(batch, output) | {"rows": rows.tolist(), "outputs": outputs, "targets": targets}

    def score(self, totals: Totals) -> dict[str, float]:
        """The metrics of the measures of all batches; `monitor` and `loss` are among them."""
        return self.score_weighted(totals)()

    def score_weighted(self, totals: Totals) -> Weighted:
        """As `score`, where each example may count several times."""
        loss = of_sums({name: totals[name] for name in ("nats", "items")}, mean_loss)
        rest = self.compare_weighted(totals["outputs"], totals["targets"])
        return lambda weights=None: loss(weights) | rest(weights)

    def compare(self, outputs: Sequence[Any], targets: Sequence[Any]) -> dict[str, float]:
        """The metrics of outputs, given the targets of their records."""
        if type(self).compare_weighted is Task.compare_weighted:
            raise NotImplementedError
        return self.compare_weighted(outputs, targets)()

    def compare_weighted(self, outputs: Sequence[Any], targets: Sequence[Any]) -> Weighted:
        """As `compare`, where each example may count several times: fast, where the metrics are made of sums."""

        def of(weights: np.ndarray | None = None) -> dict[str, float]:
            rows = np.arange(len(outputs)).repeat(1 if weights is None else weights.astype(int)).tolist()
            return self.compare([outputs[row] for row in rows], [targets[row] for row in rows])

        return of

    def guesses(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, Sequence[Any]]:
        """The outputs of simple methods that learn from `train`, by name."""
        raise NotImplementedError

    def baselines(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, dict[str, float]]:
        """What simple methods that learn from `train` reach on the records, by name."""
        targets = list(Column(records, self.fields[1]))
        return {name: self.compare(outputs, targets) for name, outputs in self.guesses(train, records).items()}

    def judge(self, train: Sequence[Any], predictions: list[dict[str, Any]]) -> dict[str, float]:
        """Metrics of free samples, taken once, when a run ends."""
        return {}

    def signatures(self) -> dict[str, str]:
        """How a metric was computed, by its name, where there are several ways."""
        return {}

    @property
    def direction(self) -> str:
        return METRICS[self.monitor].direction

    # ------------------------------------------------------------------------------------------------ answers

    @property
    def field(self) -> str | None:
        """What of a record `predict` is given: its source, or a beginning of its target where it has none; None for
        series, which are lines of several kinds."""
        return self.fields[self.source is None]

    @property
    def prompted(self) -> Any:
        """The codec of what `predict` is given."""
        return self.target if self.source is None else self.source

    def about(self) -> dict[str, Any]:
        """What a page that asks for inputs has to know, as JSON. kind: of the data. reads: what an input is: "series",
        "files" (their contents), "numbers" or "text". endings: of the names of such files. makes: what an output can
        become, see `files`."""
        codec = self.prompted
        endings = [] if codec is None else list(codec.endings)
        numbers = codec is not None and isinstance(codec.positions, Reals)
        reads = "series" if codec is None else "files" if endings else "numbers" if numbers else "text"
        kind = self.kinds[0] if self.sources is None else self.kind
        return {"kind": kind, "reads": reads, "endings": endings, "makes": list(self.files)}

    def parse(self, line: Any, number: int) -> Any:
        """The record that a line, or the content of a file, asks for; its target is unknown. number: of the line, for a
        `LineError`."""
        try:
            value = line if self.source is None else self.source.load(line)
        except UserError as error:
            raise LineError(number, str(error).removeprefix("data: ")) from None
        return RECORDS[self.kinds[0] if self.sources is None else self.kind].parse(value)

    def lines(self, records: Sequence[Any], count: int) -> list[str]:
        """At most `count` lines, of records, that `predict` answers."""
        return [str(getattr(record, self.fields[0])) for record in records[:count]]

    def exported(self) -> tuple[Any, Any] | None:
        """What a script without seqtrain has to know of source and target, see `Codec.exported`; None: it cannot answer
        lines."""
        sides = [None if codec is None else codec.exported() for codec in (self.source, self.target)]
        known = sides[1] is not None and (sides[0] is not None or self.source is None)
        return (sides[0], sides[1]) if known else None

    def blank(self, line: Any) -> bool:
        """Whether there is nothing in a line to answer; training leaves such texts out."""
        return not line.strip()

    def header(self, line: Any) -> str | None:
        """What stands above the answers where `line` is the head of a table, whose rows `predict` takes all at once;
        None where each line is answered by itself."""
        return None

    def asked(self, records: Sequence[Any]) -> Any:
        """Records whose target is to be found."""
        source = None if self.source is None else self.source.encode_all(Column(records, self.fields[0]))
        prompts = Ragged.of([self.prompt(record) for record in records]) if isinstance(self.form, Free) else None
        return Encoded(records, source, None, prompts=prompts)

    def prompt(self, record: Any) -> np.ndarray:
        """What a decoder begins with: the mark before the target."""
        return self.target.encode("")[:-1]

    def predict(self, model: Any, lines: list[Any], decoder: Any) -> list[dict[str, Any]]:
        """Answers lines of text, or contents of files. Each answer has the key "output", what a reader wants, and
        details beside it."""
        answers = self.answers(model, [self.parse(line, number) for number, line in enumerate(lines, 1)], decoder)
        return [{"input": line, **answer} for line, answer in zip(lines, answers, strict=True)]

    def answers(self, model: Any, records: Sequence[Any], decoder: Any) -> list[dict[str, Any]]:
        """One for each record, whose target is to be found."""
        examples, device = self.asked(records), next(model.parameters()).device
        answers: list[dict[str, Any]] = [{}] * len(records)
        for rows in examples.batches_by_length():
            batch, asked = examples.batch(rows).to(device), [records[row] for row in rows]
            for row, answer in zip(rows, self.answer(model, batch, asked, decoder), strict=True):
                answers[row] = answer
                if examples.source is not None:
                    value, length = getattr(records[row], self.fields[0]), int(examples.source.lengths[row])
                    if over := self.source.left_out(value, length):
                        answers[row]["cut"] = over
        return answers

    @torch.inference_mode()
    def answer(self, model: Any, batch: Batch, records: Sequence[Any], decoder: Any) -> list[dict[str, Any]]:
        """One answer for each source of the batch. records: those that it was made of."""
        if isinstance(self.form, Free):
            terms = [self.terms(record, decoder.glossary) for record in records] if decoder.glossary else ()
            return [
                ranked([(self.written(record, found.ids), found) for found in outputs])
                for record, outputs in zip(records, decoder(model, batch, END, terms), strict=True)
            ]
        return [{"output": value} for value in self.outputs(model(batch))]

    def terms(self, record: Any, glossary: Any) -> list[list[int]]:
        """The ids of the terms that the output for a record, a text for a text, has to hold by a glossary."""
        terms = glossary.targets(getattr(record, self.fields[0]))
        found = [self.target.tokenizer.encode(term) for term in terms]
        for term, ids in zip(terms, found, strict=True):
            if UNKNOWN in ids:
                raise UserError(f"decode.glossary: {term!r} is not in the vocabulary of the model, which is what "
                                "training has seen; with task.tokenizer.unit=bpe anything can be written")  # fmt: skip
        return found

    def written(self, record: Any, ids: Sequence[int]) -> Any:
        """What a decoder has written, as an output."""
        return self.target.decode(ids)

    def outputs(self, output: Output) -> list[Any]:
        """For each row the best value of its positions."""
        values, ends = self.spec.likelihood.best(output).cpu().numpy(), output.lengths.cumsum(0).tolist()
        return [self.target.decode(value) for value in np.split(values, ends[:-1])]

    @torch.inference_mode()
    def align(self, model: Any, record: Any) -> tuple[list[str], list[str], np.ndarray] | None:
        """What stands at the positions of a record's source that the frontend leaves, and of its target, and the (T, R)
        weights between them, where the model has such and the codecs can tell."""
        if self.source is None:
            return None
        sources = self.source.shown(getattr(record, self.fields[0]))
        targets = self.target.shown(self.targets(record)[0])
        if sources is None or targets is None:
            return None
        weights = model.align(self.examples([record]).batch(np.arange(1)).to(next(model.parameters()).device))
        if weights is None:
            return None
        left = weights.size(2)  # of the positions of the source: each stands for some, of which the first is named
        return [sources[i * len(sources) // left] for i in range(left)], targets, weights[0].float().cpu().numpy()

    def given(self, source: Any, target: str, number: int) -> Any:
        """The record of an output that is to be scored, in a line of the input; of a text alone, both are that text.
        Raises `LineError`."""
        return self.answered(self.parse(source, number), target)

    @torch.inference_mode()
    def log_probs(self, model: Any, records: Sequence[Any]) -> list[dict[str, Any]]:
        """The log-probability of each record's target, given its source, in nats, and how many items it has, end marks
        included; where a source or a target is cut, how many it has more."""
        examples, likelihood = self.apart(records), self.spec.likelihood
        device, longest = next(model.parameters()).device, examples.sizes.max(1)
        order, found = np.argsort(longest), [{}] * len(records)
        while len(order):  # the longest first
            count = max(1, min(64, POSITIONS // max(1, int(longest[order[-1]]))))
            rows, order = order[-count:], order[:-count]
            batch = examples.batch(rows).to(device)
            output = model(batch)
            sums = self.loss(batch, output)
            if likelihood.aligns:  # by fewer positions than it needs, a target cannot be written
                needed = likelihood.needed(batch.target, batch.target_lengths)
                sums["nats"][(needed > output.lengths).cpu().numpy()] = np.inf
            for row, nats, items in zip(rows.tolist(), sums["nats"].tolist(), sums["items"].tolist(), strict=True):
                found[row] = {"log_prob": -nats, "items": int(items), "log_prob_per_item": -nats / max(1, items)}
        for row, record in enumerate(records):
            target = self.targets(record)[0]
            over = self.target.left_out(target, len(self.target.encode(target)))
            if examples.source is not None:
                source = getattr(record, self.fields[0])
                over = max(over, self.source.left_out(source, int(examples.source.lengths[row])))
            if over:
                found[row]["cut"] = over
        return found

    def apart(self, records: Sequence[Any]) -> Any:
        """Records prepared for batching, each by itself."""
        return self.examples(records)

    @property
    def files(self) -> dict[str, Callable[[str], bytes]]:
        """What else than a text an output can become: by the ending of a file, its content."""
        return {}

    def details(self, model: Any, answer: dict[str, Any]) -> dict[str, Any]:
        """What else can be said of an answer of `predict`, at a cost: for each position of the output, that of the
        source which it looked at most, and how much."""
        if self.source is None or not self.many:  # the places of a single thing have no names
            return {}
        found = self.align(model, self.answered(self.parse(answer["input"], 1), answer["output"]))
        return {} if found is None else {"alignment": tables.alignment(*found)}

    def answered(self, record: Any, output: Any) -> Any:
        """The record with an output in place of its target."""
        return record._replace(**{self.fields[1]: (output,) if self.several else output})

    def show(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> dict[str, Any]:
        """What is worth looking at, by title: texts (Markdown) and matplotlib figures."""
        source, target = self.fields
        records = examples.records[:8]
        answers = self.answers(model, records, decoder)
        rows = [
            (self.title(record, row), *(answer.get(name) for name in self.columns), self.told(getattr(record, target)))
            for row, (record, answer) in enumerate(zip(records, answers, strict=True))
        ]
        shown: dict[str, Any] = {"outputs": tables.markdown((source, *self.columns, target), rows)}
        for i, answer in enumerate(answers[:2], 1):  # drawing takes a third of a second each
            if found := self.align(model, self.answered(records[i - 1], answer["output"])):
                shown[f"attention {i}"] = self.draw(records[i - 1], answer["output"], *found)
        return shown | self.show_more(model, records, [answer["output"] for answer in answers])

    def show_more(self, model: Any, records: Sequence[Any], outputs: Sequence[Any]) -> dict[str, Any]:
        """What else is worth looking at of some records and their outputs, by title."""
        return {}

    def draw(self, record: Any, output: str, sources: list[str], targets: list[str], weights: np.ndarray) -> Any:
        """A figure of what `align` has found of an output. record: with the true target."""
        return plots.attention(sources, targets, weights)

    def predictions(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> list[dict[str, Any]]:
        """Source, target and prediction of each record, as the rows of a table; of a forecast, each date."""
        outputs = dict(zip(totals.get("rows", ()), totals.get("outputs", ()), strict=True))
        return [
            {
                "source": self.title(record, row),
                "target": self.told(getattr(record, self.fields[1])),
                "prediction": self.told(outputs[row]),
            }
            for row, record in enumerate(examples.records if outputs else [])
        ]

    def title(self, record: Any, row: int) -> str:
        """What tables call a record: its source, where that has a name."""
        return str(row) if isinstance(record[0], np.ndarray) else str(record[0])

    def example(self, examples: Any, row: int) -> str:
        """What tables call an example of a split. row: its place, as in `measure`."""
        return self.title(examples.records[row], row)

    def told(self, value: Any) -> str:
        """A target or an output in a table; between several texts stands what is between tokens, or captions."""
        return (" | " if self.several else " ").join([value] if isinstance(value, str) else value)

    def tables(self, examples: Any, totals: Totals, split: str) -> dict[str, list[dict[str, Any]]]:
        """What else of the measures of a split, valid or test, is best read as a table, by name."""
        return {}

    def overview(self, examples: Any, totals: Totals) -> dict[str, Any]:
        """What `show` has not, of the test split at the end alone."""
        return {}


def by_example(values: torch.Tensor) -> np.ndarray:
    """The numbers of the rows of a batch, to be added up with those of others."""
    return values.detach().float().cpu().numpy().astype(np.float64)


def mean_loss(sums: dict[str, float]) -> dict[str, float]:
    return {"loss": sums["nats"] / sums["items"]}


def ranked(outputs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The best of several outputs, given with their `Hypothesis`, as an answer, and beside it all of them, if several.
    One that was stopped before its end says so."""
    several = [
        {"output": text, "log_prob": found.log_prob} | ({"unfinished": True} if found.unfinished else {})
        for text, found in outputs
    ]
    return {**several[0], "n_best": several} if len(several) > 1 else several[0]
