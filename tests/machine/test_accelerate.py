"""The accelerated model makes the numbers of the plain one, whichever ways are taken."""

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from small import SPECS, make_batch, make_model, model_class, needs_bfloat16, options, same
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain import layers
from seqtrain.backbones.gru import GRU
from seqtrain.backbones.lstm import LSTM
from seqtrain.backbones.rnn import RNN
from seqtrain.contract import Batch, Free
from seqtrain.decoding.decoder import Decoder
from seqtrain.engine.checkpoint import weights_of
from seqtrain.machine import linear
from seqtrain.machine.accelerate import accelerate
from seqtrain.machine.capture import Recorded
from seqtrain.machine.kernels import Kernels, Ways
from seqtrain.machine.loops import Steps
from seqtrain.machine.scan import walk

END, LONGEST = 3, 30  # of an output: the mark that ends it, and how long it may be
CELLS = ("gru", "lstm", "rnn")  # walked in several ways, so that every form is tried; of other backbones, two a model


def fitting() -> Iterator[tuple[str, str, str]]:
    for model in options("model"):
        specs = [spec for spec in SPECS if model_class(model).refuse(SPECS[spec]) is None]
        free = [spec for spec in specs if SPECS[spec].form == Free()]
        for backbone in options("backbone"):
            for spec in specs if backbone in CELLS else dict.fromkeys([*specs[:1], *free[-1:]]):
                yield model, spec, backbone


FITTING = list(fitting())
LOOPS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("attn_seq2seq", "tokens to tokens", "lstm", {"input_feeding": True}),
    ("attn_seq2seq", "reals to tokens", "gru", {"input_feeding": True, "attention": "additive"}),
    ("attn_seq2seq", "tokens to tokens", "rnn", {"input_feeding": True, "attention": "multi_head", "num_layers": 1}),
    ("attn_seq2seq", "reals to reals", "lstm", {"teacher_forcing": 0.5}),
    ("seq2seq", "tokens to tokens", "gru", {"teacher_forcing": 0.0, "num_layers": 2}),
]
CASES = [(*case, {}) for case in FITTING] + LOOPS
WAYS = ["plain", "cell", "oneDNN", "folded", "laid out"]
FREE = [case for case in FITTING if SPECS[case[1]].form == Free()]
DECODED = [pytest.param(*case, "float32", way) for case in FREE for way in WAYS]
DECODED += [  # each case in one of the ways
    pytest.param(*case, "bfloat16", WAYS[i % len(WAYS)], marks=needs_bfloat16) for i, case in enumerate(FREE)
]


@pytest.fixture(params=WAYS)
def taken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Lets all layers take one way, however small they are, or the first one where they do not have it. Holds the ways
    that were taken."""
    found = set[str]()

    def take(self: Any, work: str, ways: Sequence[str], make: Callable[[], Ways]) -> str:
        way = request.param if request.param in ways else ways[0]
        found.add(way)
        return way

    monkeypatch.setattr(Kernels, "fastest", take)
    monkeypatch.setattr(linear, "LARGE", 1)
    return found


def accelerated(plain: Any) -> Any:
    fast = deepcopy(plain)
    accelerate(fast, Kernels())
    return fast


def gradients(model: nn.Module, spec: str, precision: torch.dtype = torch.float32) -> list[Tensor]:
    """Scores and gradients of two batches, one after the other: nothing of the first one may be left behind."""
    found = []
    for seed in range(2):
        torch.manual_seed(0)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            scores = model(make_batch(spec, seed=seed)).scores
        given = torch.autograd.grad(scores.float().square().sum(), list(model.parameters()), allow_unused=True)
        found += [scores.detach(), *(gradient for gradient in given if gradient is not None)]
    return found


@pytest.mark.parametrize(("model", "spec", "backbone", "changes"), CASES)
def test_scores_and_gradients_are_those_of_the_plain_model(
    model: str, spec: str, backbone: str, changes: dict[str, Any], taken: set[str]
) -> None:
    plain = make_model(model, spec, backbone, **changes)
    fast = accelerated(plain)
    for training in (False, True):
        wanted = gradients(plain.train(training), spec)
        same(gradients(fast.train(training), spec), wanted, 1e-4)
    with torch.inference_mode():
        same(fast.eval()(make_batch(spec)).scores, plain.eval()(make_batch(spec)).scores, 1e-4)


@needs_bfloat16
@pytest.mark.parametrize(("model", "spec", "backbone", "changes"), LOOPS)
def test_loops_are_trained_alike_in_bfloat16(
    model: str, spec: str, backbone: str, changes: dict[str, Any], taken: set[str]
) -> None:
    plain = make_model(model, spec, backbone, **changes).train()
    for found, wanted in zip(*(gradients(m, spec, torch.bfloat16) for m in (accelerated(plain), plain)), strict=True):
        assert float((found - wanted).float().norm()) <= 0.05 * float(wanted.float().norm()) + 1e-2


def test_each_way_is_taken(taken: set[str], request: pytest.FixtureRequest) -> None:
    """Of the tests above, in one model that has a loop."""
    fast = accelerated(make_model("attn_seq2seq", "tokens to tokens", input_feeding=True)).train()
    fast(make_batch("tokens to tokens"))
    with torch.inference_mode():
        fast(make_batch("tokens to tokens"))
    way = request.node.callspec.params["taken"]
    assert way == "plain" or way in taken


@pytest.mark.parametrize(("model", "spec", "backbone", "precision", "taken"), DECODED, indirect=["taken"])
def test_decoding_finds_what_the_plain_model_finds(
    model: str, spec: str, backbone: str, precision: str, taken: set[str]
) -> None:
    settings: dict[str, Any] = {"n_best": 1, "length_penalty": 1.0, "coverage_penalty": 0.0, "temperature": 0.0}
    settings |= {
        "top_k": 0,
        "top_p": 1.0,
        "max_length": LONGEST,
        "min_length": 0,
        "no_repeat": 0,
        "repetition_penalty": 1.0,
        "mbr": 0,
        "length": 1,
        "seed": 0,
    }
    batch, plain = make_batch(spec, lengths=(1, 1, 1)), make_model(model, spec, backbone, seed=2)
    fast = accelerated(plain)
    for size in (1, 3):
        wanted = Decoder(beam_size=size, precision=precision, **settings)(plain, batch, END)
        found = Decoder(beam_size=size, precision=precision, **settings, wrap=Recorded)(fast, batch, END)
        if precision == "float32":
            assert [answer.ids for (answer,) in found] == [answer.ids for (answer,) in wanted]
        true = [log_prob(plain, batch.select(slice(row, row + 1)), answer.ids) for row, (answer,) in enumerate(found)]
        close = {"rel": 1e-4} if precision == "float32" else {"rel": 0.05, "abs": 0.2}
        assert [answer.log_prob for (answer,) in found] == pytest.approx(true, **close)


@torch.inference_mode()
def log_prob(model: Any, batch: Batch, ids: Sequence[int]) -> float:
    """Of ids, and of the end mark where they are not as long as they may be, by a model that reads them."""
    written = torch.tensor([[*ids, END][:LONGEST]])
    assert batch.inputs is not None
    inputs = torch.cat([batch.inputs[:, :1], written[:, :-1]], 1)
    batch = batch._replace(inputs=inputs, target=written, target_lengths=torch.tensor([written.size(1)]))
    return -float(model.spec.likelihood.nll(model(batch), batch))


def test_the_model_keeps_its_parameters_and_their_names() -> None:
    plain = make_model("attn_seq2seq", "tokens to tokens")
    names, weights = list(plain.state_dict()), list(plain.parameters())
    kinds = {name: type(module) for name, module in plain.named_modules()}
    accelerate(plain, Kernels())
    assert list(plain.state_dict()) == names
    assert all(a is b for a, b in zip(plain.parameters(), weights, strict=True))
    assert all(isinstance(module, kinds[name]) for name, module in plain.named_modules())
    assert weights_of(plain).keys() == weights_of(make_model("attn_seq2seq", "tokens to tokens")).keys()
    assert any(type(module) is not kinds[name] for name, module in plain.named_modules())


def test_a_scan_walks_to_the_same_numbers_and_gradients():
    g, v, state = torch.randn(3, 7, 4, requires_grad=True), torch.randn(3, 7, 4, requires_grad=True), torch.randn(3, 4)
    inputs = (g, v, state.requires_grad_())
    weights = torch.randn(3, 7, 4)
    plain, walked = layers.Scan()(*inputs), walk(*inputs)
    same(walked, plain)
    gradients = [torch.autograd.grad((y * weights).sum(), inputs) for y in (plain, walked)]
    same(gradients[1], gradients[0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_ways_of_a_scan_can_be_tried(mode):
    made = make_model("seq2seq", "tokens to tokens", "mingru")
    accelerate(made, Kernels())
    with mode():
        for way in made.decoder.ahead[0].scan.ways(3, 7, 4).values():
            way()


@pytest.mark.parametrize("layer", [nn.LSTM(4, 4, 2), nn.GRU(4, 4, bidirectional=True), nn.RNN(4, 4, bias=False)])
def test_other_layers_stay_as_they_are(layer: nn.Module) -> None:
    model = nn.Sequential(layer, nn.LSTM(4, 4, proj_size=2, batch_first=True), nn.RNN(4, 4, nonlinearity="relu"))
    kinds = [type(module) for module in model]
    accelerate(model, Kernels())
    assert [type(module) for module in model] == kinds


# -------------------------------------------------------------------------------------------------- weights that change


@pytest.mark.parametrize("shape", [(5,), (64,), (3, 7), (4, 16)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("precision", "close"), [(torch.float32, 1e-4), pytest.param(torch.bfloat16, 2e-2, marks=needs_bfloat16)]
)
def test_a_linear_map_has_the_gradients_of_a_plain_one(
    shape: tuple[int, ...], bias: bool, precision: torch.dtype, close: float, taken: set[str]
) -> None:
    torch.manual_seed(0)
    fast, x = nn.Linear(512, 300, bias=bias), torch.randn(*shape, 512, requires_grad=True)
    accelerate(fast, Kernels())
    outer, weights = torch.randn(*shape, 300), [x, *fast.parameters()]
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found, wanted = fast(x), F.linear(x, fast.weight, fast.bias)
    assert found.dtype == precision
    torch.testing.assert_close(found, wanted)
    for ours, theirs in zip(*(torch.autograd.grad((y * outer).sum(), weights) for y in (found, wanted)), strict=True):
        assert (ours - theirs).norm() / theirs.norm() < close


def updated(layer: nn.Module, x: Tensor) -> None:
    """Trained on, by an optimizer that leaves no sign at the weights."""
    layer.train()
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    output = layer(x)
    (output[0] if isinstance(output, tuple) else output).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", [nn.Linear, nn.LSTM, nn.GRU, nn.RNN])
def test_what_was_laid_out_follows_the_weights(kind: Any, taken: set[str]) -> None:
    """As they are copied, changed, and trained on."""
    plain = kind(8, 5) if kind is nn.Linear else kind(8, 5, batch_first=True)
    x = torch.randn(3, 1, 8)
    fast = accelerated(plain)

    def change(layer: Any) -> None:
        with torch.no_grad():
            next(iter(layer.parameters())).mul_(2)

    for what in (lambda layer: None, change, lambda layer: updated(layer, x)):
        for layer in (plain, fast):
            what(layer)
            layer.eval()
        with torch.inference_mode():
            for _ in range(2):
                same(fast(x), plain(x), 1e-5)


@pytest.mark.parametrize("backbone", [LSTM, GRU, RNN])
def test_a_loop_outside_of_a_forward_pass_lays_nothing_out(backbone: Any, taken: set[str]) -> None:
    """Nobody would say when the weights change."""
    cell = backbone(4, 5, 1, dropout=0.0, causal=True, summary_size=None, residual=False)
    model = nn.ModuleList([cell])
    accelerate(model, Kernels())
    (layer,) = cell.ahead
    for _ in range(3):
        layer(torch.randn(3, 1, 4))
    assert layer.loop.steps == {}
    assert layer.loop.called is None


def test_a_pass_that_fails_is_over(taken: set[str]) -> None:
    fast = accelerated(make_model("attn_seq2seq", "tokens to tokens", input_feeding=True)).train()
    batch = make_batch("tokens to tokens")
    with pytest.raises(IndexError):
        fast(batch._replace(inputs=batch.inputs + 1000))
    assert fast.combine.loop.called is None


def test_the_steps_of_a_loop_are_let_go() -> None:
    map = nn.Linear(6, 6)
    steps = Steps(map.weight, map.bias, "torch")
    first = steps(torch.randn(3, 6, requires_grad=True))
    steps(first).sum().backward()
    seen = weakref.ref(first)
    gc.disable()  # what is let go needs no search for cycles
    del first
    gone = seen() is None
    gc.enable()
    assert gone
