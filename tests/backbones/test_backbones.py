from typing import Any

import pytest
import torch
from small import options, same
from torch import Tensor, nn

from seqtrain.backbones import transformer
from seqtrain.backbones.feedforward import Feedforward
from seqtrain.backbones.gru import GRU
from seqtrain.backbones.lstm import LSTM
from seqtrain.backbones.mingru import MinGRU
from seqtrain.backbones.recurrent import Recurrent
from seqtrain.backbones.rnn import RNN
from seqtrain.backbones.tcn import TCN
from seqtrain.backbones.transformer import Transformer
from seqtrain.config import UserError
from seqtrain.layers import Scan

TORCHS = (RNN, GRU, LSTM)
RECURRENT = (*TORCHS, MinGRU)
KINDS = (*RECURRENT, Feedforward, TCN, Transformer)
OWN = {  # settings of those that are not recurrent
    Feedforward: {"window": 3},
    TCN: {"kernel": 3, "blocks": 2},
    Transformer: {"heads": 2, "expansion": 2, "gated": False, "positions": "rotary", "reach": 4},
}


@pytest.fixture(autouse=True)
def caches_grow_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "BLOCK", 3)


def make(kind: Any, num_layers: int = 1, causal: bool = True, residual: bool = False, **changes: Any) -> Any:
    torch.manual_seed(0)
    own = {"residual": residual} if issubclass(kind, Recurrent) else OWN[kind] | changes
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


@pytest.mark.parametrize("kind", TORCHS)
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


def test_a_minimal_gated_unit_mixes_old_and_new_by_a_gate_of_the_input():
    stack, x, summary = make(MinGRU), torch.randn(2, 7, 5), torch.randn(2, 6)
    weight, bias = stack.ahead[0].map.weight, stack.ahead[0].map.bias
    h = stack.start(summary)[0][0]
    assert (h < 0).any()  # logarithms have to do without it
    wanted = []
    for t in range(7):
        gate = torch.sigmoid(x[:, t] @ weight[:8].T + bias[:8])
        v = x[:, t] @ weight[8:].T + bias[8:]
        h = (1 - gate) * h + gate * torch.where(v >= 0, v + 0.5, torch.sigmoid(v))
        wanted.append(h)
    same(stack(x, stack.start(summary))[0], torch.stack(wanted, 1))


def test_a_long_scan_keeps_most_of_its_precision():
    g, v = torch.randn(2, 1, 1000, 4).unbind(0)
    h, gate = torch.zeros(1, 4), g.sigmoid()
    for t in range(1000):
        h = torch.lerp(h, torch.where(v[:, t] > 0, v[:, t] + 0.5, v[:, t].sigmoid()), gate[:, t])
    same(Scan()(g, v, torch.zeros(1, 4))[:, -1], h, 1e-3)


def test_blocks_of_a_tcn_are_dilated_convolutions_with_residuals():
    stack, x = make(TCN), torch.randn(2, 9, 5)
    wanted = x.transpose(1, 2)
    for block, dilation in zip(stack.layers, (1, 2), strict=True):
        y = wanted
        for conv in block.convs:
            gain, direction = conv.parametrizations.weight.original0, conv.parametrizations.weight.original1
            weight = gain * direction / direction.norm(dim=1, keepdim=True)
            weight = weight.unflatten(1, (3, -1)).transpose(1, 2)  # (O, I, kernel)
            y = nn.functional.conv1d(nn.functional.pad(y, (2 * dilation, 0)), weight, conv.bias, dilation=dilation)
            y = torch.relu(y)
        wanted = torch.relu(block.residual(wanted.transpose(1, 2)).transpose(1, 2) + y)
    same(stack(x)[0], wanted.transpose(1, 2))


@pytest.mark.parametrize("causal", [False, True])
def test_a_tcn_layer_reaches_as_far_as_its_blocks_say(causal):
    stack, x, lengths = make(TCN, causal=causal), torch.randn(1, 41, 5), torch.tensor([41])
    changed = x.clone()
    changed[:, 20] += 1
    moved = (stack(x, lengths=lengths)[0] != stack(changed, lengths=lengths)[0]).any(-1)[0].nonzero()[:, 0]
    reach = 2 * 2 * (2**2 - 1)  # 2 (kernel - 1) (2^blocks - 1)
    assert moved.min() >= (20 if causal else 20 - reach // 2)
    assert moved.max() <= (20 + reach if causal else 20 + reach // 2)
    assert moved.max() - moved.min() > reach - 4  # the farthest weights may fall behind rectifiers that are closed


@pytest.mark.parametrize("causal", [False, True])
def test_a_transformer_equals_torchs_own(causal):
    stack, x, lengths = make(Transformer, 2, causal, positions="learned", reach=9), torch.randn(3, 7, 5), [7, 5, 2]
    nn.init.zeros_(stack.places.weight)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
    torchs: Any = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
    torchs.norm.load_state_dict(stack.norm.state_dict())
    for ours, layer in zip(stack.layers, torchs.layers, strict=True):
        pairs = [(layer.norm1, ours.norms[0]), (layer.norm2, ours.norms[1]), (layer.self_attn.out_proj, ours.merge)]
        for to, of in (*pairs, (layer.linear1, ours.widen), (layer.linear2, ours.narrow)):
            to.load_state_dict(of.state_dict())
        layer.self_attn.in_proj_weight.data, layer.self_attn.in_proj_bias.data = ours.read.weight, ours.read.bias
    padding = torch.arange(7) >= torch.tensor(lengths)[:, None]
    future = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    wanted = torchs(stack.enter(x), mask=future, src_key_padding_mask=padding)
    y, _ = stack(x, lengths=torch.tensor(lengths))
    same(y[~padding], wanted[~padding])


@pytest.mark.parametrize("changes", [{"gated": True}, {"positions": "learned"}])
def test_variants_of_a_transformer_go_on_from_their_state(changes):
    stack, x = make(Transformer, 2, **changes), torch.randn(2, 11, 5)
    whole, end = stack(x)
    state, pieces = None, []
    for piece in x.split([5, 1, 1, 4], 1):
        y, state = stack(piece, state)
        pieces.append(y)
    same(torch.cat(pieces, 1), whole)
    same(state, end)
    assert not torch.allclose(stack(x.flip(1))[0].flip(1), whole)


def test_scores_of_rotary_positions_depend_on_their_distance():
    random, places = torch.Generator().manual_seed(0), torch.tensor([[3], [70], [3], [70]])
    x = torch.randn(1, 1, 1, 6, generator=random).expand(4, -1, -1, -1)
    y = torch.randn(1, 1, 1, 6, generator=random).expand(4, -1, -1, -1)
    turned = transformer.rotated(x, transformer.rotation_of(places, 6))
    other = transformer.rotated(y, transformer.rotation_of(places + torch.tensor([[0], [0], [9], [9]]), 6))
    near, same_near, far, same_far = (turned * other).sum(-1).flatten().tolist()
    assert near == pytest.approx((x * y).sum(-1)[0].item(), abs=1e-5)
    assert near == pytest.approx(same_near, abs=1e-4)
    assert far == pytest.approx(same_far, abs=1e-4)
    pairs = torch.complex(x[0, 0, 0, :3], x[0, 0, 0, 3:])  # the same by complex numbers
    speeds = 10_000.0 ** (-2 * torch.arange(3) / 6)
    wanted = pairs * torch.polar(torch.ones(3), 70 * speeds)
    same(turned[1, 0, 0], torch.cat([wanted.real, wanted.imag]))


@pytest.mark.parametrize("causal", [False, True])
def test_a_transformer_attends_to_what_is_in_reach(causal):
    stack, x, lengths = make(Transformer, causal=causal), torch.randn(1, 13, 5), torch.tensor([13])
    changed = x.clone()
    changed[:, 6] += 1
    moved = (stack(x, lengths=lengths)[0] != stack(changed, lengths=lengths)[0]).any(-1)[0]
    assert moved.nonzero()[:, 0].tolist() == list(range(6 if causal else 2, 11))


def test_a_cache_grows_in_blocks_up_to_its_reach():
    stack, sizes = make(Transformer, reach=8), []
    state: Any = None
    for _ in range(12):
        _, state = stack(torch.randn(1, 1, 5), state)
        sizes.append(state[1][0][0].size(1))
    assert sizes == [3, 3, 3, 6, 6, 6, 8, 8, 8, 8, 8, 8]
    assert state[0].tolist() == [12]


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(UserError, match=r"model.hidden_size=8 cannot be divided among backbone.heads=3"):
        make(Transformer, heads=3)


def test_dropout_stands_between_layers_only():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5)
    for num_layers, varies in ((1, False), (2, True)):
        stack = LSTM(5, 8, num_layers, 0.5, True, None, False)
        assert (stack(x)[0] != stack(x)[0]).any() == varies
        stack.eval()
        same(stack(x)[0], stack(x)[0], 0)


def test_the_forget_gate_starts_open():
    layer: Any = LSTM(5, 8, 1, 0.0, True, None, False).ahead[0]
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


@pytest.mark.parametrize(
    ("kind", "lr", "solves"),
    [(RNN, 0.02, False), (GRU, 0.02, True), (LSTM, 0.02, True), (MinGRU, 0.05, True), (TCN, 0.01, True),
     (Transformer, 0.003, True)],
)  # fmt: skip
def test_all_but_a_plain_rnn_solve_the_adding_problem(kind, lr, solves):
    torch.manual_seed(0)
    large = {TCN: {"kernel": 3, "blocks": 3}, Transformer: OWN[Transformer] | {"reach": 24}}
    size = 16 if kind is TCN else 32
    stack, head = kind(2, size, 1, 0.0, True, None, **large.get(kind, {"residual": False})), nn.Linear(size, 1)
    parameters = [*stack.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr)
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
