import math
from collections import Counter

import numpy as np
import pytest
import sacrebleu

from seqtrain.evaluation import metrics

OUTPUTS = ["the cat sat on a mat", "there is a dog in the garden", "same here now then"]
REFERENCES = ["the cat sat on the mat", "a dog is in the garden of the king", "same here now then"]


def test_totals_are_joined():
    a = {"seconds": 1.5, "counts": np.array([[1, 0]]), "texts": ["x"]}
    b = {"seconds": 2.0, "counts": np.array([[2, 5]]), "texts": ["y", "z"]}
    found = metrics.joined([{}, a, b])
    assert found["seconds"] == 3.5
    assert found["counts"].tolist() == [[1, 0], [2, 5]]
    assert found["texts"] == ["x", "y", "z"]
    assert a["texts"] == ["x"]


def test_every_metric_has_a_direction_and_a_unit():
    errors = np.ones((1, 2, 1)), np.zeros((1, 2, 1)), np.ones((1, 1))
    computed = metrics.language_model(1.0, 1.0, 1.0) | metrics.classification(np.eye(2)) | forecast(*errors)
    computed |= metrics.translation(OUTPUTS, REFERENCES, language="en")()
    assert computed.keys() <= metrics.METRICS.keys()
    signs = {name: metrics.METRICS[name].sign for name in ("loss", "mae", "bits_per_char", "bleu", "accuracy")}
    assert signs == {"loss": -1, "mae": -1, "bits_per_char": -1, "bleu": 1, "accuracy": 1}


def test_language_model():
    found = metrics.language_model(nats=12 * math.log(8), items=12, characters=10)
    assert found == pytest.approx({"loss": math.log(8), "perplexity": 8, "bits_per_char": 3.6})
    assert math.isfinite(metrics.language_model(1e6, 1, 1)["perplexity"])


def test_classification():
    confusion = np.array([[5, 1, 0], [2, 3, 1], [0, 0, 4]])
    f1 = [2 * 5 / (6 + 7), 2 * 3 / (6 + 4), 2 * 4 / (4 + 5)]
    assert metrics.classification(confusion) == pytest.approx({"accuracy": 12 / 16, "macro_f1": sum(f1) / 3})


def test_a_class_that_neither_occurs_nor_is_predicted_does_not_count():
    """As scikit-learn's `f1_score(average="macro")`: its classes are those of the true and the predicted labels."""
    assert metrics.classification(np.array([[4, 0], [0, 0]])) == {"accuracy": 1.0, "macro_f1": 1.0}
    predicted = metrics.classification(np.array([[3, 0, 1], [0, 0, 0], [0, 0, 0]]))  # the last one is, once
    assert predicted == pytest.approx({"accuracy": 3 / 4, "macro_f1": (2 * 3 / 7 + 0) / 2})


def bleu(outputs: list[str], references: list[str]) -> float:
    """Papineni et al. 2002, for texts whose items are separated by spaces and none of whose counts is zero."""
    log_precision = 0.0
    for n in range(1, 5):
        hits = total = 0
        for output, reference in zip(outputs, references, strict=True):
            a, b = (Counter(zip(*[text.split()[i:] for i in range(n)], strict=False)) for text in (output, reference))
            hits, total = hits + sum((a & b).values()), total + sum(a.values())
        log_precision += math.log(hits / total) / 4
    ratio = sum(len(text.split()) for text in references) / sum(len(text.split()) for text in outputs)
    return 100 * math.exp(log_precision + min(0, 1 - ratio))


def test_translation():
    found = metrics.translation(OUTPUTS, REFERENCES)()
    assert found["exact_match"] == pytest.approx(1 / 3)
    assert found["bleu"] == pytest.approx(bleu(OUTPUTS, REFERENCES))
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES]).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(OUTPUTS, [REFERENCES]).score)
    assert metrics.translation(REFERENCES, REFERENCES)() == pytest.approx({"exact_match": 1, "bleu": 100, "chrf": 100})
    assert metrics.translation([""], ["a b c d"])() == {"exact_match": 0, "bleu": 0, "chrf": 0}


TRUE = np.array([[[1.0, 10.0], [2.0, np.nan]], [[4.0, 20.0], [0.0, 40.0]]])  # (N, T, C)
PREDICTED = np.array([[[2.0, 10.0], [0.0, 99.0]], [[4.0, 10.0], [0.0, 50.0]]])
SCALE = np.array([[0.5, 5.0], [2.0, 10.0]])


def forecast(predicted: np.ndarray, true: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    return metrics.of_sums(metrics.forecast_sums(predicted, true, scale), metrics.forecast)()


def test_forecast():
    found = forecast(PREDICTED, TRUE, SCALE)
    errors = np.array([1, 0, 2, 0, 10, 0, 10])  # of the seven known values, in order
    assert found == pytest.approx(
        {
            "mae": errors.mean(),
            "mse": (errors**2).mean(),
            "rmse": math.sqrt((errors**2).mean()),
            "mase": (1 / 0.5 + 2 / 0.5 + 10 / 10 + 10 / 10) / 7,
            "smape": 100 * (2 * 1 / 3 + 2 * 2 / 2 + 2 * 10 / 30 + 2 * 10 / 90) / 7,  # 0 for 0 counts as right
        }
    )


def test_the_seasonal_naive_forecast_has_a_mase_of_one_on_its_own_training_part():
    """Hyndman & Koehler 2006: the scale is the mean error of the seasonal naive forecast."""
    values, period = np.random.default_rng(0).normal(size=40).cumsum(), 4
    scale = np.abs(values[period:] - values[:-period]).mean()
    naive, true = values[:-period].reshape(1, -1, 1), values[period:].reshape(1, -1, 1)
    assert forecast(naive, true, np.array([[scale]]))["mase"] == pytest.approx(1)


@pytest.mark.parametrize("cuts", [[1], [2, 5], [1, 2, 3, 4, 5, 6]])
def test_the_cut_changes_no_forecast_metric(cuts):
    random = np.random.default_rng(0)
    predicted, true, scale = random.normal(size=(7, 3, 2)), random.normal(size=(7, 3, 2)), random.uniform(1, 2, (7, 2))
    true[random.random(true.shape) < 0.3] = np.nan
    parts = zip(*(np.split(array, cuts) for array in (predicted, true, scale)), strict=True)
    pieces = metrics.joined(metrics.forecast_sums(*part) for part in parts)
    assert metrics.of_sums(pieces, metrics.forecast)() == pytest.approx(forecast(predicted, true, scale))
