from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from small import SPECS, make_batch, same

from seqtrain.batch import (
    Batch,
    Batching,
    Loader,
    Ragged,
    Reals,
    Source,
    ahead,
    in_order,
    length_mask,
    map_tensors,
    real_positions,
    shuffled,
)

RANDOM = np.random.default_rng(0)
LENGTHS = RANDOM.lognormal(2.9, 0.6, 20_000).astype(int) + 1  # words of sentences: mostly 10 to 30, some 100
BATCHINGS = [Batching(32, None), Batching(None, 1000)]


class Numbers:
    """Examples whose batches say only which rows they hold."""

    lengths = LENGTHS[:1000]

    def batch(self, rows: np.ndarray) -> Batch:
        lengths = torch.from_numpy(self.lengths[rows])
        return Batch(None, None, None, torch.zeros(len(rows), 1), lengths, torch.arange(0), rows)


def loader(seed: int = 0, batching: Batching = BATCHINGS[0]) -> Loader:
    return Loader(Numbers(), shuffled(Numbers.lengths, batching, seed, pool=4))


def rows_of(batches) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches]


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


def test_real_positions_are_flat_places():
    lengths = np.array([2, 0, 3])
    assert real_positions(lengths).tolist() == [0, 1, 6, 7, 8]
    assert real_positions(lengths, width=5).tolist() == [0, 1, 10, 11, 12]
    assert length_mask(torch.from_numpy(lengths), 3).tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_a_batch_gathers_and_counts_its_real_positions():
    batch = make_batch("tokens to tokens", (5, 3, 7), (4, 6, 1))
    wanted = torch.cat([batch.target[0, :4], batch.target[1, :6], batch.target[2, :1]])
    same(batch.real(batch.target), wanted, 0)
    same(batch.real(batch.target[..., None].expand(-1, -1, 2)), wanted[:, None].expand(-1, 2), 0)
    assert batch.positions() == (15 + 11, 3 * 7 + 3 * 6)
    assert make_batch("nothing to tokens", lengths=(4, 6, 1)).positions() == (11, 18)


def test_a_batch_moves_with_everything_but_its_row_numbers():
    batch = make_batch("tokens to tokens")
    moved = batch.to(torch.device("meta"))
    assert {field.device.type for field in moved if isinstance(field, torch.Tensor)} == {"meta"}
    assert moved.rows is batch.rows


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
    assert SPECS["tokens to tokens"].feed(scores, torch.tensor([[5]])).tolist() == [[1]]
    spec = SPECS["reals to reals"]._replace(outputs=3, inputs=Reals((5,)))
    assert spec.source_form is Source.MANY
    same(spec.feed(scores, torch.arange(5.0).view(1, 1, 5)), torch.tensor([[[0.1, 0.9, 0.0, 3.0, 4.0]]]))


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
    for start in (0, 1, 31, 32):
        assert rows_of(loader().epoch(2, start)) == whole[start:]


def test_a_loader_of_a_few_batches_repeats_them():
    few = loader().only(3)
    assert few.size(5) == 3
    assert rows_of(few.epoch(0)) == rows_of(few.epoch(5)) == rows_of(loader().epoch(0))[:3]


# ------------------------------------------------------------------------------------------------- on the way to a GPU


def counted(events: list[Any]) -> Iterator[int]:
    for i in range(3):
        events.append(("made", i))
        yield i


def test_on_the_cpu_nothing_is_made_ahead():
    events: list[Any] = []
    items = ahead(counted(events), torch.device("cpu"))
    assert events == []
    for i in range(3):
        assert next(items) == i
        assert events[-1] == ("made", i)
    assert next(items, None) is None


def test_for_a_gpu_the_next_one_is_made_on_another_stream(monkeypatch: pytest.MonkeyPatch):
    """On streams that only note what is asked of them."""
    events: list[Any] = []
    streams = ["main"]

    class Stream:
        def __init__(self, device: torch.device):
            self.recorded = 0

        def record_event(self) -> int:
            self.recorded += 1
            return self.recorded - 1

        def wait_event(self, event: int) -> None:
            events.append(("awaited", event))

    @contextmanager
    def entered(stream: Stream) -> Iterator[None]:
        streams.append("other")
        yield
        streams.pop()

    def items() -> Iterator[int]:
        for item in counted(events):
            assert streams[-1] == "other"
            yield item

    main = Stream(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: main)
    for item in ahead(items(), torch.device("cuda")):
        assert streams == ["main"]
        events.append(("used", item))
    assert events == [
        ("made", 0),
        *[("made", 1), ("awaited", 0), ("used", 0)],
        *[("made", 2), ("awaited", 1), ("used", 1)],
        *[("awaited", 2), ("used", 2)],
    ]


def test_a_copy_to_a_gpu_is_from_pinned_memory_and_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    batch, asked = make_batch("tokens to tokens"), []
    wide = batch._replace(inputs=torch.cat([batch.inputs, batch.inputs], 1)[:, 1:-1])

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        assert tensor.is_contiguous()  # else it would be copied once more, and waited for
        return tensor.clone()

    def to(tensor: torch.Tensor, device: torch.device, non_blocking: bool) -> torch.Tensor:
        asked.append((device.type, non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", to)
    moved = wide.to(torch.device("cuda"))
    assert asked == [("cuda", True)] * 6
    assert all(torch.equal(a, b) for a, b in zip(moved[:6], wide[:6], strict=True))
    asked.clear()
    there = wide.to(torch.device("cpu"))
    assert asked == [("cpu", False)] * 6
    assert all(a is b for a, b in zip(there, wide, strict=True))
