"""Recorded steps make what the steps make, and what cannot be recorded stays a plain function."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from small import PRECISIONS, make_batch, make_model, same
from torch import Tensor

from seqtrain.decoding.decoder import Decoder
from seqtrain.machine import capture
from seqtrain.machine.accelerate import accelerate
from seqtrain.machine.capture import Recorded
from seqtrain.machine.kernels import Kernels
from seqtrain.trees import map_tensors, tensors

WARMUP = 2


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "WARMUP", WARMUP)


def walk(x: Tensor, state: tuple[Tensor, None], memory: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, None]]:
    total = state[0] + x * memory["scale"]
    return total * 2, (total, None)


@torch.inference_mode()
def test_a_step_is_replayed_on_its_inputs():
    step, memory = Recorded(walk), {"scale": torch.tensor([2.0, 3.0])}
    state, wanted_state, kept = (torch.zeros(2), None), (torch.zeros(2), None), []
    for i in range(8):
        if i == 6:
            memory = {"scale": torch.tensor([5.0, 7.0])}  # another one of the same shape
        x = torch.full((2,), float(i))
        y, state = step(x, state, memory)
        wanted, wanted_state = walk(x, wanted_state, memory)
        kept.append((y, wanted))
        same(state, wanted_state, 0)
    assert step.replay is not None
    for y, wanted in kept:  # no later step has changed them
        same(y, wanted, 0)


@torch.inference_mode()
def test_the_inputs_stay_as_they_are():
    step, memory = Recorded(walk), {"scale": torch.ones(2)}
    inputs = [(torch.full((2,), float(i)), (torch.full((2,), -float(i)), None), memory) for i in range(6)]
    before = map_tensors(Tensor.clone, inputs)
    for arguments in inputs:
        step(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(tensors(inputs), tensors(before), strict=True))


@torch.inference_mode()
def test_other_shapes_are_called_plainly_and_recorded_anew():
    calls = []
    step = Recorded(lambda x: (calls.append(len(x)), x + 1)[1])
    for size in [3] * 6 + [2] * 2 + [1] * 6 + [3] * 2:
        same(step(torch.arange(size)), torch.arange(size) + 1, 0)
    assert calls == [3] * 4 + [2] * 2 + [1] * 4 + [3] * 2  # WARMUP, the recorded one, and the one made both ways


@torch.inference_mode()
def test_a_number_that_changes_is_not_taken_for_a_constant():
    step = Recorded(lambda x, place: (x + place, place + 1))
    place = 0
    for i in range(8):
        y, place = step(torch.zeros(1), place)
        assert float(y) == i
    assert step.replay is None


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
    recording = Recorded(function)
    for _ in range(6):
        x = torch.rand(4)
        found, wanted = recording(x), function(x)
        assert type(found) is type(wanted)
        same(found, wanted, 0)
    assert recording.replay is not None


@torch.inference_mode()
def test_a_recording_tells_the_inputs_apart_though_they_were_one_tensor():
    recording = Recorded(torch.sub)
    for _ in range(WARMUP + 1):
        same(recording(*(torch.ones(2),) * 2), torch.zeros(2), 0)
    for i in range(3):
        same(recording(torch.ones(2), torch.full((2,), float(i))), torch.full((2,), 1.0 - i), 0)
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
    recording, plain = Recorded(make()), make()
    for i in range(8):
        x = torch.tensor([i % 2, float(i)])
        same(recording(x), plain(x), 0)
    assert recording.replay is None


@torch.inference_mode()
def test_samples_are_drawn_anew():
    recording = Recorded(torch.rand_like)
    assert len({float(recording(torch.zeros(1))) for _ in range(8)}) == 8
    assert recording.replay is None


def test_a_recording_needs_no_compiler():
    """torch imports it, for 1.3 s, for whatever records operations and does not say no."""
    code = (
        "import sys, torch\nfrom seqtrain.machine.capture import Recorded\n"
        "with torch.inference_mode():\n    made = Recorded(torch.tanh)\n"
        "    for _ in range(20):\n        made(torch.ones(2))\n"
        "assert made.replay\nassert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("precision", PRECISIONS)
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
def test_decoding_by_recorded_steps_finds_the_same(
    model: str, spec: str, changes: Any, how: Any, precision: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Kernels, "fastest", lambda self, work, ways, make: ways[-1])
    batch = make_batch(spec, lengths=(1, 1, 1))
    settings = {"beam_size": 1, "n_best": 1, "length_penalty": 1.0, "coverage_penalty": 0.0, "temperature": 0.0}
    settings |= {
        "top_k": 0,
        "top_p": 1.0,
        "max_length": 12,
        "min_length": 0,
        "no_repeat": 0,
        "repetition_penalty": 1.0,
        "mbr": 0,
        "length": 1,
        "precision": precision,
        "seed": 0,
    }
    settings |= how
    lengths, recorded = set(), list[Recorded]()

    def wrap(step: Callable[..., Any]) -> Recorded:
        recorded.append(Recorded(step))
        return recorded[-1]

    for seed in range(12):
        made = make_model(model, spec, seed=seed, **changes)
        accelerate(made, Kernels())
        plain = Decoder(**settings)(made, batch, 3)
        assert Decoder(**settings, wrap=wrap)(made, batch, 3) == plain
        lengths |= {len(found.ids) for (found,) in plain}
    assert any(step.replay is not None and step.calls > WARMUP + 2 for step in recorded)
    assert len(lengths) > 1  # some have ended while others were replayed
