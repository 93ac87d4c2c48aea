import math

import numpy as np
import pytest

from seqtrain.evaluation.baselines.linear import LinearClassifier, word_ngrams
from seqtrain.evaluation.baselines.naive import repeat_last, seasonal_naive, seasonal_naive_drift
from seqtrain.evaluation.baselines.nearest import nearest_by_warping, warped
from seqtrain.evaluation.baselines.ngrams import BEGIN, CharNgram, LanguageJudge

NAN = np.nan


def series(*values: float) -> np.ndarray:
    """(1, S, 1): one window of one channel."""
    return np.array(values, dtype=float)[None, :, None]


def test_unigram_by_hand():
    model = CharNgram(1).fit(["aab"])
    # 3 characters, 2 different ones, uniform over 2 seen and 1 unseen: (count + 2 / 3) / (3 + 2)
    assert model.probability("", "a") == pytest.approx((2 + 2 / 3) / 5)
    assert model.probability("", "b") == pytest.approx((1 + 2 / 3) / 5)
    assert model.probability("", "z") == pytest.approx((2 / 3) / 5)
    assert model.bits("az") == pytest.approx(-math.log2((2 + 2 / 3) / 5 * (2 / 3) / 5))


def test_bigram_by_hand():
    model = CharNgram(2).fit(["aab"])
    unigram = (1 + 2 / 3) / 5
    assert model.probability("a", "b") == pytest.approx((1 + 2 * unigram) / (2 + 2))  # after a: one a, one b
    assert model.probability("b", "b") == pytest.approx(unigram)  # nothing ever followed b
    assert model.bits("a") == pytest.approx(-math.log2((1 + 1 * (2 + 2 / 3) / 5) / (1 + 1)))  # a began the one text


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("end", [False, True])
def test_probabilities_sum_to_one_with_one_unseen_character(order: int, end: bool):
    texts = ["the cat sat on the mat", "a cat", "", "that hat"]
    model = CharNgram(order, end=end).fit(texts)
    seen = [gram for gram in model.grams if len(gram) == 1]
    for context in ("", "t", "th", " cat", "zzzz", BEGIN * (order - 1)):
        total = sum(model.probability(context[max(0, len(context) - order + 1) :], char) for char in [*seen, "?"])
        assert total == pytest.approx(1)


def test_the_end_of_a_text_is_an_item():
    assert CharNgram(3).fit(["ab"]).bits("") == 0
    model = CharNgram(1, end=True).fit(["a"])  # two items, one of each: a character and the end
    assert model.bits("a") == pytest.approx(-2 * math.log2((1 + 2 / 3) / (2 + 2)))
    assert CharNgram(3, end=True).fit(["ab"]).bits("ab") < CharNgram(3, end=True).fit(["ab"]).bits("a")


def test_texts_are_independent():
    model = CharNgram(2).fit(["ab", "cd"])
    assert "bc" not in model.grams
    with pytest.raises(ValueError, match="not 0"):
        CharNgram(0)


def test_language_judge():
    judge = LanguageJudge().fit(["Schweden", "Norwegen", "Suède", "Norvège"], ["de", "de", "fr", "fr"])
    assert judge("Wegen") == "de"
    assert judge("vège") == "fr"


def test_word_ngrams():
    assert word_ngrams("Not good, not", 1) == {"not", "good", ","}
    assert word_ngrams("Not good, not", 2) == {"not", "good", ",", "not good", "good ,", ", not"}


def classify(texts: list[str], labels: list[str], asked: list[str], order: int, naive_bayes: bool = False) -> list[str]:
    return LinearClassifier(order, naive_bayes).fit(texts, labels).predict(asked)


@pytest.mark.parametrize("naive_bayes", [False, True])
def test_linear_classifier_learns_words_and_needs_bigrams_for_order(naive_bayes: bool):
    texts = ["good", "very good", "bad", "very bad"]
    assert classify(texts, list("PPNN"), ["so good", "so bad"], 1, naive_bayes) == ["P", "N"]
    ordered = ["x a b", "x b a"] * 8
    labels = ["P", "N"] * 8
    assert classify(ordered, labels, ordered[:2], 2, naive_bayes) == ["P", "N"]
    assert len(set(classify(ordered, labels, ordered[:2], 1, naive_bayes))) == 1


@pytest.mark.parametrize("naive_bayes", [False, True])
def test_linear_classifier_takes_several_labels_and_texts_of_unknown_words(naive_bayes: bool):
    texts, labels = ["red", "red", "green", "blue"], ["r", "r", "g", "b"]
    asked = ["green", "blue", "purple", ""]
    assert classify(texts, labels, asked, 1, naive_bayes) == ["g", "b", "r", "r"]


def test_naive_bayes_has_the_larger_share():
    """For "good" the SVM alone has a score of 0.079 for P. Its mean weight is 0.933, and "good" has a ratio of
    log 3/4 there: a quarter of 0.079 and three quarters of 0.933 log 3/4 are -0.182."""
    texts = ["film fine"] * 3 + ["film good"] * 3 + ["film"] * 2 + ["good"] * 2
    assert classify(texts, list("PPPNNNNNPP"), ["good"], 1) == ["P"]
    assert classify(texts, list("PPPNNNNNPP"), ["good"], 1, naive_bayes=True) == ["N"]


@pytest.mark.parametrize("naive_bayes", [False, True])
@pytest.mark.parametrize("counts", [(190, 10), (40, 1), (120, 60, 20, 4), (90, 60, 30, 12, 3, 1, 1), (60, *[1] * 30)])
def test_rare_labels_are_not_overrated(counts: tuple[int, ...], naive_bayes: bool):
    """Every text has a word of its label among many that all labels share."""
    random = np.random.default_rng(0)

    def texts(labels: list[str]) -> list[str]:
        shared = (20 * random.random((len(labels), 30)) ** 2).astype(int)
        return [" ".join([*(f"w{i}" for i in row), f"of{label}"]) for row, label in zip(shared, labels, strict=True)]

    labels = [str(i) for i, count in enumerate(counts) for _ in range(count)]
    found = classify(texts(labels), labels, texts(labels), 2, naive_bayes)
    right = sum(a == b for a, b in zip(found, labels, strict=True))
    assert right >= counts[0]  # the majority class


def test_repeat_last_takes_the_last_known_value_of_each_channel():
    context = np.array([[[1, 10], [2, NAN], [NAN, NAN]]], dtype=float)
    assert repeat_last(context, 2).tolist() == [[[2, 10], [2, 10]]]
    assert np.isnan(repeat_last(series(NAN, NAN), 3)).all()


def test_seasonal_naive():
    assert seasonal_naive(series(1, 2, 3, 4, 5, 6), 5, 3)[0, :, 0].tolist() == [4, 5, 6, 4, 5]
    assert seasonal_naive(series(0, 1, 2, 3, 4, 5, 6), 2, 3)[0, :, 0].tolist() == [4, 5]  # phases count from the end
    assert seasonal_naive(series(1, 2, 3, NAN, 5, NAN), 3, 3)[0, :, 0].tolist() == [1, 5, 3]
    assert seasonal_naive(series(NAN, 2, 3, NAN, 5, 6), 3, 3)[0, :, 0].tolist() == [6, 5, 6]
    assert seasonal_naive(series(7, 8), 4, 3)[0, :, 0].tolist() == [8, 7, 8, 8]  # less than one period is known


def test_seasonal_naive_with_drift():
    assert seasonal_naive_drift(series(1, 2, 3, 11, 12, 13), 4, 3)[0, :, 0].tolist() == [21, 22, 23, 31]
    # the mean of 9 and 11; the missing phase is two periods away, so it drifts twice
    assert seasonal_naive_drift(series(1, 2, 3, 10, NAN, 14), 3, 3)[0, :, 0].tolist() == [20, 22, 24]
    assert seasonal_naive_drift(series(4, 5, 6), 4, 3)[0, :, 0].tolist() == [4, 5, 6, 4]  # one period tells no change


def test_forecasts_of_many_windows_are_those_of_each():
    rng = np.random.default_rng(0)
    context = rng.normal(size=(5, 17, 3))
    context[rng.random(context.shape) < 0.3] = NAN
    for forecast in (seasonal_naive, seasonal_naive_drift):
        together = forecast(context, 9, 4)
        assert together.shape == (5, 9, 3)
        for i, channel in np.ndindex(5, 3):
            alone = forecast(context[i : i + 1, :, channel : channel + 1], 9, 4)
            assert np.allclose(together[i : i + 1, :, channel : channel + 1], alone, equal_nan=True)


def test_time_warping_finds_a_series_that_is_slower_in_its_middle():
    """By hand: the cheapest way through a table of squares; and a stretched series is nearer than another one."""
    distances = np.array([[[1.0, 4.0, 9.0], [0.0, 1.0, 4.0], [1.0, 0.0, 1.0]]])
    assert warped(distances).tolist() == [1 + 0 + 0 + 1]
    times = np.linspace(0, 1, 60)
    bump, edge = np.exp(-(((times - 0.3) / 0.1) ** 2)), (times > 0.5).astype(float)
    later = np.exp(-(((times**2 - 0.3) / 0.1) ** 2))
    assert nearest_by_warping([bump[:, None], edge[:, None]], ["bump", "edge"], [later[:, None]]) == ["bump"]
