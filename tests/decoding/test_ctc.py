"""Decoding of what aligns itself, against the sum over every path."""

import itertools
import math
from collections import defaultdict
from typing import Any

import pytest
import torch
from small import make_batch, make_model
from torch import Tensor

from seqtrain.contract import Free, Spec, Tokens
from seqtrain.decoding.ctc import collapse, hypotheses, prefix_search, sample, search
from seqtrain.decoding.sampling import Sampling
from seqtrain.likelihoods.ctc import Ctc

END = 3
SPEC = Spec(Tokens(11), True, Tokens(6), Ctc(6), Free())


def outputs(log_probs: Tensor, blank: int) -> dict[tuple[int, ...], float]:
    """The probability of everything that the positions can write, over all paths."""
    found: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.size(1)), repeat=len(log_probs)):
        found[collapse(path, blank)] += math.exp(sum(float(log_probs[t, item]) for t, item in enumerate(path)))
    return found


def scores(seed: int, positions: int = 5, ids: int = 4) -> Tensor:
    return (2 * torch.randn(positions, ids, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("seed", range(5))
def test_a_wide_prefix_search_finds_the_likeliest_outputs(seed: int, blank: int):
    log_probs = scores(seed)
    wanted = sorted(outputs(log_probs, blank).items(), key=lambda pair: -pair[1])[:5]
    assert prefix_search(log_probs, blank, 400)[:5] == [output for output, _ in wanted]


@pytest.mark.parametrize("seed", range(5))
def test_the_probability_of_an_output_is_that_of_all_its_paths(seed: int):
    log_probs, blank = scores(seed), 0
    known, asked = outputs(log_probs, blank), [(1,), (1, 1), (2, 1, END), (1, 2, 1)]
    found = hypotheses(log_probs, blank, asked, END, len(asked), None)
    for hypothesis in found:
        ids = tuple(hypothesis.ids) + ((END,) if hypothesis.ids == [2, 1] else ())
        assert hypothesis.log_prob == pytest.approx(math.log(known[ids]), abs=1e-4)
    assert found == sorted(found, key=lambda hypothesis: -hypothesis.log_prob)


def test_an_output_is_what_stands_before_its_end_mark_and_no_longer_than_asked():
    log_probs = scores(0, positions=8)
    (cut,) = hypotheses(log_probs, 0, [(1, 2, END, 1, 2)], END, 1, None)
    assert cut.ids == [1, 2]
    (bounded,) = hypotheses(log_probs, 0, [(1, 2, 1, 2, 1)], END, 1, 3)
    assert bounded.ids == [1, 2, 1]
    assert len(hypotheses(log_probs, 0, [(1, END, 2), (1, END), (2,)], END, 3, None)) == 2  # the same once


def recogniser(seed: int = 0) -> Any:
    made = make_model("many_to_many", SPEC, seed=seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3.0)
    return made


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_batch_equals_its_rows(beam_size: int):
    made, batch = recogniser(), make_batch(SPEC, source_lengths=(6, 2, 4), lengths=(3, 2, 1))
    with torch.inference_mode():
        together = search(made, batch, END, beam_size, 2, None)
        for row, found in enumerate(together):
            alone = batch._replace(
                source=batch.source[row : row + 1, : batch.source_lengths[row]],
                source_lengths=batch.source_lengths[row : row + 1],
            )
            (single,) = search(made, alone, END, beam_size, 2, None)
            assert [one.ids for one in single] == [one.ids for one in found]
    assert all(len(found) <= 2 for found in together)


def test_a_wider_beam_is_no_worse_on_the_whole():
    batch, totals = make_batch(SPEC, source_lengths=(6, 3, 7), lengths=(3, 2, 1)), {}
    with torch.inference_mode():
        for size in (1, 8):
            found = [row[0] for seed in range(5) for row in search(recogniser(seed), batch, END, size, 1, None)]
            totals[size] = sum(hypothesis.log_prob for hypothesis in found)
    assert totals[8] > totals[1]


def test_samples_by_a_low_temperature_are_the_best_path():
    made, batch = recogniser(), make_batch(SPEC)
    cold = Sampling(1e-4, 0, 1.0, torch.Generator().manual_seed(0))
    with torch.inference_mode():
        best = search(made, batch, END, 1, 1, None)
        assert sample(made, batch, END, cold, None) == [found for (found,) in best]
