"""The decoder: chooses the search for a model whose outputs are ids, and the maximum length of each output.

Every search ends, since every output has a maximum length. Finished sentences leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqtrain.contract import Batch
from seqtrain.decoding import ctc, frames
from seqtrain.decoding.beam import Beam
from seqtrain.decoding.consensus import agreement
from seqtrain.decoding.hypothesis import Hypothesis, Step, select
from seqtrain.decoding.rules import Rules
from seqtrain.decoding.sampling import Sampling
from seqtrain.decoding.scorers import CoveragePenalty, LengthPenalty
from seqtrain.decoding.terms import Term, TermBeam
from seqtrain.models.base import Generator, Model
from seqtrain.reading.glossary import Glossary

DEFAULT_MAX_LENGTH = 500  # items of an output where there is neither `max_length` nor a source whose length counts


@dataclass(frozen=True)
class Decoder:
    """Searches for the best outputs of a model, or samples them. The settings are those of `configs/config.yaml`.

    temperature: above zero, outputs are sampled, from the `top_k` best items and the smallest set of items that
        together have probability `top_p` (Holtzman et al. 2020, arXiv:1904.09751). At zero, the best is searched for.
    beam_size: hypotheses of beam search; 1 is greedy search. length_penalty, coverage_penalty: see `scorers`.
    n_best: how many outputs each source gets. mbr: samples of which those are chosen that are most like all of them
        (see `consensus`); 0: the most probable of n_best samples comes first.
    max_length: items of an output; None: twice the length of the source and 50 more.
    min_length, no_repeat, repetition_penalty: see `Rules`.
    seed: decoders with the same seed draw the same samples.
    precision: "bfloat16" multiplies matrices in it, 1.4 to 1.5 times faster for whole batches on processors that can;
        scores are added up in float32.
    glossary: says which terms an output has to hold; the task asks it, see `Task.terms`.
    wrap: replaces the model's step by a faster one, such as one that is captured and replayed.
    """

    beam_size: int
    n_best: int
    length_penalty: float
    coverage_penalty: float
    temperature: float
    top_k: int
    top_p: float
    max_length: int | None
    min_length: int
    no_repeat: int
    repetition_penalty: float
    mbr: int
    length: int
    precision: str
    seed: int
    glossary: Glossary | None = None
    wrap: Callable[[Step], Step] = lambda step: step
    sampling: Sampling = field(init=False, repr=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        object.__setattr__(self, "sampling", Sampling(self.temperature, self.top_k, self.top_p, generator))

    @torch.inference_mode()
    def __call__(
        self, model: Model, batch: Batch, end: int, terms: Sequence[Sequence[Term]] = ()
    ) -> list[list[Hypothesis]]:
        """Returns the `n_best` outputs of each row, the best first. They continue `batch.inputs` (begin marks and
        prompts, all of the same length) up to the end mark, whose id is `end`. A CTC model reads no inputs.

        terms: runs of items that the outputs of each row have to hold, where they are searched for."""
        with torch.autocast(batch.any_tensor.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            if self.temperature > 0:
                samples = zip(*(self.sample(model, batch, end) for _ in range(self.mbr or self.n_best)), strict=True)
                return [self.ordered(row)[: self.n_best] for row in samples]
            if model.spec.likelihood.aligns:
                return ctc.search(model, batch, end, self.beam_size, self.n_best, self.max_length)
            assert isinstance(model, Generator)
            found: dict[int, list[Hypothesis]] = {}
            sizes = [sum(map(len, some)) for some in terms] or [0] * batch.size
            for size in sorted({*sizes}):  # rows with as many items of terms: what else is in a batch changes nothing
                rows = [row for row, other in enumerate(sizes) if other == size]
                part = (
                    batch
                    if len(rows) == batch.size
                    else select(batch, torch.tensor(rows, device=batch.any_tensor.device))
                )
                outputs = self.search(model, part, end, [terms[row] for row in rows] if size else ())
                found |= zip(rows, outputs, strict=True)
            return [found[row] for row in range(batch.size)]

    def search(
        self, model: Generator, batch: Batch, end: int, terms: Sequence[Sequence[Term]]
    ) -> list[list[Hypothesis]]:
        """The `n_best` outputs of each row by greedy or beam search; all rows have as many items of terms, or none."""
        if self.beam_size == 1 and not terms:
            return [[best] for best in self.sample(model, batch, end)]
        # The coverage penalty can change the order of finished hypotheses, so more than n_best are needed.
        num_finished = self.beam_size if self.coverage_penalty else self.n_best
        scorers = LengthPenalty(self.length_penalty), CoveragePenalty(self.coverage_penalty)
        rest = (
            self.bounds(model, batch),
            self.beam_size + sum(map(len, terms[0] if terms else ())),
            scorers,
            num_finished,
        )
        start = model, batch, self.rules(end)
        beam = TermBeam(*start, *rest, terms=terms) if terms else Beam(*start, *rest)
        return [hypotheses[: self.n_best] for hypotheses in beam.search(self.wrap(model.step))]

    def ordered(self, samples: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Samples of a row, the best first."""
        order: Sequence[float] = (
            agreement([one.ids for one in samples]).tolist() if self.mbr else [one.log_prob for one in samples]
        )
        return [samples[i] for i in sorted(range(len(samples)), key=lambda i: -order[i])]

    @torch.inference_mode()
    def frames(self, model: Generator, batch: Batch) -> Float[Tensor, "B T H"]:
        """For each row `length` frames that continue `batch.inputs`."""
        with torch.autocast(batch.any_tensor.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            generator = self.sampling.generator
            return frames.write(model, self.wrap(model.step), batch, self.length, self.temperature, generator)

    def sample(self, model: Model, batch: Batch, end: int) -> list[Hypothesis]:
        """Returns one output for each row: a sample, or that of greedy search for a temperature of zero."""
        if model.spec.likelihood.aligns:
            return ctc.sample(model, batch, end, self.sampling, self.max_length)
        assert isinstance(model, Generator)
        return self.sampling.search(model, self.wrap(model.step), batch, self.rules(end), self.bounds(model, batch))

    def rules(self, end: int) -> Rules:
        return Rules(end, self.min_length, self.no_repeat, self.repetition_penalty)

    def bounds(self, model: Generator, batch: Batch) -> Int[Tensor, " B"]:
        """Returns the maximum length of each row's output, in items."""
        if self.max_length is not None:
            return torch.full((batch.size,), self.max_length)
        if model.spec.many:
            assert batch.source_lengths is not None
            return 2 * batch.source_lengths.cpu() + 50
        return torch.full((batch.size,), DEFAULT_MAX_LENGTH)
