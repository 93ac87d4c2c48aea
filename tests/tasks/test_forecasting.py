import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import seqtrain
from seqtrain import run
from seqtrain.config import UserError
from seqtrain.data import Series
from seqtrain.run import Loaded
from seqtrain.tasks.forecasting import Forecasting, carry_forward

NAN = math.nan


@pytest.fixture(autouse=True, scope="module")
def no_figures():
    with tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    place = tmp_path_factory.mktemp("runs") / "run"
    tiny.train(place, "forecasting")
    return seqtrain.load(place)


def series(*rows: Any, begin: int = 0, name: str = "s") -> Series:
    values = np.array(rows, float).reshape(len(rows), -1)
    times = np.arange(len(rows)).astype("datetime64[D]")
    return Series(name, times, values, begin, tuple("ab"[: values.shape[1]]))


def fitted(records: list[Series], **changes: Any) -> Forecasting:
    options = {"context": 2, "horizon": 2, "period": 2, "normalize": "window", "loss": "mae", "monitor": "mae"}
    task = Forecasting(**options | changes)
    task.fit(records)
    return task


def test_missing_values_are_carried_forward():
    values = np.array([[NAN, 1], [2, NAN], [NAN, NAN], [4, 5]])
    assert carry_forward(values).tolist() == [[2, 1], [2, 1], [2, 1], [4, 5]]


def test_a_window_by_hand():
    task = fitted([series(0, 1, 2, 4, 8, 16)])
    task.scale = np.array([2.0])
    examples = task.examples([series(0, 1, NAN, 4, NAN, 16, begin=3)])
    assert examples.ends.tolist() == [3, 4]  # both targets in rows 3 to 5, all rows before may be read
    batch = examples.batch(np.arange(2))
    assert batch.source is not None
    assert batch.inputs is not None
    # filled: 0 1 1 4 4 16; the offsets are 1 and 4; a flag where the value is missing
    assert batch.source.tolist() == [[[0, 0], [0, 1]], [[-1.5, 1], [0, 0]]]
    np.testing.assert_array_equal(batch.target[..., 0], [[1.5, NAN], [NAN, 6]])
    assert batch.inputs[..., 0].tolist() == [[0, 1.5], [0, 0]]  # the step before, filled
    restored = examples.restore(torch.tensor([[1.5], [0.0], [0.0], [6.0]]), np.arange(2))
    assert restored[..., 0].tolist() == [[4, 1], [4, 16]]


def test_a_channel_has_its_own_scale_and_a_series_its_own_error():
    one, two = series([0, 0], [1, 10], [2, 20], [3, 30], name="one"), series([5, 0], [5, 9], [5, 0], [5, 9], name="two")
    task = fitted([one, two], period=1, normalize="series")
    np.testing.assert_allclose(task.mean, [3.25, 9.75])
    np.testing.assert_allclose(task.naive_error["one"], [1, 10])
    np.testing.assert_allclose(task.naive_error["two"], [1e-8, 9])
    assert task.examples([one, two]).naive_error[0].tolist() == task.naive_error["one"]
    assert task.spec.outputs == 2


def test_windows_do_not_cross_from_one_series_to_the_next():
    examples = fitted([series(1, 2, 3, 4)]).examples([series(1, 2, 3, 4), series(10, 20, 30, 40, 50)])
    context, target, _ = examples.cut(np.arange(3))
    assert context[..., 0].tolist() == [[1, 2], [10, 20], [20, 30]]
    assert target[..., 0].tolist() == [[3, 4], [30, 40], [40, 50]]


def test_too_short_a_series_is_told():
    with pytest.raises(UserError, match=r"task\.context=2 and task\.horizon=2 need 4 steps; the longest .* has 3"):
        fitted([series(1, 2, 3, 4)]).examples([series(1, 2, 3)])


@pytest.mark.parametrize(("loss", "total"), [("mae", 0.5 + 3), ("mse", 0.25 + 9), ("huber", 0.125 + 2.5)])
def test_a_missing_target_is_left_out_of_sum_count_and_gradient(loss: str, total: float):
    task = fitted([series(0, 1, 2, 4, 8, 16)], loss=loss)
    batch = task.examples([series(0, 1, NAN, 4, 8, NAN, 1)]).batch(np.arange(1, 3))  # targets: 4 8, 8 nan
    target = batch.real(batch.target)
    assert target.isnan().sum() == 1
    known = ~target.isnan()[:, 0]
    errors = torch.tensor([0.5, -3.0, 0.0])
    scores = torch.zeros(4, 1)
    scores[known, 0] = target[known, 0] + errors
    scores.requires_grad_()
    found, count = task.loss(scores, batch)
    assert found.item() == pytest.approx(total, rel=1e-5)
    assert count == 3
    (gradient,) = torch.autograd.grad(found, scores)
    assert torch.isfinite(gradient).all()
    assert gradient[~known].abs().sum() == 0
    assert gradient[known][:2].abs().min() > 0


def test_a_batch_without_any_known_target_leaves_the_weights_finite():
    trainer, job, _ = tiny.job(tiny.config("forecasting"))
    batch = next(job.train.epoch())
    trainer.update(job, [batch._replace(target=torch.full_like(batch.target, NAN))])
    assert all(torch.isfinite(parameter).all() for parameter in job.model.parameters())


def test_what_was_fitted_comes_back_from_its_state():
    task, other = fitted([series(0, 1, 2, 4, 8, 16)]), fitted([series(5, 1, 2, 4, 8, 16)])
    other.load_state(json.loads(json.dumps(task.state())))
    assert other.spec == task.spec
    np.testing.assert_array_equal(other.scale, task.scale)


def test_baselines_by_hand():
    task = fitted([series(0, 1, 2, 3, 4, 5)], period=2)
    found = task.baselines([], [series(0, 1, 2, 3)])  # context 0 1, truth 2 3
    assert found["repeat last"]["mae"] == 1.5
    assert found["seasonal naive"]["mae"] == 2
    assert found["seasonal naive"]["mase"] == 1
    assert list(found) == ["repeat last", "seasonal naive", "seasonal naive with drift"]


@pytest.mark.parametrize("model", ["many_to_one", "seq2seq"])
def test_overfits_one_batch(model: str, tmp_path: Path):
    found = tiny.train(
        tmp_path / "run",
        "forecasting",
        {"schedule": "constant", "model": model},
        trainer__overfit_batches=1,
        trainer__batch_size=4,
        trainer__max_steps=200,
        trainer__eval_every=200,
        model__hidden_size=32,
        optimizer__lr=0.02,
    )
    assert found["valid"]["loss"] < 0.02
    assert found["valid"]["mae"] < 0.3  # ppm


# ---------------------------------------------------------------------------------------------------- lines

HISTORY = ["315.1", "316", "nan", "317", "318.5", "317", "316", "315.25"]


@pytest.mark.parametrize(
    "line",
    [
        " ".join(HISTORY),
        ",".join(HISTORY),
        ", ".join(HISTORY).replace("nan", ""),
        "1 2 3 " + "\t".join(HISTORY).replace("nan", "NaN"),
        "[" + ", ".join(HISTORY).replace("nan", "null") + "]",
        "[" + ", ".join(f"[{value}]" for value in HISTORY).replace("nan", "NaN") + "]",
    ],
)
def test_the_ways_to_write_a_history(loaded: Loaded, line: str):
    assert isinstance(loaded.task, Forecasting)
    np.testing.assert_array_equal(loaded.task.parse(line, 1)[:, 0], [float(value) for value in HISTORY])
    (forecast,) = loaded.predict([line])
    assert len(forecast) == 4
    assert forecast == loaded.predict([",".join(HISTORY)])[0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1 2 three 4 5 6 7 8", "expected numbers, found '1 2 three"),
        ("[1, 2", "expected numbers"),
        ('[1, {"a": 2}]', "expected numbers"),
        ("[[1, 2], 3, 4, 5, 6, 7, 8, 9]", "expected numbers"),
        ("1 2 3", "3 values; the model reads the last 8"),
        ("", "0 values; the model reads the last 8"),
        ("[]", "0 values; the model reads the last 8"),
        (str([[1, 2]] * 8), r"expected 1 value\(s\) a step: co2"),
        (str([[[1]]] * 8), r"expected 1 value\(s\) a step: co2"),
        ("nan " * 8, "none of the last 8 values of co2 is known"),
        ("1 " + "nan " * 8, "none of the last 8 values of co2 is known"),
        ("1 2 3 4 5 6 7 inf", "expected finite numbers"),
    ],
)
def test_lines_that_are_no_history(loaded: Loaded, line: str, problem: str):
    with pytest.raises(UserError, match=f"input, line 2: {problem}"):
        loaded.predict([" ".join(HISTORY), line])


def test_several_channels():
    task = fitted([series([0, 0], [1, 10], [2, 20], [3, 30], [4, 40])])
    np.testing.assert_array_equal(task.parse("[[9, 9], [1, null], [2, 3]]", 1), [[1, NAN], [2, 3]])
    for line in ("[1, 2]", "1 2", "[[1, 2, 3], [1, 2, 3]]"):
        with pytest.raises(UserError, match=r"expected 2 value\(s\) a step: a, b"):
            task.parse(line, 1)
    with pytest.raises(UserError, match="none of the last 2 values of b is known"):
        task.parse("[[1, null], [2, null]]", 1)
    cfg = tiny.config("forecasting")
    model = run.open_model(cfg, task.spec, torch.device("cpu")).eval()
    (answer,) = task.predict(model, ["[[1, null], [2, 3]]"], None)
    assert np.shape(answer["output"]) == (2, 2)
    assert np.isfinite(answer["output"]).all()


def test_a_forecast_is_that_of_evaluation(loaded: Loaded):
    """The same window through `evaluate` and through a line of text."""
    examples = loaded.task.examples(loaded.source.read("valid"))
    context, _, _ = examples.cut(np.array([5]))  # pyright: ignore
    with torch.inference_mode():
        scores = loaded.model(examples.batch(np.array([5]))).scores
    expected = examples.restore(scores, np.array([5]))[0, :, 0]  # pyright: ignore
    line = " ".join(map(repr, context[0, :, 0].tolist()))
    np.testing.assert_allclose(loaded.predict([line])[0], expected, atol=1e-4)
