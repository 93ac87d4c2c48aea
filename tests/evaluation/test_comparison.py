import math

import pytest

from seqtrain.evaluation.comparison import best_baseline, compared_by, verdict

BASELINES = {"a": {"accuracy": 0.4, "macro_f1": 0.6}, "b": {"accuracy": 0.5, "macro_f1": 0.2}}


def test_the_best_goes_by_the_monitor_or_by_what_the_baselines_have():
    assert best_baseline(BASELINES, "macro_f1") == ("a", BASELINES["a"])
    assert best_baseline(BASELINES, "accuracy")[0] == "b"
    assert compared_by(BASELINES, "loss") == "accuracy"
    assert best_baseline(BASELINES, "loss")[0] == "b"
    errors = {"a": {"mae": math.nan}, "b": {"mae": 3.0}, "c": {"mae": 2.0}}
    assert best_baseline(errors, "mae")[0] == "c"
    assert best_baseline({"a": {"mae": math.nan}}, "mae")[0] == "a"


@pytest.mark.parametrize(("value", "worse"), [(0.51, False), (0.5, True), (0.49, True), (math.nan, True)])
def test_a_model_that_is_not_better_is_named(value: float, worse: bool):
    curve = [{"step": 10, "accuracy": 0.3, "loss": 1.0}, {"step": 20, "accuracy": 0.3, "loss": 0.9}]
    found = verdict("test", {"accuracy": value, "loss": 1.0}, BASELINES, "accuracy", curve)
    assert bool(found) == worse
    if worse:
        assert found.startswith(f"the model is not better than b (test accuracy {value:.4g} against 0.5); to try: ")
        assert "trainer.epochs" in found


def test_nothing_is_to_be_tried_where_both_are_perfect():
    baselines, curve = {"b": {"accuracy": 1.0}}, [{"step": 10, "accuracy": 1.0, "loss": 0.1}]
    found = verdict("test", {"accuracy": 1.0, "loss": 0.1}, baselines, "accuracy", curve)
    assert found == "b is perfect on the test split, too: these data are too easy to tell models apart"


def test_errors_are_better_when_lower_and_the_cure_goes_by_the_curve():
    curve = [{"step": 10, "mae": 3.0, "loss": 1.0}, {"step": 20, "mae": 4.0, "loss": 0.9}]
    baselines = {"repeat last": {"mae": 2.0}}
    assert verdict("test", {"mae": 1.9}, baselines, "mae", curve) == ""
    found = verdict("test", {"mae": 2.1}, baselines, "mae", curve)
    assert "(test mae 2.1 against 2)" in found
    assert "step 10 of 20" in found
    assert "trainer.epochs" not in found
