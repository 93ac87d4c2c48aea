import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from small import make_batch, same

from seqtrain.codecs.ragged import Ragged
from seqtrain.contract import Batch, Batching, Examples, by_row, length_mask, real
from seqtrain.engine.loader import Loader, in_order, shuffled
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.likelihoods.point import Point
from seqtrain.trees import map_tensors

RANDOM = np.random.default_rng(0)
LENGTHS = RANDOM.lognormal(2.9, 0.6, 20_000).astype(int) + 1  # words of sentences: mostly 10 to 30, some 100
BATCHINGS = [Batching(32, None), Batching(None, 1000)]


class Numbers(Examples):
    """Examples whose batches say only which rows they hold."""

    lengths = LENGTHS[:1000]

    @property
    def sizes(self) -> np.ndarray:
        return np.stack([self.lengths, self.lengths], 1)

    def batch(self, rows: np.ndarray, random: np.random.Generator | None = None) -> Batch:
        lengths = torch.from_numpy(self.lengths[rows])
        return Batch(torch.from_numpy(rows)[:, None], None, None, torch.zeros(len(rows), 1), lengths)


def loader(seed: int = 0, batching: Batching = BATCHINGS[0]) -> Loader:
    return Loader(Numbers(), shuffled(Numbers.lengths, batching, seed, pool=4))


def rows_of(batches) -> list[list[int]]:
    return [batch.source[:, 0].tolist() for batch in batches]


# ------------------------------------------------------------------------------------------------------------ positions


def test_ragged_rows_are_padded_to_the_longest_of_the_batch():
    ragged = Ragged.of([[1, 2, 3], [], [4], [5, 6, 7, 8]])
    padded, lengths = ragged.padded(np.array([2, 0, 1]), pad=9)
    assert padded.tolist() == [[4, 9, 9], [1, 2, 3], [9, 9, 9]]
    assert lengths.tolist() == [1, 3, 0]
    assert ragged[3].tolist() == [5, 6, 7, 8]
    assert ragged.padded(np.array([3, 3]), pad=0)[0].tolist() == [[5, 6, 7, 8]] * 2


def test_a_batch_of_empty_rows_has_one_position_of_padding():
    padded, lengths = Ragged.of([[1], [], []]).padded(np.array([1, 2]), pad=7)
    assert padded.tolist() == [[7], [7]]
    assert lengths.tolist() == [0, 0]


def test_real_positions_come_row_by_row_and_their_sums_go_back_to_the_rows():
    lengths = torch.tensor([2, 0, 3])
    assert real(torch.arange(9).view(3, 3), lengths).tolist() == [0, 1, 6, 7, 8]
    assert real(torch.arange(15).view(3, 5), lengths).tolist() == [0, 1, 10, 11, 12]
    assert real(torch.arange(4).view(2, 2), None).tolist() == [0, 1, 2, 3]
    assert by_row(torch.tensor([1, 2, 4, 8, 16]), lengths).tolist() == [3, 0, 28]
    assert length_mask(lengths, 3).tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_a_batch_gathers_and_counts_its_real_positions():
    batch = make_batch("tokens to tokens", (5, 3, 7), (4, 6, 1))
    wanted = torch.cat([batch.target[0, :4], batch.target[1, :6], batch.target[2, :1]])
    same(batch.real(batch.target), wanted, 0)
    same(batch.real(batch.target[..., None].expand(-1, -1, 2)), wanted[:, None].expand(-1, 2), 0)
    assert batch.positions() == (15 + 11, 3 * 7 + 3 * 6)
    assert make_batch("nothing to tokens", lengths=(4, 6, 1)).positions() == (11, 18)


def test_a_batch_moves_as_a_whole():
    moved = make_batch("tokens to tokens")._replace(continues=True).to(torch.device("meta"))
    assert {field.device.type for field in moved if isinstance(field, torch.Tensor)} == {"meta"}
    assert moved.continues


class Named(NamedTuple):
    tensor: torch.Tensor
    size: int


def test_a_function_of_tensors_keeps_the_form_of_a_state():
    state = (None, (torch.zeros(1), (torch.ones(2),)), Named(torch.ones(3), 5))
    nothing, pair, named = map_tensors(lambda t: t + 1, state)
    assert nothing is None
    same(pair, (torch.ones(1), (torch.full((2,), 2.0),)), 0)
    assert isinstance(named, Named)
    same(named.tensor, torch.full((3,), 2.0), 0)
    assert named.size == 5


def test_the_next_input_is_the_best_id_or_the_scores_beside_the_covariates():
    scores = torch.tensor([[[0.1, 0.9, 0.0]]])
    best = Categorical(3)
    assert best.feed(best.pick(scores), torch.tensor([[5]])).tolist() == [[1]]
    point = Point(3)
    fed = point.feed(point.pick(scores), torch.arange(5.0).view(1, 1, 5))
    same(fed, torch.tensor([[[0.1, 0.9, 0.0, 3.0, 4.0]]]))


# -------------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("batching", BATCHINGS)
def test_an_epoch_shows_every_example_once_and_no_two_epochs_are_alike(batching):
    plan = shuffled(LENGTHS[:1000], batching, seed=0, pool=4)
    epochs = [plan(number) for number in range(3)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    first, second, third = (np.concatenate(batches).tolist() for batches in epochs)
    assert first != second != third != first
    assert {frozenset(b.tolist()) for b in epochs[0]}.isdisjoint(frozenset(b.tolist()) for b in epochs[1])


@pytest.mark.parametrize("batching", BATCHINGS)
def test_a_plan_depends_on_seed_and_epoch_alone(batching):
    assert rows_of(loader(0, batching).epoch(3)) == rows_of(loader(0, batching).epoch(3))
    assert rows_of(loader(0, batching).epoch(3)) != rows_of(loader(1, batching).epoch(3))


@pytest.mark.parametrize("plan", [shuffled(LENGTHS, Batching(None, 500), 0), in_order(LENGTHS, Batching(None, 500))])
def test_batches_of_positions_stay_below_their_bound_and_are_filled(plan):
    sizes = [len(rows) * LENGTHS[rows].max() for rows in plan(0)]
    assert max(sizes) <= 500
    assert np.mean(sizes) > 450


def test_an_example_above_the_bound_is_a_batch_by_itself():
    lengths = np.array([3, 900, 3, 3, 1000])
    batches = in_order(lengths, Batching(None, 10))(0)
    assert [rows.tolist() for rows in batches] == [[0, 2, 3], [1], [4]]


@pytest.mark.parametrize("batching", [Batching(64, None), Batching(None, 2000)])
def test_almost_nothing_is_padding(batching):
    batches = shuffled(LENGTHS, batching, seed=0)(0)
    every = sum(len(rows) * LENGTHS[rows].max() for rows in batches)
    assert 1 - LENGTHS.sum() / every < 0.05
    longest = [LENGTHS[rows].max() for rows in batches]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.2  # and yet short and long ones are mixed


@pytest.mark.parametrize("batching", BATCHINGS)
def test_evaluation_covers_every_example_from_short_to_long(batching):
    batches = in_order(LENGTHS[:1000], batching)(0)
    rows = np.concatenate(batches)
    assert sorted(rows.tolist()) == list(range(1000))
    assert (np.diff(LENGTHS[rows]) >= 0).all()


def test_no_examples_make_no_batches():
    none = np.array([], int)
    for batching in BATCHINGS:
        assert in_order(none, batching)(0) == []


def test_a_loader_goes_on_anywhere_inside_an_epoch():
    made = loader()
    whole = rows_of(made.epoch(2))
    assert made.size(2) == len(whole) == 32
    assert rows_of(made.epoch(0)) != whole
    for start in (0, 1, 31):
        assert rows_of(itertools.islice(loader().stream(2, start), 32 - start)) == whole[start:]


def test_a_loader_of_a_few_batches_repeats_them():
    few = loader().first_batches(3)
    assert few.size(5) == 3
    assert rows_of(few.epoch(0)) == rows_of(few.epoch(5)) == rows_of(loader().epoch(0))[:3]


def test_the_stream_goes_on_through_the_epochs_from_any_place() -> None:
    made = loader()
    first, second = (rows_of(made.epoch(number)) for number in (1, 2))
    for start in (0, 3, len(first) - 1):
        left = [*first[start:], *second]
        assert rows_of(itertools.islice(made.stream(1, start), len(left))) == left


@pytest.mark.parametrize("size", [2, 40])
def test_parts_of_batches_are_the_batches(size: int) -> None:
    """With more processes than rows some parts are empty."""
    whole = rows_of(loader().epoch(1))
    parts = [rows_of(loader().epoch(1, slice(rank, None, size))) for rank in range(size)]
    assert [sorted(row for part in same for row in part) for same in zip(*parts, strict=True)] == [
        sorted(batch) for batch in whole
    ]


class Noisy(Numbers):
    """Examples that are changed at random."""

    def batch(self, rows: np.ndarray, random: np.random.Generator | None = None) -> Batch:
        assert random is not None
        return super().batch(rows)._replace(source=torch.from_numpy(random.integers(2**31, size=(len(rows), 1))))


@pytest.mark.parametrize("workers", [0, 2])
def test_random_changes_are_those_of_the_seed_the_epoch_and_the_batch(workers: int) -> None:
    def draws(seed: int, start: int = 0) -> list[list[int]]:
        made = Loader.of(Noisy(), BATCHINGS[0], seed, workers)
        return rows_of(itertools.islice(made.stream(2, start), 5))

    before = torch.get_rng_state()
    found = draws(0)
    assert torch.equal(torch.get_rng_state(), before)
    assert found == draws(0)
    assert found[3:] == draws(0, 3)[:2]
    assert found != draws(1)
    assert len({row for batch in found for row in batch}) == sum(map(len, found))
