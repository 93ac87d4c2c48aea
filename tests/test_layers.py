import math

import numpy as np
import pytest
import torch
from small import same
from torch import nn

from seqtrain.config import UserError
from seqtrain.contract import Reals, Tokens
from seqtrain.layers import Attention, Embedding, LockedDropout, Pooling, Scores
from seqtrain.trees import map_tensors

KINDS = ("dot", "general", "additive", "multi_head")


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def test_locked_dropout_has_one_mask_for_all_positions():
    torch.manual_seed(0)
    y = LockedDropout(0.25)(torch.ones(400, 5, 50))
    assert (y == y[:, :1]).all()
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    assert (y[0] != y[1]).any()


def test_locked_dropout_is_off_in_evaluation_and_at_zero():
    x = torch.randn(2, 3, 4)
    assert LockedDropout(0.5).eval()(x) is x
    assert LockedDropout(0.0)(x) is x


def test_an_embedding_of_ids_has_nothing_at_padding():
    torch.manual_seed(0)
    embedding = Embedding(Tokens(500, pad=3), 64, 0.0)
    y = embedding(torch.arange(500)[None])
    assert (y[0, 3] == 0).all()
    assert y[0, 4:].std().item() == pytest.approx(1, abs=0.02)  # what the next layer reads has unit variance
    assert embedding.map.weight[4:].std().item() == pytest.approx(1 / 8, abs=0.002)  # fit to serve as output weights
    y.sum().backward()
    assert (embedding.map.weight.grad[3] == 0).all()
    assert (embedding.map.weight.grad[4] != 0).all()


@pytest.mark.parametrize("shape", [(7,), (1, 4, 4)])
def test_an_embedding_of_reals_is_a_linear_map_of_each_position(shape):
    embedding, x = Embedding(Reals(shape), 6, 0.0), torch.randn(2, 3, *shape)
    weight, bias = embedding.map.weight, embedding.map.bias
    same(embedding(x), x.reshape(2, 3, -1) @ weight.T + bias)


@pytest.mark.parametrize("size", [8, 6])
def test_tied_scores_are_products_with_the_embedding(size):
    table, hidden = nn.Embedding(9, size), torch.randn(5, 8)
    scores = Scores(8, 9, 0.0, table)
    inner = hidden if size == 8 else hidden @ scores.map.weight.T + scores.map.bias
    same(scores(hidden), inner @ table.weight.T + scores.scores.bias)
    assert scores.scores.weight is table.weight


def attend(kind: str) -> tuple[Attention, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return Attention(kind, 8, 2), torch.randn(2, 4, 8), torch.randn(2, 5, 8), torch.tensor([5, 2])


@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_attention_has_the_published_scores(kind):
    layer, queries, states, lengths = attend(kind)
    w = {name: p.detach().double().numpy() for name, p in layer.named_parameters()}
    score = {
        "dot": lambda q, k: q @ k,
        "general": lambda q, k: q @ w["key.weight"] @ k,
        "additive": lambda q, k: (
            w["weight.weight"][0] @ np.tanh(w["query.weight"] @ q + w["query.bias"] + w["key.weight"] @ k)
        ),
    }[kind]
    context, weights = layer(queries, layer.memory(states, lengths))
    for row, length in enumerate(lengths.tolist()):
        for step in range(4):
            q, keys = queries[row, step].double().numpy(), states[row, :length].double().numpy()
            wanted = softmax(np.array([score(q, k) for k in keys]))
            assert weights[row, step, :length].tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
            assert context[row, step].tolist() == pytest.approx((wanted @ keys).tolist(), abs=1e-5)


def test_multi_head_attention_equals_torch():
    layer, queries, states, lengths = attend("multi_head")
    torchs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]))
        torchs.in_proj_bias.copy_(torch.cat([layer.query.bias, torch.zeros(8), layer.value.bias]))
    torchs.out_proj.load_state_dict(layer.merge.state_dict())
    padding = torch.arange(5) >= lengths[:, None]
    same(layer(queries, layer.memory(states, lengths)), torchs(queries, states, states, key_padding_mask=padding))


@pytest.mark.parametrize("kind", KINDS)
def test_attention_weights_sum_to_one_and_are_zero_at_padding(kind):
    layer, queries, states, lengths = attend(kind)
    _, weights = layer(queries, layer.memory(states, lengths))
    same(weights.sum(-1), torch.ones(2, 4))
    assert (weights[1, :, 2:] == 0).all()
    assert (weights[0] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_serves_many_queries_a_source(kind):
    layer, _, states, lengths = attend(kind)
    queries = torch.randn(6, 4, 8)
    memory = layer.memory(states, lengths)
    three_times = map_tensors(lambda part: part.repeat_interleave(3, 0), memory)
    same(layer(queries, memory), layer(queries, three_times))


def test_a_size_that_heads_do_not_divide_is_refused():
    with pytest.raises(UserError, match=r"model.hidden_size=8 .* model.heads=3"):
        Attention("multi_head", 8, 3)


@pytest.mark.parametrize("kind", ["mean", "max", "attention"])
def test_pooling_leaves_padding_out(kind):
    torch.manual_seed(0)
    layer, x, lengths = Pooling(kind, 4), torch.randn(3, 5, 4), torch.tensor([5, 1, 3])
    pooled = layer(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        real = x[row, :length]
        if kind == "attention":
            first, _, last = layer.weigh
            scores = torch.tanh(real @ first.weight.T + first.bias) @ last.weight[0]
            weights = [math.exp(score) for score in scores.tolist()]
            wanted = sum(w * vector for w, vector in zip(weights, real, strict=True)) / sum(weights)
        else:
            wanted = real.mean(0) if kind == "mean" else real.max(0).values
        same(pooled[row], wanted)


def test_word_dropout_reads_ids_as_unknown_while_training():
    embedding = Embedding(Tokens(6, pad=0, unknown=1), 4, dropout=0.0, word_dropout=0.5)
    ids = torch.full((40, 50), 3)
    ids[:, 40:] = 0
    torch.manual_seed(0)
    read = embedding(ids)
    pad, unknown, known = embedding.eval()(torch.tensor([[0, 1, 3]]))[0]
    dropped = (read[:, :40] == unknown).all(-1)
    assert ((read[:, :40] == known).all(-1) ^ dropped).all()
    assert 0.4 < dropped.float().mean() < 0.6
    assert (read[:, 40:] == pad).all()
    assert (embedding(ids)[:, :40] == known).all()
