"""Graphs on a GPU that does not exist: what is captured leaves numbers that are none, until it is replayed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small import make_batch, make_model, same
from torch import Tensor

from seqtrain import graphs
from seqtrain.batch import map_tensors, tensors
from seqtrain.decode import Decoder
from seqtrain.graphs import Graphed, graphed

WARMUP = 2
CPU = torch.device("cpu")


class Fake:
    """What stands for the GPU: captures and replays are counted."""

    captures = 0
    replays = 0

    def capture(self, function: Callable[..., Any], inputs: Any, device: torch.device) -> Any:
        self.captures += 1
        outputs = map_tensors(lambda tensor: torch.full_like(tensor, -1), function(*inputs))

        def replay() -> None:
            self.replays += 1
            for place, tensor in zip(tensors(outputs), tensors(function(*inputs)), strict=True):
                place.copy_(tensor)

        return outputs, replay


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    monkeypatch.setattr(graphs, "capture", made.capture)
    monkeypatch.setattr(graphs, "WARMUP", WARMUP)
    return made


def walk(x: Tensor, state: tuple[Tensor, None], memory: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, None]]:
    total = state[0] + x * memory["scale"]
    return total * 2, (total, None)


def test_a_step_is_replayed_on_what_it_is_given(fake: Fake):
    step, memory = Graphed(walk), {"scale": torch.tensor([2.0, 3.0])}
    state, wanted_state, kept = (torch.zeros(2), None), (torch.zeros(2), None), []
    for i in range(6):
        if i == 4:
            memory = {"scale": torch.tensor([5.0, 7.0])}  # another one of the same shape
        x = torch.full((2,), float(i))
        y, state = step(x, state, memory)
        wanted, wanted_state = walk(x, wanted_state, memory)
        kept.append((y, wanted))
        same(state, wanted_state, 0)
    for y, wanted in kept:  # no later step has changed them
        same(y, wanted, 0)
    assert (fake.captures, fake.replays) == (1, 6 - WARMUP)


def test_what_is_given_stays_as_it_is(fake: Fake):
    step, memory = Graphed(walk), {"scale": torch.ones(2)}
    given = [(torch.full((2,), float(i)), (torch.full((2,), -float(i)), None), memory) for i in range(5)]
    before = map_tensors(Tensor.clone, given)
    for arguments in given:
        step(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(tensors(given), tensors(before), strict=True))


def test_other_shapes_are_called_plainly_and_captured_anew(fake: Fake):
    step, sizes = Graphed(lambda x: x + 1), [3] * 4 + [2] * 2 + [1] * 4 + [3] * 2
    for size in sizes:
        same(step(torch.arange(size)), torch.arange(size) + 1, 0)
    assert (fake.captures, fake.replays) == (2, 4)


def test_a_number_that_changes_is_not_taken_for_a_constant(fake: Fake):
    step = Graphed(lambda x, place: (x + place, place + 1))
    place = 0
    for i in range(6):
        y, place = step(torch.zeros(1), place)
        assert float(y) == i
    assert fake.captures == 0


def test_only_a_gpu_that_infers_has_graphs():
    gpu = torch.device("cuda")
    assert graphed(walk, CPU) is walk
    assert graphed(walk, gpu) is walk
    with torch.inference_mode():
        assert graphed(walk, CPU) is walk
        assert isinstance(graphed(walk, gpu), Graphed)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}, {"beam_size": 3}], ids=["greedy", "sampled", "beam"])
@pytest.mark.parametrize(
    ("model", "spec", "changes"),
    [
        ("attn_seq2seq", "tokens to tokens", {"input_feeding": True}),
        ("attn_seq2seq", "tokens to tokens", {"attention": "multi_head", "num_layers": 3}),
        ("one_to_many", "nothing to tokens", {}),
        ("one_to_many", "one to tokens", {"backbone": "feedforward"}),
    ],
)
def test_decoding_by_graphs_finds_the_same(
    model: str, spec: str, changes: Any, how: Any, precision: str, fake: Fake, monkeypatch: pytest.MonkeyPatch
):
    batch = make_batch(spec, lengths=(1, 1, 1))
    settings = {"beam_size": 1, "length_penalty": 1.0, "temperature": 0.0, "top_k": 0, "top_p": 1.0}
    settings |= {"max_length": 12, "precision": precision, "graphs": False, "seed": 0, **how}
    lengths = set()
    for seed in range(4):
        made = make_model(model, spec, seed=seed, **changes)
        with monkeypatch.context() as context:
            plain = Decoder(**settings)(made, batch, 3)
            context.setattr("seqtrain.decode.graphed", lambda function, device: Graphed(function))
            assert Decoder(**settings | {"graphs": True})(made, batch, 3) == plain
        lengths |= {len(found.ids) for found in plain}
    assert fake.replays > fake.captures > 0
    assert len(lengths) > 1  # some have ended while others were replayed
