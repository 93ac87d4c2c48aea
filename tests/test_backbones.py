from typing import Any

import pytest
import torch
from small import options, same
from torch import Tensor, nn

from seqtrain.backbones.feedforward import Feedforward
from seqtrain.backbones.gru import GRU
from seqtrain.backbones.lstm import LSTM
from seqtrain.backbones.recurrent import Recurrent
from seqtrain.backbones.rnn import RNN
from seqtrain.config import UserError

RECURRENT = (RNN, GRU, LSTM)
KINDS = (*RECURRENT, Feedforward)


def make(kind: Any, num_layers: int = 1, causal: bool = True, residual: bool = False) -> Any:
    torch.manual_seed(0)
    own = {"residual": residual} if issubclass(kind, Recurrent) else {"window": 3}
    stack = kind(5, 8, num_layers, 0.0, causal, 6, **own)
    for parameter in stack.parameters():  # biases start at zero, where a mistake would not show
        nn.init.normal_(parameter, std=0.4)
    return stack


def test_every_shipped_backbone_is_tested_here():
    assert [kind.__name__.lower() for kind in sorted(KINDS, key=lambda kind: kind.__name__)] == options("backbone")


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_and_pieces_of_any_size_equal_the_whole(kind, num_layers, residual, started):
    stack, x = make(kind, num_layers, residual=residual), torch.randn(3, 9, 5)
    first = stack.start(torch.randn(3, 6)) if started else None
    whole, end = stack(x, first)
    for sizes in ([1] * 9, [1, 3, 5], [8, 1]):
        state, pieces = first, []
        for piece in x.split(sizes, 1):
            y, state = stack(piece, state)
            pieces.append(y)
        same(torch.cat(pieces, 1), whole)
        same(state, end)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_without_a_gradient_follow_the_weights_when_they_are_trained(kind):
    stack, x = make(kind, 2), torch.randn(3, 5, 5)
    optimizer = torch.optim.Adam(stack.parameters(), lr=0.1, fused=True)
    for _ in range(3):
        stack.train()(x)[0].square().sum().backward()
        optimizer.step()
        stack.eval()
        state, pieces = None, []
        with torch.inference_mode():
            for piece in x.split(1, 1):
                y, state = stack(piece, state)
                pieces.append(y)
        same(torch.cat(pieces, 1), stack(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_does_not_reach_a_causal_stack(kind):
    stack, x = make(kind, 2), torch.randn(2, 6, 5)
    changed = x.clone()
    changed[:, 4:] += 1
    same(stack(x)[0][:, :4], stack(changed)[0][:, :4], 0)
    assert not torch.allclose(stack(x)[0][:, 4], stack(changed)[0][:, 4])


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing_at_real_positions(kind, causal, residual):
    stack, x, lengths = make(kind, 3, causal, residual), torch.randn(3, 6, 5), torch.tensor([6, 1, 4])
    y, _ = stack(x, lengths=lengths)
    padded, _ = stack(torch.cat([x, torch.full((3, 4, 5), 9.0)], 1), lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, _ = stack(x[row : row + 1, :length], lengths=lengths[row : row + 1])
        same(y[row, :length], alone[0])
        same(padded[row, :length], alone[0])
    same(stack.last(padded, lengths), stack.last(y, lengths))


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_bidirectional_layer_equals_torch_on_packed_sequences(kind):
    stack, x, lengths = make(kind, causal=False), torch.randn(3, 7, 5), torch.tensor([7, 5, 2])
    torchs = kind.kind(5, 4, batch_first=True, bidirectional=True)
    ahead, back = stack.ahead[0].state_dict(), stack.back[0].state_dict()
    torchs.load_state_dict(ahead | {f"{name}_reverse": weight for name, weight in back.items()})
    packed, end = torchs(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True))
    wanted, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    y, state = stack(x, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        same(y[row, :length], wanted[row, :length])
    hidden: Tensor = end[0] if isinstance(end, tuple) else end  # (2, B, 4): the end of each direction
    same(stack.last(y, lengths), torch.cat([hidden[0], hidden[1]], -1))
    assert state is None


@pytest.mark.parametrize("kind", KINDS)
def test_last_is_the_end_of_each_row(kind):
    stack, x, lengths = make(kind), torch.randn(2, 5, 5), torch.tensor([5, 3])
    y, _ = stack(x)
    same(stack.last(y, lengths), torch.stack([y[0, 4], y[1, 2]]), 0)


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_residual_adds_the_input_of_every_layer_but_the_first(kind):
    stack, x = make(kind, 2, residual=True), torch.randn(2, 4, 5)
    first, _ = stack.ahead[0](x)
    second, _ = stack.ahead[1](first)
    same(stack(x)[0], first + second)


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("kind", RECURRENT)
def test_a_start_has_the_form_of_a_state_and_each_row_its_own(kind, num_layers):
    stack, summary = make(kind, num_layers), torch.randn(2, 6)
    start, (_, state) = stack.start(summary), stack(torch.randn(2, 3, 5))
    assert [[part.shape for part in layer] for layer in start] == [[part.shape for part in layer] for layer in state]
    assert {part.shape for layer in start for part in layer} == {(2, 8)}
    same(start[-1][0][1], stack.start(summary[1:])[-1][0][0])
    parts = [part for layer in start for part in layer]
    assert len({part[0, 0].item() for part in parts}) == len(parts)


def test_a_feedforward_layer_reads_its_window_and_no_more():
    stack, x, lengths = make(Feedforward), torch.randn(1, 9, 5), torch.tensor([9])
    weight, bias = stack.layers[0].weight, stack.layers[0].bias  # (8, 5, 3), (8,)
    read = torch.cat([torch.zeros(2, 5), x[0]])  # zeros before the beginning
    wanted = torch.stack([torch.relu((weight * read[t : t + 3].T).sum((1, 2)) + bias) for t in range(9)])
    same(stack(x)[0][0], wanted)
    both, changed = make(Feedforward, causal=False), x.clone()
    changed[:, 4] += 1
    moved = (both(x, lengths=lengths)[0] != both(changed, lengths=lengths)[0]).any(-1)[0]
    assert moved.tolist() == [False, False, True, True, True, True, True, False, False]


def test_a_feedforward_stack_starts_with_the_summary_as_an_input():
    stack, x, summary = make(Feedforward, 2), torch.randn(2, 4, 5), torch.randn(2, 6)
    whole, _ = stack(torch.cat([stack.starts(summary)[:, None], x], 1))
    same(stack(x, stack.start(summary))[0], whole[:, 1:])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_reaches_all_parameters(kind, causal):
    stack, lengths = make(kind, 2, causal), torch.tensor([4, 3])
    state = stack.start(torch.randn(2, 6)) if causal else None
    y, _ = stack(torch.randn(2, 4, 5), state, lengths)
    y.square().sum().backward()
    reached = {name for name, p in stack.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == {name for name, _ in stack.named_parameters() if causal or not name.startswith("starts")}


def test_dropout_stands_between_layers_only():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5)
    for num_layers, varies in ((1, False), (2, True)):
        stack = LSTM(5, 8, num_layers, 0.5, True, None, False)
        assert (stack(x)[0] != stack(x)[0]).any() == varies
        stack.eval()
        same(stack(x)[0], stack(x)[0], 0)


def test_the_forget_gate_starts_open():
    layer = LSTM(5, 8, 1, 0.0, True, None, False).ahead[0]
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    assert bias.view(4, 8).mean(1).tolist() == [0, 1, 0, 0]


def test_a_bidirectional_layer_of_odd_size_is_refused():
    with pytest.raises(UserError, match=r"model.hidden_size=7.*even"):
        LSTM(5, 7, 1, 0.0, False, None, False)


def adding_problem(size: int, length: int) -> tuple[Tensor, Tensor]:
    """Numbers of which two are marked, one in each half; their sum is to be told (Hochreiter & Schmidhuber 1997)."""
    values, marks = torch.rand(size, length), torch.zeros(size, length)
    half = length // 2
    marks.scatter_(1, torch.stack([torch.randint(half, (size,)), half + torch.randint(half, (size,))], 1), 1.0)
    return torch.stack([values, marks], 2), (values * marks).sum(1, keepdim=True)


@pytest.mark.parametrize(("kind", "solves"), [(RNN, False), (GRU, True), (LSTM, True)])
def test_gated_cells_solve_the_adding_problem_and_a_plain_rnn_does_not(kind, solves):
    torch.manual_seed(0)
    stack, head = kind(2, 32, 1, 0.0, True, None, False), nn.Linear(32, 1)
    parameters = [*stack.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, 0.02)
    error = 1 / 6  # the variance of the sum
    for _ in range(500):
        x, wanted = adding_problem(32, 24)
        loss = nn.functional.mse_loss(head(stack(x)[0][:, -1]), wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        error = 0.9 * error + 0.1 * loss.item()
        if error < 0.01:
            break
    assert (error < 0.01) == solves
    assert solves or error > 0.1
