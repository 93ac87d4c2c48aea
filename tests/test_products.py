import gc
import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from seqtrain import products
from seqtrain.backbones.gru import GRU
from seqtrain.backbones.lstm import LSTM
from seqtrain.backbones.rnn import RNN
from seqtrain.products import Linear, by_columns, filled, stepping, with_room


@pytest.mark.parametrize("shape", [(5,), (64,), (3, 7), (4, 16)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("vast", [products.VAST, 1])
@pytest.mark.parametrize(("precision", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_a_large_linear_map_has_the_gradients_of_a_plain_one(
    shape: tuple[int, ...], bias: bool, vast: int, precision: torch.dtype, close: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(products, "VAST", vast)
    torch.manual_seed(0)
    linear, x = Linear(512, 300, bias=bias), torch.randn(*shape, 512, requires_grad=True)
    assert by_columns(linear.weight) == (vast == 1)
    outer, weights = torch.randn(*shape, 300), [x, *linear.parameters()]
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found, wanted = linear(x), F.linear(x, linear.weight, linear.bias)
    assert found.dtype == precision
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad((y * outer).sum(), weights) for y in (found, wanted)]
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).norm() / theirs.norm() < close
    linear(x).sum().backward()
    assert linear.weight.grad is not None
    assert linear.weight.grad.stride() == linear.weight.stride()


def test_rows_are_filled_up_where_they_are_if_zeros_follow():
    made = with_room(torch.ones(5, 3))
    made.fill_(2.0)
    for rows in (made, torch.full((5, 3), 2.0), torch.full((64, 3), 2.0)[:5], torch.full((128, 3), 2.0)[64:69]):
        there = filled(rows)
        assert (there.data_ptr() == rows.data_ptr()) == (rows is made)
        assert there[:5].eq(2.0).all()
        assert there[5:].eq(0.0).all()
        assert len(there) == 64
    behind = torch.cat([torch.zeros(59, 3), torch.full((5, 3), 2.0)])  # the same shape, and other rows of it
    assert filled(behind[59:])[:5].eq(2.0).all()
    whole = torch.full((64, 3), 2.0)
    assert filled(whole) is whole


def test_a_large_linear_map_lays_out_the_weights_it_has_now():
    """By copies, and by updates that leave no sign at the weights, with which one trains."""
    linear, x = Linear(512, 300), torch.randn(3, 2, 512)
    for change in (lambda: None, lambda: linear.weight.data.copy_(linear.weight * 2), lambda: update(linear)):
        change()
        linear.eval()
        with torch.inference_mode():
            found = [linear(x), linear(x)]
        torch.testing.assert_close(found, [F.linear(x, linear.weight, linear.bias)] * 2)


def update(linear: Linear) -> None:
    linear.train()
    optimizer = torch.optim.Adam(linear.parameters(), fused=True)
    linear(torch.randn(2, 512)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("backbone", [LSTM, GRU, RNN])
@pytest.mark.parametrize(("precision", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_a_loop_of_steps_has_the_gradients_of_its_single_steps(backbone: Any, precision: torch.dtype, close: float):
    torch.manual_seed(0)
    linear, cell = Linear(6, 4), backbone(4, 5, 1, dropout=0.0, causal=True, summary_size=None, residual=False)
    x = torch.randn(3, 7, 6, requires_grad=True)

    def gradients(loop: Any) -> list[torch.Tensor]:
        weights = [x, *linear.parameters(), *cell.parameters()]
        with torch.autocast("cpu", precision, enabled=precision != torch.float32), loop:
            state, total = None, torch.zeros(())
            for step in x.split(1, 1):
                hidden, state = cell(linear(step), state)
                total = total + (hidden.float() ** 2).sum()
        return list(torch.autograd.grad(total, weights))

    one_by_one, at_once = gradients(nullcontext()), gradients(stepping(linear, cell))
    assert all("steps" not in vars(module) for module in (linear, *cell.modules()))
    for name, other in zip(one_by_one, at_once, strict=True):
        assert float((name - other).norm() / name.norm()) < close


def test_the_steps_of_a_loop_are_let_go():
    linear = Linear(6, 6)
    with stepping(linear):
        first = linear(torch.randn(3, 6, requires_grad=True))
        linear(first).sum().backward()
    seen = weakref.ref(first)
    gc.disable()  # what is let go needs no search for cycles
    del first
    gone = seen() is None
    gc.enable()
    assert gone
