from collections import Counter
from itertools import product
from typing import Any

import pytest
import torch
from small import make_batch, make_model, needs_bfloat16, one_row, same
from torch.nn import functional as F

from seqtrain.contract import Batch, Free, Spec, Tokens
from seqtrain.decoding.beam import Beam
from seqtrain.decoding.consensus import agreement
from seqtrain.decoding.decoder import Decoder
from seqtrain.decoding.hypothesis import Hypothesis
from seqtrain.decoding.rules import Rules
from seqtrain.decoding.scorers import LengthPenalty
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.models.base import Generator

END = 3
TINY = Spec(None, False, Tokens(4), Categorical(4), Free())
MODELS = [
    ("attn_seq2seq", "tokens to tokens"),
    ("seq2seq", "tokens to tokens"),
    ("one_to_many", "one to tokens"),
    ("one_to_many", "nothing to tokens"),
]


def settings(**changes: Any) -> Decoder:
    values = {"beam_size": 1, "n_best": 1, "length_penalty": 1.0, "coverage_penalty": 0.0, "temperature": 0.0}
    return Decoder(
        **{
            **values,
            "top_k": 0,
            "top_p": 1.0,
            "max_length": None,
            "min_length": 0,
            "no_repeat": 0,
            "repetition_penalty": 1.0,
            "mbr": 0,
            "length": 6,
            "precision": "float32",
            "seed": 0,
            **changes,
        }
    )


def make_decoder(**changes: Any) -> Any:
    """A decoder of one output for each source, which is returned by itself."""
    decoder = settings(**changes)
    return lambda model, batch, end: [best for (best,) in decoder(model, batch, end)]


def lively(model: str, spec: Spec | str, seed: int = 2, **changes: Any) -> Any:
    """A random model whose scores differ enough for its outputs to differ, in items and in length."""
    made = make_model(model, spec, seed=seed, **changes)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3.0)
    return made


def asked(spec: Spec | str, prompt: int = 1, rows: int = 4) -> Batch:
    """Sources of different length, and a prompt of random items for each."""
    lengths = (5, 1, 7, 3, 2, 6, 4, 8)[:rows]
    return make_batch(spec, source_lengths=lengths, lengths=(prompt,) * rows)


def log_prob(made: Any, batch: Batch, row: int, ids: list[int]) -> float:
    """Of a continuation of a row's prompt, by teacher forcing: one call over prompt and continuation."""
    alone = one_row(batch, row)
    prompt = alone.inputs[0].tolist()
    inputs = torch.tensor([[*prompt, *ids[:-1]]])
    alone = alone._replace(inputs=inputs, target=None, target_lengths=None)
    return -F.cross_entropy(made(alone).scores[len(prompt) - 1 :], torch.tensor(ids), reduction="sum").item()


def full(found: Hypothesis, bound: int) -> list[int]:
    """The items of a hypothesis with its end mark, if it had one."""
    return found.ids if len(found.ids) == bound else [*found.ids, END]


def alike(found: list[Hypothesis], others: list[Hypothesis]) -> None:
    assert [a.ids for a in found] == [b.ids for b in others]
    assert [a.log_prob for a in found] == pytest.approx([b.log_prob for b in others], abs=1e-4)


# --------------------------------------------------------------------------------------------------------------- greedy


@pytest.mark.parametrize("prompt", [1, 3])
@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_greedy_takes_the_best_item_after_everything_so_far(model, spec, prompt):
    made, batch = lively(model, spec), asked(spec, prompt, rows=8)
    found = make_decoder(max_length=8)(made, batch, END)
    assert len({tuple(answer.ids) for answer in found}) > 2
    for row, answer in enumerate(found):
        alone, wanted = one_row(batch, row), []
        while len(wanted) < 8 and END not in wanted:
            inputs = torch.cat([alone.inputs, torch.tensor([wanted], dtype=torch.long)], 1)
            memory, state = made.start(alone.source, alone.source_lengths)
            wanted.append(int(made.output(made.decode(inputs, state, memory)[0])[0, -1].argmax()))
        assert full(answer, 8) == wanted


@pytest.mark.parametrize("changes", [{}, {"beam_size": 4}, {"temperature": 1.0}])
@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_log_prob_is_that_of_teacher_forcing(model, spec, changes):
    made, batch = lively(model, spec), asked(spec, 2)
    for row, answer in enumerate(make_decoder(max_length=8, **changes)(made, batch, END)):
        assert answer.log_prob == pytest.approx(log_prob(made, batch, row, full(answer, 8)), abs=1e-4)


@pytest.mark.parametrize("changes", [{}, {"input_feeding": True}, {"attention": "additive", "num_layers": 2}])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_batch_equals_its_sentences_one_at_a_time(beam_size, changes):
    batch, decoder = asked("tokens to tokens", rows=8), make_decoder(beam_size=beam_size, max_length=12)
    outputs = set()
    for seed in (7, 9):
        made = lively("attn_seq2seq", "tokens to tokens", seed, **changes)
        together = decoder(made, batch, END)
        alike(together, [decoder(made, one_row(batch, row), END)[0] for row in range(8)])
        outputs |= {tuple(answer.ids) for answer in together}
    assert len(outputs) > 3


# ----------------------------------------------------------------------------------------------------------------- beam


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_what_exhaustive_search_finds(seed, length_penalty):
    made, batch, bound = lively("one_to_many", TINY, seed), asked(TINY, rows=1), 4
    outputs = [(*ids, END) for length in range(bound) for ids in product(range(3), repeat=length)]
    outputs += product(range(3), repeat=bound)  # cut off at the bound
    scored = {ids: log_prob(made, batch, 0, list(ids)) / ((5 + len(ids)) / 6) ** length_penalty for ids in outputs}
    found = make_decoder(beam_size=120, length_penalty=length_penalty, max_length=bound)(made, batch, END)[0]
    best = max(scored, key=scored.__getitem__)
    assert tuple(full(found, bound)) == best
    assert found.log_prob / ((5 + len(best)) / 6) ** length_penalty == pytest.approx(scored[best], abs=1e-4)


@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_a_beam_of_one_is_greedy(model, spec):
    made, batch = lively(model, spec), asked(spec)
    with torch.inference_mode():
        found = Beam(made, batch, Rules(END), torch.full((4,), 8), 1, [LengthPenalty(0.0)]).search(made.step)
    alike([best for (best,) in found], make_decoder(max_length=8)(made, batch, END))


def test_a_wider_beam_is_no_worse_on_the_whole():
    totals = {}
    for size in (1, 8):
        decoder = make_decoder(beam_size=size, length_penalty=0.0, max_length=10)
        made = [lively("seq2seq", "tokens to tokens", seed) for seed in range(5)]
        totals[size] = sum(found.log_prob for one in made for found in decoder(one, asked("tokens to tokens"), END))
    assert totals[8] > totals[1] + 1


class Chain(Generator):
    """Writes each item with a probability that depends on the item before alone. END begins."""

    def __init__(self, probabilities: dict[int, list[float]]):
        super().__init__()
        self.spec = TINY
        table = torch.tensor([probabilities.get(item, [0.25] * 4) for item in range(4)])
        self.output = torch.nn.Linear(4, 4, bias=False)
        self.output.weight = torch.nn.Parameter(table.log().T)

    def start(self, source: Any, lengths: Any) -> tuple[Any, Any]:
        return None, (torch.zeros(1, 1),)

    def decode(self, inputs: torch.Tensor, state: Any, memory: Any) -> tuple[torch.Tensor, Any]:
        return F.one_hot(inputs, 4).float(), state


def beam_of(probabilities: dict[int, list[float]], size: int, length_penalty: float) -> list[int]:
    batch = asked(TINY, rows=1)._replace(inputs=torch.tensor([[END]]))
    made = Chain(probabilities)
    with torch.inference_mode():
        return (
            Beam(made, batch, Rules(END), torch.tensor([4]), size, [LengthPenalty(length_penalty)])
            .search(made.step)[0][0]
            .ids
        )


@pytest.mark.parametrize(("end", "wanted"), [(0.65, []), (0.5, [1, 1, 1, 1])])
def test_a_beam_goes_on_while_a_living_hypothesis_is_ahead(end: float, wanted: list[int]):
    """To end at once, with probability `end`, or to go on to the bound with the rest of it."""
    never = 1e-9
    assert beam_of({END: [never, 1 - end, never, end], 1: [never, 1, never, never]}, 1, 1.0) == wanted


def test_a_beam_stays_full_where_a_hypothesis_ends():
    """Of the first items, END and 0 are the likeliest, but 1 leads to the best output: log 0.317 / (7/6)^2 = -0.84."""
    assert beam_of({END: [0.33, 0.32, 1e-9, 0.35], 1: [0.003, 0.003, 0.004, 0.99]}, 2, 2.0) == [1]


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("items", [7, 16, 48])
def test_a_beam_goes_on_with_the_best_of_all_continuations(items: int, size: int):
    torch.manual_seed(0)
    outputs, totals = torch.randn(2 * size, items), torch.randn(2, size).sort(descending=True).values
    totals[0, 1:] = -torch.inf  # one hypothesis alone may be extended
    beam = Beam(Chain({}), asked(TINY, rows=2), Rules(END), torch.tensor([4, 4]), size, [LengthPenalty(1.0)])
    sums = outputs.log_softmax(1).view(2, size, items) + totals[..., None]
    found, parents, chosen = beam.best(sums, torch.empty(2, size, 0, dtype=torch.long), [0, 1])
    wanted, places = sums.flatten(1).topk(min(2 * size, size * items))
    torch.testing.assert_close(found, wanted)
    there = wanted.isfinite()
    assert torch.equal((parents * items + chosen)[there], places[there])


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_what_is_banned_is_never_written(model, spec, size: int):
    made, batch, how = lively(model, spec), asked(spec), {"beam_size": size, "max_length": 12}
    plain = make_decoder(**how)(made, batch, END)
    long = make_decoder(**how, min_length=5)(made, batch, END)
    assert min(len(found.ids) for found in long) >= 5
    assert all(len(found.ids) >= 5 for found in plain) <= (long == plain)
    for size in (1, 2, 3):
        for found in make_decoder(**how, no_repeat=size)(made, batch, END):
            runs = [*zip(*(found.ids[i:] for i in range(size)), strict=False)]
            assert len(set(runs)) == len(runs)


def test_a_ban_leaves_the_rest_as_probable_as_it_was():
    """After 5 6 5 no 6 may follow, where pairs are not repeated; the end comes after the least length only."""
    log_probs = torch.randn(2, 8).log_softmax(1)
    items = torch.tensor([[5, 6, 5], [6, 5, 7]])
    found = Rules(END, min_length=4, no_repeat=2)(log_probs, items)
    banned = torch.zeros(2, 8, dtype=torch.bool)
    banned[:, END] = banned[0, 6] = True
    assert torch.equal(found, log_probs.masked_fill(banned, -torch.inf))


def test_the_length_penalty_favours_long_outputs():
    batch = asked("tokens to tokens", rows=8)
    models = [lively("seq2seq", "tokens to tokens", seed) for seed in (1, 7)]
    decoders = [make_decoder(beam_size=4, length_penalty=a, max_length=20) for a in (0.0, 1.0, 4.0)]
    items = [sum(len(found.ids) for made in models for found in decode(made, batch, END)) for decode in decoders]
    assert items[0] < items[1] < items[2]


# ------------------------------------------------------------------------------------------------------ several outputs


@pytest.mark.parametrize("seed", range(4))
def test_the_n_best_of_a_wide_beam_are_those_of_exhaustive_search(seed: int):
    made, batch, bound = lively("one_to_many", TINY, seed), asked(TINY, rows=1), 3
    outputs = [(*ids, END) for length in range(bound) for ids in product(range(3), repeat=length)]
    outputs += product(range(3), repeat=bound)  # cut off at the bound
    scored = {ids: log_prob(made, batch, 0, list(ids)) / ((5 + len(ids)) / 6) for ids in outputs}
    (found,) = settings(beam_size=60, n_best=6, max_length=bound)(made, batch, END)
    assert [tuple(full(one, bound)) for one in found] == sorted(scored, key=scored.__getitem__, reverse=True)[:6]


@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_the_first_of_several_outputs_is_the_one_alone(model: str, spec: str):
    made, batch = lively(model, spec), asked(spec)
    several = settings(beam_size=4, n_best=3, max_length=8)(made, batch, END)
    alone = make_decoder(beam_size=4, max_length=8)(made, batch, END)
    for found, best in zip(several, alone, strict=True):
        scores = [one.log_prob / ((5 + len(full(one, 8))) / 6) for one in found]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] >= best.log_prob / ((5 + len(full(best, 8))) / 6) - 1e-6  # it searches longer
        assert len({tuple(one.ids) for one in found}) == len(found) <= 3


def test_several_samples_are_in_the_order_of_their_probability():
    made, batch = lively("seq2seq", "tokens to tokens"), asked("tokens to tokens")
    found = settings(temperature=1.0, n_best=5, max_length=8)(made, batch, END)
    assert [len(samples) for samples in found] == [5] * 4
    assert all(one == sorted(one, key=lambda sample: -sample.log_prob) for one in found)
    assert len({tuple(sample.ids) for sample in found[0]}) > 1


@pytest.mark.parametrize("weight", [0.5, 20.0])
def test_the_coverage_penalty_ranks_by_what_was_looked_at(weight: float):
    """Against the weights that `align` tells for each output alone."""
    made, batch = lively("attn_seq2seq", "tokens to tokens"), asked("tokens to tokens")
    plain = settings(beam_size=6, n_best=6, max_length=8)(made, batch, END)
    found = settings(beam_size=6, n_best=6, max_length=8, coverage_penalty=weight)(made, batch, END)
    for row, hypotheses in enumerate(plain):
        alone, scores = one_row(batch, row), []
        for one in hypotheses:
            inputs = torch.cat([alone.inputs, torch.tensor([one.ids], dtype=torch.long)], 1)
            looked = made.align(alone._replace(inputs=inputs, target=None, target_lengths=None))[0].sum(0)
            coverage = looked.clamp(max=1).log().sum().item()
            scores.append(one.log_prob / ((5 + len(full(one, 8))) / 6) + weight * coverage)
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        assert [one.ids for one in found[row]] == [hypotheses[place].ids for place in order]
    assert weight < 1 or any(a[0].ids != b[0].ids for a, b in zip(plain, found, strict=True))


# ------------------------------------------------------------------------------------------------------------------ end


def forced(spec: str, item: int) -> Any:
    """A model that writes nothing but one item."""
    made = make_model("seq2seq" if "tokens to" in spec else "one_to_many", spec)
    with torch.no_grad():
        made.output.scores.bias[item] = 1e4
    return made


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_model_that_never_ends_stops_at_the_bound(beam_size):
    def lengths(spec: str, **changes: Any) -> list[int]:
        decoder = make_decoder(beam_size=beam_size, **changes)
        return [len(answer.ids) for answer in decoder(forced(spec, 5), asked(spec), END)]

    assert lengths("tokens to tokens") == [60, 52, 64, 56]  # twice the source and 50 more
    assert lengths("tokens to tokens", max_length=7) == [7] * 4
    assert lengths("nothing to tokens") == [500] * 4


def test_the_bound_of_a_source_of_one_item_does_not_depend_on_the_batch():
    batch = one_row(asked("tokens to tokens"), 1)
    assert batch.source.shape == (1, 1)
    assert len(make_decoder()(forced("tokens to tokens", 5), batch, END)[0].ids) == 52


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_model_that_ends_at_once_says_nothing(beam_size):
    found = make_decoder(beam_size=beam_size)(forced("tokens to tokens", END), asked("tokens to tokens"), END)
    assert found == [Hypothesis([], pytest.approx(0))] * 4


@pytest.mark.parametrize("beam_size", [1, 3])
def test_finished_sentences_leave(beam_size):
    made, batch = lively("seq2seq", "tokens to tokens", 3), asked("tokens to tokens", rows=8)
    rows = []
    made.embedding.register_forward_hook(lambda module, arguments, result: rows.append(len(arguments[0])))
    found = make_decoder(beam_size=beam_size, max_length=12)(made, batch, END)
    assert rows[0] == 8
    assert rows[1:] == sorted(rows[1:], reverse=True)
    assert rows[-1] < 8 * beam_size
    if beam_size == 1:
        steps = [len(full(answer, 12)) for answer in found]
        assert rows == [sum(step > t for step in steps) for t in range(max(steps))]


# ------------------------------------------------------------------------------------------------------------- sampling


def frequencies(probabilities: list[float], draws: int = 20_000, **changes: Any) -> list[float]:
    log_probs = torch.tensor([probabilities]).log().expand(draws, -1)
    chosen = settings(**{"temperature": 1.0, **changes}).sampling.choose(log_probs)
    return (chosen.bincount(minlength=len(probabilities)) / draws).tolist()


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, [0.1, 0.5, 0.15, 0.25]),
        ({"temperature": 0.5}, [1 / 34.5, 25 / 34.5, 2.25 / 34.5, 6.25 / 34.5]),  # squares
        ({"top_k": 2}, [0, 2 / 3, 0, 1 / 3]),
        ({"top_k": 9}, [0.1, 0.5, 0.15, 0.25]),
        ({"top_p": 0.6}, [0, 2 / 3, 0, 1 / 3]),  # half is not enough, three quarters are
        ({"top_p": 0.8}, [0, 5 / 9, 1.5 / 9, 2.5 / 9]),
        ({"top_p": 0.01}, [0, 1, 0, 0]),
        ({"top_k": 3, "top_p": 0.5}, [0, 1, 0, 0]),  # the best has more than half of what top_k leaves
        ({"temperature": 0.0}, [0, 1, 0, 0]),
    ],
)
def test_samples_have_the_distribution_that_was_asked_for(changes, wanted):
    found = frequencies([0.1, 0.5, 0.15, 0.25], **changes)
    assert found == pytest.approx(wanted, abs=0.015)
    assert [share == 0 for share in found] == [share == 0 for share in wanted]


def test_top_k_takes_no_more_than_k_among_equals():
    assert sum(share > 0 for share in frequencies([0.25] * 4, top_k=2)) == 2


@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_sampling_from_the_best_item_is_greedy(model, spec):
    made, batch = lively(model, spec), asked(spec)
    alike(
        make_decoder(temperature=0.7, top_k=1, max_length=8)(made, batch, END),
        make_decoder(max_length=8)(made, batch, END),
    )


def test_a_seed_reproduces_samples_and_a_decoder_goes_on_drawing():
    made, batch = make_model("one_to_many", "nothing to tokens"), asked("nothing to tokens")
    decoder = make_decoder(temperature=1.0, max_length=20)
    first, second = decoder(made, batch, END), decoder(made, batch, END)
    again = make_decoder(temperature=1.0, max_length=20)(made, batch, END)
    other = make_decoder(temperature=1.0, max_length=20, seed=1)(made, batch, END)
    assert first == again
    assert first != second
    assert first != other


def test_sampling_leaves_the_global_random_numbers_alone():
    made, batch = make_model("one_to_many", "nothing to tokens"), asked("nothing to tokens")
    before = torch.get_rng_state()
    make_decoder(temperature=1.0, max_length=5)(made, batch, END)
    same(torch.get_rng_state(), before, 0)


@needs_bfloat16
@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(("model", "spec"), MODELS)
def test_bfloat16_finds_what_float32_finds(model: str, spec: str, beam_size: int):
    """Of a model whose scores are far apart: the same outputs but for one in four, and nearly their probabilities."""
    made, batch = lively(model, spec), asked(spec)
    exact, low = (
        make_decoder(beam_size=beam_size, max_length=6, precision=precision)(made, batch, END)
        for precision in ("float32", "bfloat16")
    )
    assert sum(a.ids == b.ids for a, b in zip(exact, low, strict=True)) >= 3
    for a, b in zip(exact, low, strict=True):
        if a.ids == b.ids:
            assert a.log_prob == pytest.approx(b.log_prob, rel=0.05, abs=0.05)
            assert a.log_prob != b.log_prob


# ------------------------------------------------------------------------------------------------------ rules and terms


def test_a_repetition_penalty_takes_off_items_that_are_there():
    log_probs, items = torch.randn(2, 8).log_softmax(1), torch.tensor([[5, 6, 5], [1, 2, 2]])
    found = Rules(END, repetition_penalty=1.5)(log_probs, items)
    there = torch.zeros(2, 8, dtype=torch.bool).scatter(1, items, True)
    torch.testing.assert_close(found, torch.where(there, 1.5 * log_probs, log_probs))


@pytest.mark.parametrize("size", [1, 4])
def test_a_repetition_penalty_makes_outputs_repeat_less(size: int):
    made, batch = lively("seq2seq", "tokens to tokens", 4), asked("tokens to tokens", rows=8)

    def repeated(penalty: float) -> int:
        found = make_decoder(beam_size=size, max_length=20, repetition_penalty=penalty)(made, batch, END)
        return sum(len(one.ids) - len({*one.ids}) for one in found)

    assert repeated(1.0) > 1.3 * repeated(4.0)


def test_what_was_stopped_at_the_bound_says_so():
    made, batch = lively("attn_seq2seq", "tokens to tokens"), asked("tokens to tokens", rows=8)
    for size in (1, 3):
        found = make_decoder(beam_size=size, max_length=8)(made, batch, END)
        assert {one.unfinished for one in found} == {True, False}
        assert all(one.unfinished == (len(one.ids) == 8) for one in found)


@pytest.mark.parametrize(("model", "spec"), [pair for pair in MODELS if pair[1] != "nothing to tokens"])
def test_every_output_holds_its_terms(model, spec):
    """Alone and in a batch with rows that have other terms, or none, whose outputs stay as they are."""
    made, batch = lively(model, spec), asked(spec, rows=4)
    terms = [[(5, 6, 7)], [], [(4,), (8, 1)], [(2, 2, 2)]]
    decoder = settings(beam_size=3, n_best=2, max_length=16)
    found, plain = decoder(made, batch, END, terms), decoder(made, batch, END)
    assert [one.ids for one in found[1]] == [one.ids for one in plain[1]]
    for row, some in enumerate(terms):
        for one in found[row]:
            text = " ".join(map(str, one.ids))
            assert all(" ".join(map(str, term)) in text for term in some)
            assert one.log_prob == pytest.approx(log_prob(made, batch, row, full(one, 16)), abs=1e-4)
        (alone,) = decoder(made, one_row(batch, row), END, [some])
        assert [one.ids for one in alone] == [one.ids for one in found[row]]


@pytest.mark.parametrize("seed", range(4))
def test_terms_are_put_where_the_whole_is_most_probable(seed: int):
    made, batch, bound, term = lively("one_to_many", TINY, seed), asked(TINY, rows=1), 4, (2, 1)
    outputs = [(*ids, END) for length in range(bound) for ids in product(range(3), repeat=length)]
    outputs += product(range(3), repeat=bound)  # cut off at the bound
    held = [ids for ids in outputs if any(ids[i : i + 2] == term for i in range(len(ids)))]
    scored = {ids: log_prob(made, batch, 0, list(ids)) for ids in held}
    ((found,),) = settings(beam_size=60, length_penalty=0.0, max_length=bound)(made, batch, END, [[term]])
    assert tuple(full(found, bound)) == max(scored, key=scored.__getitem__)


# ----------------------------------------------------------------------------------------------------------- consensus


def test_agreement_is_the_mean_f_score_of_ngrams():
    outputs = [[5, 6, 7, 8, 9], [5, 6, 7, 8], [5, 6, 7, 1], [2], []]

    def f_score(output: list[int], reference: list[int], order: int) -> float:
        counts = [
            Counter(tuple(ids[i : i + order]) for i in range(len(ids) - order + 1)) for ids in (output, reference)
        ]
        common, (size, of) = sum((counts[0] & counts[1]).values()), (sum(some.values()) for some in counts)
        if size + of == 0:
            return 1.0
        precision, recall = common / max(size, 1), common / max(of, 1)
        return 5 * precision * recall / (4 * precision + recall) if common else 0.0

    wanted = [sum(f_score(a, b, order) for b in outputs for order in range(1, 5)) / 20 for a in outputs]
    assert agreement(outputs) == pytest.approx(wanted)
    assert agreement([[], []]) == pytest.approx([1, 1])


def test_the_sample_most_like_the_others_comes_first():
    made, batch = lively("seq2seq", "tokens to tokens"), asked("tokens to tokens")
    several = settings(temperature=1.0, n_best=8, max_length=6)(made, batch, END)
    chosen = settings(temperature=1.0, mbr=8, n_best=2, max_length=6)(made, batch, END)
    for samples, best in zip(several, chosen, strict=True):
        likeness = agreement([one.ids for one in samples])
        assert best[0].ids in [one.ids for one, value in zip(samples, likeness, strict=True) if value == max(likeness)]
        assert len(best) == 2
