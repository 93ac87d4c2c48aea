"""Captured steps: recordings, and graphs on a GPU that does not exist, whose captures leave numbers that are none until
they are replayed."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from small import make_batch, make_model, same
from torch import Tensor

from seqtrain import graphs
from seqtrain.batch import map_tensors, tensors
from seqtrain.decode import Decoder
from seqtrain.graphs import Graph, Graphed, Recording, graphed

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
    step, memory = Graphed(walk, Graph), {"scale": torch.tensor([2.0, 3.0])}
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
    step, memory = Graphed(walk, Graph), {"scale": torch.ones(2)}
    given = [(torch.full((2,), float(i)), (torch.full((2,), -float(i)), None), memory) for i in range(5)]
    before = map_tensors(Tensor.clone, given)
    for arguments in given:
        step(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(tensors(given), tensors(before), strict=True))


def test_other_shapes_are_called_plainly_and_captured_anew(fake: Fake):
    step, sizes = Graphed(lambda x: x + 1, Graph), [3] * 4 + [2] * 2 + [1] * 4 + [3] * 2
    for size in sizes:
        same(step(torch.arange(size)), torch.arange(size) + 1, 0)
    assert (fake.captures, fake.replays) == (2, 4)


def test_a_number_that_changes_is_not_taken_for_a_constant(fake: Fake):
    step = Graphed(lambda x, place: (x + place, place + 1), Graph)
    place = 0
    for i in range(6):
        y, place = step(torch.zeros(1), place)
        assert float(y) == i
    assert fake.captures == 0


def test_only_what_infers_is_captured():
    cpu, gpu = CPU, torch.device("cuda")
    assert graphed(walk, cpu, True) is walk
    assert graphed(walk, gpu, True) is walk
    with torch.inference_mode():
        for device, on_cuda, capture in ((cpu, False, Recording), (gpu, True, Graph)):
            made = graphed(walk, device, on_cuda)
            assert isinstance(made, Graphed)
            assert made.capture is capture
        assert graphed(walk, gpu, False) is walk
        assert graphed(walk, torch.device("mps"), True) is walk


class Point(NamedTuple):
    x: Tensor
    y: int


@torch.inference_mode()
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.tanh() + 1,
        lambda x: x,
        lambda x: {"a": [x.chunk(2)[1], None], "b": Point(torch.cat([x, x]), 3)},
        lambda x: x.float().to(torch.float32) * x.size(0),
        lambda x: torch.stack(x.unbind()).sort().values,
        lambda x: (x, x),
    ],
)
def test_a_recording_makes_what_the_function_makes(function: Callable[..., Any]):
    recording = Recording(function)
    for _ in range(4):
        x = torch.rand(4)
        found, wanted = recording((x,)), function(x)
        assert type(found) is type(wanted)
        same(found, wanted, 0)
    assert recording.replay is not None


@torch.inference_mode()
def test_a_recording_tells_the_inputs_apart_though_they_were_one_tensor():
    recording = Recording(torch.sub)
    same(recording((torch.ones(2),) * 2), torch.zeros(2), 0)
    for i in range(3):
        same(recording((torch.ones(2), torch.full((2,), float(i)))), torch.full((2,), 1.0 - i), 0)
    assert recording.replay is not None


def numpy_on_the_way(x: Tensor) -> Tensor:
    return torch.from_numpy(x.numpy() + 1)


class Counts(torch.nn.Module):
    """Adds how often it has been called, which a number or a tensor keeps."""

    def __init__(self, start: Any):
        super().__init__()
        self.calls = start

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


@torch.inference_mode()
@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda x: x + 1 if x[0] > 0.5 else x - 1,
        lambda: lambda x: x * x.max().item(),
        lambda: lambda x: x.clone().add_(1),
        lambda: numpy_on_the_way,
        lambda: Counts(0),
        lambda: Counts(torch.zeros(1)),
    ],
    ids=["branch", "item", "in place", "numpy", "number", "buffer"],
)
def test_what_does_more_than_operations_stays_a_plain_function(make: Callable[[], Callable[..., Any]]):
    recording, plain = Recording(make()), make()
    for i in range(5):
        x = torch.tensor([i % 2, float(i)])
        same(recording((x,)), plain(x), 0)
    assert recording.replay is None


@torch.inference_mode()
def test_samples_are_drawn_anew():
    recording = Recording(torch.rand_like)
    assert len({float(recording((torch.zeros(1),))) for _ in range(5)}) == 5
    assert recording.replay is None


def test_a_recording_needs_no_compiler():
    """torch imports it, for 1.3 s, for whatever records operations and does not say no."""
    code = (
        "import sys, torch\nfrom seqtrain.graphs import Recording\n"
        "with torch.inference_mode():\n    made = Recording(torch.tanh)\n    made((torch.ones(2),))\n"
        "assert made.replay\nassert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("capture", [Graph, Recording])
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
def test_decoding_by_captures_finds_the_same(
    model: str,
    spec: str,
    changes: Any,
    how: Any,
    precision: str,
    capture: Any,
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
):
    batch = make_batch(spec, lengths=(1, 1, 1))
    settings = {"beam_size": 1, "length_penalty": 1.0, "temperature": 0.0, "top_k": 0, "top_p": 1.0}
    settings |= {"max_length": 12, "precision": precision, "graphs": False, "seed": 0, **how}
    lengths, captured = set(), []

    def captures(function: Any) -> Any:
        captured.append(capture(function))
        return captured[-1]

    for seed in range(4):
        made = make_model(model, spec, seed=seed, **changes)
        with monkeypatch.context() as context:
            context.setattr("seqtrain.decode.graphed", lambda function, device, on_cuda: function)
            plain = Decoder(**settings)(made, batch, 3)
            context.setattr("seqtrain.decode.graphed", lambda function, device, on_cuda: Graphed(function, captures))
            assert Decoder(**settings)(made, batch, 3) == plain
        lengths |= {len(found.ids) for found in plain}
    assert all(one.replay is not None for one in captured)
    assert any(one.calls > 2 for one in captured) if capture is Recording else fake.replays > fake.captures > 0
    assert len(lengths) > 1  # some have ended while others were replayed
