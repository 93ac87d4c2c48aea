"""Tests of significance, against those of sacreBLEU and SciPy, and against what must be so."""

import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest
from scipy import stats

from seqtrain.evaluation import metrics
from seqtrain.evaluation.significance import paired, welch

WORDS = np.array(["the", "a", "cat", "dog", "sat", "lay", "on", "under", "mat", "rug", "in", "red", "blue", "house"])


def texts(count: int, noise: float, seed: int) -> tuple[list[str], list[str]]:
    """References, and outputs in which a share of the words is another one."""
    random = np.random.default_rng(0)
    references = random.choice(WORDS, (count, 9))
    random = np.random.default_rng(seed)
    outputs = np.where(random.random(references.shape) < noise, random.choice(WORDS, references.shape), references)
    return [" ".join(row) for row in outputs], [" ".join(row) for row in references]


@pytest.mark.parametrize(("noise", "test"), [(0.30, "bs"), (0.27, "bs"), (0.30, "ar"), (0.27, "ar")])
def test_p_is_that_of_sacrebleu(noise: float, test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    count, trials = 60, 1000
    (a, references), (b, _) = texts(count, 0.33, 1), texts(count, noise, 2)
    found = paired(metrics.translation(a + b, references * 2), count, seed=1, trials=trials)["bleu"]
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    systems = [("A", a), ("B", b)]
    _, scores = PairedTest(systems, {"BLEU": BLEU()}, [references], test, trials)()
    baseline, other = scores["BLEU"]
    assert (found.a, found.b) == pytest.approx((baseline.score, other.score))
    p = found.bootstrap if test == "bs" else found.randomisation
    error = math.sqrt(2 * max(p, 0.01) * (1 - p) / trials)  # of the difference of two shares of so many trials
    assert abs(p - other.p_value) < 4 * error
    assert 0.001 < p < 0.9


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(size=400), random.normal(0.2, size=400)
    of = metrics.of_sums({"x": np.concatenate([a, b]), "n": np.ones(800)}, lambda sums: {"mean": sums["x"] / sums["n"]})
    found = paired(of, 400, seed=0)["mean"]
    half = 1.96 * (b - a).std() / 20
    assert (found.low, found.high) == pytest.approx((found.b - found.a - half, found.b - found.a + half), abs=0.02)
    assert found.randomisation == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.03)


def test_the_same_answers_do_not_differ() -> None:
    outputs, references = texts(20, 0.3, 1)
    for found in paired(metrics.translation(outputs * 2, references * 2), 20, seed=0, trials=50).values():
        assert (found.low, found.high, found.bootstrap, found.randomisation) == (0, 0, 1, 1)


def test_welch_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    for sizes in ((2, 2), (3, 5), (10, 4), (40, 60)):
        a, b = (random.normal(size=size) * scale + scale for size, scale in zip(sizes, (1, 3), strict=True))
        found, expected = welch(a.tolist(), b.tolist()), stats.ttest_ind(b, a, equal_var=False)
        assert tuple(found) == pytest.approx((expected.statistic, expected.df, expected.pvalue), rel=1e-6)
    assert welch([1.0, 1.0], [1.0, 1.0]).p == 1
    assert welch([1.0, 1.0], [2.0, 2.0]).p == 0
