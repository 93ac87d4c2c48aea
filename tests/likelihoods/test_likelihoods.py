"""Each likelihood against an independent value."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from seqtrain.config import UserError
from seqtrain.contract import Batch, Likelihood, Output
from seqtrain.likelihoods.autoregressive import Autoregressive
from seqtrain.likelihoods.bernoulli import Bernoulli
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.likelihoods.ctc import Ctc
from seqtrain.likelihoods.point import Point
from seqtrain.likelihoods.quantiles import Quantiles
from seqtrain.likelihoods.student_t import StudentT

NAN = math.nan
LENGTHS = torch.tensor([3, 1, 2])
REALS = [Bernoulli(2), Point(2), Quantiles(2), StudentT(2)]


def batch_of(target: torch.Tensor, lengths: torch.Tensor = LENGTHS) -> Batch:
    return Batch(None, None, None, target, lengths)


def real_batch(likelihood: Likelihood) -> tuple[Batch, torch.Tensor]:
    """Random targets, one of them missing, and scores; what stands at padding is as random as the rest."""
    torch.manual_seed(0)
    target = torch.rand(3, 3, 2).round() if isinstance(likelihood, Bernoulli) else torch.randn(3, 3, 2)
    target[0, 1, 1] = NAN
    return batch_of(target), torch.randn(6, likelihood.size, requires_grad=True)


def expected(likelihood: Likelihood, score: np.ndarray, target: float) -> float:
    """The loss of one number, by scipy or by hand; score: the numbers that belong to it."""
    if isinstance(likelihood, Bernoulli):
        return -stats.bernoulli(1 / (1 + np.exp(-score[0]))).logpmf(int(target))
    if isinstance(likelihood, StudentT):
        softplus = np.log1p(np.exp(score))
        return -stats.t(df=2 + softplus[2], loc=score[0], scale=softplus[1] + 1e-4).logpdf(target)
    if isinstance(likelihood, Quantiles):
        error = target - score
        pinball = [q * e if e > 0 else (q - 1) * e for q, e in zip(likelihood.levels, error, strict=True)]
        return 2 * float(np.mean(pinball))
    return abs(target - score[0])


@pytest.mark.parametrize("likelihood", REALS, ids=lambda made: type(made).__name__)
def test_the_loss_of_each_row_is_the_sum_over_its_known_numbers(likelihood: Likelihood):
    batch, scores = real_batch(likelihood)
    output = Output(scores, LENGTHS)
    found = likelihood.nll(output, batch)
    rows = np.repeat(np.arange(3), LENGTHS.numpy())
    by_hand = np.zeros(3)
    for row, score, target in zip(rows, scores.detach().numpy(), batch.real(batch.target).numpy(), strict=True):
        for number in range(2):
            if not np.isnan(target[number]):
                by_hand[row] += expected(likelihood, score.reshape(2, -1)[number].astype(float), target[number])
    np.testing.assert_allclose(found.detach().numpy(), by_hand, rtol=1e-5)
    (gradient,) = torch.autograd.grad(likelihood.loss(output, batch).sum(), scores)
    assert gradient.isfinite().all()
    missing = gradient.view(6, 2, -1)[1, 1]
    assert missing.abs().sum() == 0
    values = [3, 1, 2] if isinstance(likelihood, Bernoulli) else [5, 2, 4]
    assert likelihood.items(batch).tolist() == values


@pytest.mark.parametrize("likelihood", REALS, ids=lambda made: type(made).__name__)
def test_the_value_is_fed_beside_the_covariates(likelihood: Likelihood):
    scores = torch.randn(3, 1, likelihood.size)
    value = likelihood.pick(scores)
    fed = likelihood.feed(value, torch.arange(4.0).expand(3, 1, 4))
    assert fed.shape == (3, 1, 4)
    assert torch.equal(fed[..., :2], value)
    assert fed[..., 2:].unique().tolist() == [2.0, 3.0]


def test_autoregressive_values_by_hand():
    likelihood = Autoregressive(3, rank=2)
    torch.manual_seed(0)
    scores = torch.randn(4, likelihood.size, requires_grad=True)
    target = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [NAN, 1.0, 1.0]]])
    lengths = torch.tensor([2, 2])
    found = likelihood.nll(Output(scores, lengths), batch_of(target, lengths))
    by_hand = []
    for score, values in zip(scores.detach().numpy(), target.flatten(0, 1).numpy(), strict=True):
        own, later, earlier, nats = score[:3], score[3:9].reshape(3, 2), score[9:].reshape(3, 2), 0.0
        for i in range(3):
            logit = own[i] + sum(later[i] @ earlier[j] for j in range(i) if values[j] == 1)
            if not np.isnan(values[i]):
                nats -= stats.bernoulli(1 / (1 + np.exp(-logit))).logpmf(int(values[i]))
        by_hand.append(nats)
    np.testing.assert_allclose(found.detach().numpy(), [by_hand[0] + by_hand[1], by_hand[2] + by_hand[3]], rtol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    assert gradient.isfinite().all()


def test_autoregressive_samples_come_as_often_as_their_likelihood_says():
    likelihood = Autoregressive(3, rank=2)
    torch.manual_seed(1)
    scores = 1.5 * torch.randn(1, likelihood.size)
    picked = likelihood.pick(scores.expand(20_000, -1), torch.logit(torch.rand(20_000, 3)))
    for values in itertools.product((0.0, 1.0), repeat=3):
        one = torch.tensor([1])
        nats = likelihood.nll(Output(scores, one), batch_of(torch.tensor([[values]]), one))
        share = (picked == torch.tensor(values)).all(-1).float().mean()
        assert share.item() == pytest.approx(math.exp(-nats.item()), abs=0.015)
    greedy = likelihood.pick(scores.view(1, 1, -1))
    assert greedy.shape == (1, 1, 3)
    for i in range(3):  # each value is the more probable one after those before it
        logit = likelihood.logits(scores, greedy[0])[0, i]
        assert greedy[0, 0, i] == (logit > 0)


def test_the_best_value():
    assert Bernoulli(2).pick(torch.tensor([1.0, -1.0])).tolist() == [1.0, 0.0]
    assert Categorical(3).pick(torch.tensor([[0.0, 2.0, 1.0]])).tolist() == [1]
    crossed = torch.tensor([5.0, 1.0, 3.0, 0.0, 0.0, 7.0])  # quantiles of two numbers
    assert Quantiles(2, (0.1, 0.5, 0.9)).pick(crossed).tolist() == [3.0, 0.0]
    assert StudentT(2).pick(torch.tensor([5.0, 1.0, 3.0, 4.0, 0.0, 7.0])).tolist() == [5.0, 4.0]


def test_quantiles_of_many_levels_are_the_continuous_ranked_probability_score():
    """Of a normal distribution it is known in closed form (Gneiting & Raftery 2007)."""
    levels = (np.arange(999) + 1) / 1000
    target, quantiles = 0.7, torch.tensor(stats.norm.ppf(levels), dtype=torch.float32)[None]
    likelihood = Quantiles(1, levels.round(3).tolist())
    found = likelihood.nll(
        Output(quantiles, torch.tensor([1])), batch_of(torch.tensor([[[target]]]), torch.tensor([1]))
    )
    closed = target * (2 * stats.norm.cdf(target) - 1) + 2 * stats.norm.pdf(target) - 1 / math.sqrt(math.pi)
    assert found.item() == pytest.approx(closed, rel=1e-3)


@pytest.mark.parametrize("levels", [[0.1, 0.9], [0.5, 0.1], [0.0, 0.5], [0.5, 1.0], [0.5, 0.5]])
def test_wrong_levels_are_refused(levels: list[float]):
    with pytest.raises(UserError, match="expected rising numbers"):
        Quantiles(1, levels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_categorical_is_the_cross_entropy_of_torch_and_smoothed_in_training_only(smoothing: float):
    scores, target = torch.randn(6, 5), torch.randint(5, (3, 3))
    likelihood, batch = Categorical(5, smoothing), batch_of(target)
    real = batch.real(target)
    plain = F.cross_entropy(scores, real, reduction="none")
    smooth = F.cross_entropy(scores, real, reduction="none", label_smoothing=smoothing)
    for found, wanted in ((likelihood.nll, plain), (likelihood.loss, smooth)):
        by_hand = torch.stack([part.sum() for part in wanted.split(LENGTHS.tolist())])
        torch.testing.assert_close(found(Output(scores, LENGTHS), batch), by_hand)
    assert likelihood.items(batch).tolist() == [3, 1, 2]


def collapse(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label]


@pytest.mark.parametrize("target", [[], [1], [1, 2], [2, 2], [1, 2, 1]])
def test_ctc_sums_over_every_path_that_leaves_the_target(target: list[int]):
    torch.manual_seed(1)
    scores = torch.randn(4, 3)
    log_probs = scores.log_softmax(-1)
    paths = [path for path in itertools.product(range(3), repeat=4) if collapse(path) == target]
    total = sum(math.exp(sum(log_probs[t, label].item() for t, label in enumerate(path))) for path in paths)
    batch = batch_of(torch.tensor([[*target, 2]]), torch.tensor([len(target)]))
    found = Ctc(3).nll(Output(scores, torch.tensor([4])), batch)
    assert found.item() == pytest.approx(-math.log(total), rel=1e-5)


def test_ctc_of_several_rows_is_that_of_each_alone_and_that_of_torch():
    torch.manual_seed(2)
    lengths, target = torch.tensor([6, 2, 4]), torch.randint(1, 5, (3, 3))
    sizes = torch.tensor([3, 1, 2])
    scores = torch.randn(12, 5, requires_grad=True)
    found = Ctc(5).nll(Output(scores, lengths), batch_of(target, sizes))
    for row, part in enumerate(scores.split(lengths.tolist())):
        alone = Ctc(5).nll(Output(part, lengths[row : row + 1]), batch_of(target[row : row + 1], sizes[row : row + 1]))
        of_torch = F.ctc_loss(
            part.log_softmax(-1), target[row, : sizes[row]], lengths[row], sizes[row], reduction="none"
        )
        torch.testing.assert_close(found[row], alone[0])
        torch.testing.assert_close(found[row], of_torch)
    found.sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()


def test_ctc_counts_a_target_that_does_not_fit_as_zero():
    scores = torch.randn(2, 3, requires_grad=True)
    found = Ctc(3).nll(Output(scores, torch.tensor([2])), batch_of(torch.tensor([[1, 1]]), torch.tensor([2])))
    assert found.item() == 0  # a blank between equal neighbours needs a third position
    found.sum().backward()
    assert scores.grad is not None
    assert scores.grad.abs().sum() == 0


def test_ctc_aligns_a_target_by_the_likeliest_of_all_paths():
    """Against all paths, tried one by one."""
    likelihood, target = Ctc(3), [1, 1, 2]
    scores = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    log_probs = scores.log_softmax(-1)
    best, score = None, -math.inf
    for path in itertools.product(range(3), repeat=6):
        if [item for item, _ in itertools.groupby(path) if item] == target:
            value = sum(float(log_probs[place, item]) for place, item in enumerate(path))
            best, score = (path, value) if value > score else (best, score)
    assert best is not None
    batch = Batch(None, None, None, torch.tensor([target]), torch.tensor([3]))
    aligned = likelihood.align(Output(scores, torch.tensor([6])), batch)[0]
    assert aligned.shape == (3, 6)
    for place, item in enumerate(best):
        expected = float(log_probs[place, item].exp()) if item else 0.0
        assert float(aligned[:, place].sum()) == pytest.approx(expected, abs=1e-6)


def test_ctc_aligns_nothing_where_there_are_too_few_positions():
    batch = Batch(None, None, None, torch.tensor([[1, 1]]), torch.tensor([2]))
    assert not Ctc(3).align(Output(torch.randn(2, 3), torch.tensor([2])), batch).any()
