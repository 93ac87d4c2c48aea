import numpy as np
import pytest

from seqtrain.config import UserError
from seqtrain.evaluation import calibration, decision
from seqtrain.evaluation.decision import Rule

NAMES = ["ham", "spam"]


def drawn(temperature: float, count: int = 20_000, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and classes that are drawn with the probabilities that they have at a temperature."""
    random = np.random.default_rng(0)
    scores = random.normal(0, 3, (count, classes))
    noise = random.gumbel(size=scores.shape)
    return scores, (scores / temperature + noise).argmax(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_with_which_classes_were_drawn_is_found(temperature: float):
    scores, true = drawn(temperature)
    found = calibration.fit_temperature(scores, true)
    assert found == pytest.approx(temperature, rel=0.03)
    after = calibration.calibration_error(calibration.softmax(scores / found), true)()["ece"]
    assert after < 0.01
    if temperature == 3:
        assert calibration.calibration_error(calibration.softmax(scores), true)()["ece"] > 0.2


def test_where_all_answers_are_right_probabilities_stay_below_one():
    scores = np.array([[2.0, 0.0], [0.0, 3.0], [4.0, 0.0]])
    found = calibration.fit_temperature(scores, np.array([0, 1, 0]))
    assert 0.2 < found < 2
    assert calibration.softmax(scores / found).max() < 0.999


def test_the_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.35, 0.65], [0.35, 0.65]])
    true = np.array([0, 1, 1, 0])
    error = calibration.calibration_error(probabilities, true)
    assert error()["ece"] == pytest.approx((0.1 + 0.8 + abs(1 - 1.3)) / 4)
    assert error(np.array([2.0, 0, 0, 0]))["ece"] == pytest.approx(0.1)
    counts, confidence, accuracy = calibration.reliability(probabilities, true)
    assert counts.sum() == 4
    assert (confidence[9], accuracy[9], counts[9]) == (pytest.approx(0.65), 0.5, 2)


def settled(thresholds: object, learned: dict | None = None) -> Rule:
    rule = Rule(calibrate=True, thresholds=thresholds)
    rule.load(learned or {}, NAMES)
    return rule


@pytest.mark.parametrize(
    ("thresholds", "answers"),
    [
        (None, [0, 1, 1]),
        ({"spam": 0.9}, [0, 0, 1]),  # spam only where it is sure
        ({"spam": 0.3}, [1, 1, 1]),  # spam in case of doubt
        (0.7, [-1, -1, 1]),  # no answer in case of doubt
        ({"spam": 0.9, "ham": 0.5}, [0, -1, 1]),
    ],
)
def test_answers_by_thresholds(thresholds: object, answers: list[int]):
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6], [0.05, 0.95]])
    assert settled(thresholds).choose(probabilities).tolist() == answers


def test_thresholds_are_found_on_the_validation_split():
    spam = np.array([0.1, 0.2, 0.4, 0.6, 0.7, 0.9])
    true = np.array([0, 1, 0, 1, 1, 1])
    scores = np.log(np.stack([1 - spam, spam], 1))

    def found(goal: str) -> float:
        return Rule(calibrate=False, thresholds={"spam": goal}).learn(scores, true, NAMES)["thresholds"]["spam"]

    assert found("precision 1") == pytest.approx(0.5)
    assert found("recall 0.75") == pytest.approx(0.5)
    assert found("recall 1") == pytest.approx(0.15)
    assert found("f1") == pytest.approx(0.15)  # precision 0.8, recall 1
    rows = decision.table(np.exp(scores), true, NAMES)
    (row,) = [row for row in rows if (row["label"], row["threshold"]) == ("spam", 0.5)]
    assert (row["precision"], row["recall"]) == (1, 0.75)


@pytest.mark.parametrize("value", [0, 1.5, True, "f2", "precision", "precision 2", "accuracy 0.9"])
def test_what_is_no_threshold_is_refused(value: object):
    with pytest.raises(UserError, match=r"task\.thresholds\.spam=.*expected a probability"):
        Rule(calibrate=True, thresholds={"spam": value})


def test_a_threshold_of_another_label_is_refused():
    with pytest.raises(UserError, match=r"'spm' is no label of the data; did you mean spam"):
        Rule(calibrate=True, thresholds={"spm": 0.5}).check(NAMES)


def test_a_goal_needs_a_training_that_reaches_it():
    with pytest.raises(UserError, match=r"task\.thresholds\.spam=precision 0\.9 is found when training ends"):
        settled({"spam": "precision 0.9"})


@pytest.mark.parametrize("learned", [{"temperature": 0}, {"temperature": "1"}, {"temperature": float("nan")},
                                     {"thresholds": {"spam": 2.0}}, {"thresholds": [0.5]}])  # fmt: skip
def test_a_hostile_calibration_is_refused(learned: dict):
    with pytest.raises(ValueError, match="calibration: wrong"):
        settled({"spam": "f1"}, learned)
