"""The conditional random field against a sum over all rows of tags, and against another implementation."""

import itertools

import pytest
import torch
from torch import Tensor

from seqtrain.contract import Batch, Output
from seqtrain.likelihoods.crf import Crf

CRF = Crf(3)
LENGTHS = torch.tensor([4, 1, 3])


def case(seed: int = 0) -> tuple[Output, Batch]:
    """What stands at padding is as random as the rest."""
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(int(LENGTHS.sum()), CRF.size, generator=random)
    target = torch.randint(0, 3, (3, 6), generator=random)
    return Output(scores, LENGTHS), Batch(None, None, None, target, LENGTHS)


def score(scores: Tensor, tags: tuple[int, ...]) -> float:
    """The summed score of a row of tags, term by term."""
    single, pairs = scores[:, :3], scores[:, 3:].view(-1, 3, 3)
    total = sum(single[t, tag] for t, tag in enumerate(tags))
    return float(total + sum(pairs[t, tags[t - 1], tags[t]] for t in range(1, len(tags))))


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_and_the_best_row_are_those_of_all_rows_of_tags(seed: int):
    output, batch = case(seed)
    nats, best = CRF.nll(output, batch), CRF.best(output).split(LENGTHS.tolist())
    for row, scores in enumerate(output.scores.split(LENGTHS.tolist())):
        all_scores = {tags: score(scores, tags) for tags in itertools.product(range(3), repeat=len(scores))}
        total = torch.tensor(list(all_scores.values())).logsumexp(0)
        true = tuple(batch.target[row, : len(scores)].tolist())
        torch.testing.assert_close(nats[row], total - all_scores[true])
        assert tuple(best[row].tolist()) == max(all_scores, key=all_scores.__getitem__)


def test_the_gradient_is_that_of_the_probabilities():
    """d nll / d score of a class at a position = its marginal probability - whether it is the true one."""
    output, batch = case()
    scores = output.scores.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(CRF.nll(output._replace(scores=scores), batch).sum(), scores)
    first = output.scores[:4]
    marginal = torch.zeros(4, 3)
    weights = {tags: torch.tensor(score(first, tags)).exp() for tags in itertools.product(range(3), repeat=4)}
    for tags, weight in weights.items():
        marginal[range(4), tags] += weight / sum(weights.values())
    marginal[range(4), batch.target[0, :4]] -= 1
    torch.testing.assert_close(gradient[:4, :3], marginal)


def test_neither_padding_nor_the_cut_changes_anything():
    output, batch = case()
    alone = [
        (Output(scores, torch.tensor([len(scores)])), batch.select(slice(row, row + 1)))
        for row, scores in enumerate(output.scores.split(LENGTHS.tolist()))
    ]
    torch.testing.assert_close(torch.cat([CRF.nll(*one) for one in alone]), CRF.nll(output, batch))
    assert torch.equal(torch.cat([CRF.best(one) for one, _ in alone]), CRF.best(output))
    longer = batch._replace(target=torch.cat([batch.target, torch.ones(3, 5, dtype=torch.long)], 1))
    assert torch.equal(CRF.nll(output, longer), CRF.nll(output, batch))


def test_without_pairs_it_is_a_class_at_each_position():
    output, batch = case()
    output.scores[:, 3:] = 0
    expected = torch.nn.functional.cross_entropy(output.scores[:, :3], batch.real(batch.target), reduction="sum")
    torch.testing.assert_close(CRF.nll(output, batch).sum(), expected)
    assert torch.equal(CRF.best(output), CRF.pick(output.scores))
    assert CRF.items(batch).tolist() == LENGTHS.tolist()


def test_with_the_same_pairs_everywhere_it_is_that_of_pytorch_crf():
    other = pytest.importorskip("torchcrf").CRF(3, batch_first=True)
    output, batch = case()
    output.scores[:, 3:] = other.transitions.detach().flatten()
    begins = LENGTHS.cumsum(0) - LENGTHS
    emissions, mask = torch.zeros(3, 4, 3), torch.arange(4) < LENGTHS[:, None]
    emissions[mask] = output.scores[:, :3]
    torch.nn.init.zeros_(other.end_transitions)
    output.scores[begins, :3] += other.start_transitions.detach()
    expected = other(emissions, batch.target[:, :4], mask, reduction="none")
    torch.testing.assert_close(-CRF.nll(output, batch), expected.detach())
    assert CRF.best(output).tolist() == list(itertools.chain.from_iterable(other.decode(emissions, mask)))
