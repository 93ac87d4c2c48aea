import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import seqtrain
from seqtrain.codecs.windows import Channel, carry_forward
from seqtrain.commands.assembly import Assembly
from seqtrain.commands.loaded import Loaded
from seqtrain.config import UserError, build
from seqtrain.contract import Fixed, Output, Reals, Spec
from seqtrain.data.kinds import Layout, Series
from seqtrain.engine.evaluate import evaluate
from seqtrain.likelihoods.point import Point
from seqtrain.likelihoods.quantiles import Quantiles
from seqtrain.likelihoods.student_t import StudentT
from seqtrain.reading import histories
from seqtrain.tasks.forecasting import Forecasting

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


OPTIONS = {"context": 2, "horizon": 2, "segment": 1, "apart": False, "calendar": [], "period": 2}
OPTIONS |= {"normalize": "window", "standardize": False, "interval": 0.9, "loss": "mae", "monitor": "mae"}


def series(*rows: Any, begin: int = 0, name: str = "s", **covariates: Any) -> Series:
    values = np.array(rows, float).reshape(len(rows), -1)
    times = np.datetime64("2024-01-01") + np.arange(len(rows))  # a Monday
    layout = Layout(tuple("ab"[: values.shape[1]]), frequency="D", **{key: (key,) for key in covariates})
    extra = {key: np.array(value, float).reshape(len(rows), 1) for key, value in covariates.items()}
    return Series(name, times, values, begin, layout, **extra)


def made(**changes: Any) -> Forecasting:
    return build({"_target_": "seqtrain.tasks.forecasting.Forecasting", **OPTIONS, **changes})


def fitted(records: list[Series], **changes: Any) -> Forecasting:
    task = made(**changes)
    task.fit(records)
    return task


def channel(task: Forecasting, name: str = "s", target: str = "a") -> Channel:
    return Channel(*task.fitted.series[name][target])


def test_missing_values_are_carried_forward():
    values = np.array([[NAN, 1], [2, NAN], [NAN, NAN], [4, 5]])
    assert carry_forward(values, np.array([7.0, 8])).tolist() == [[7, 1], [2, 1], [2, 1], [4, 5]]


def test_a_window_by_hand():
    task = fitted([series(0, 1, NAN, 4, 8, 16)])
    task.fitted.series["s"]["a"] = list(Channel(5.0, 3.0, 2.0, 1.0))
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
    task = fitted([series(0, 1, 2, 4, 8, 16)])
    assert task.spec.source == Reals((1,))  # nothing is missing, so nothing is flagged


def test_segments_are_positions_of_several_steps():
    task = fitted([series(*[[i, 10 * i * i] for i in range(12)])], context=4, horizon=4, segment=2, normalize="series")
    assert task.spec == Spec(Reals((4,)), True, Reals((4,)), Point(4), Fixed(2))
    examples = task.examples([series(*[[i, 10 * i * i] for i in range(12)])])
    single = fitted([series(*[[i, 10 * i * i] for i in range(12)])], context=4, horizon=4, normalize="series")
    rows = np.array([1, 3])
    batch, steps = examples.batch(rows), single.examples(examples.records).batch(rows)
    for name in ("source", "inputs", "target"):
        found, wanted = getattr(batch, name), getattr(steps, name)
        assert found.shape == (2, 2, 4)
        if name == "inputs":  # the segment before: its first position is the end of the context
            wanted = torch.cat([steps.source[:, 2:], steps.target[:, :2]], 1)
        assert torch.equal(found.view(2, 4, 2), wanted)
    true = examples.cut(rows)[1]
    assert true[0, :, 0].tolist() == [5, 6, 7, 8]
    np.testing.assert_allclose(examples.restore(batch.real(batch.target), rows), true, rtol=1e-5)


@pytest.mark.parametrize(("name", "fits"), [("context", "4 or 8"), ("horizon", "4 or 8")])
def test_a_segment_divides_the_window(name: str, fits: str):
    with pytest.raises(UserError, match=rf"task\.{name}=6 is no multiple of task\.segment=4: {fits} would be"):
        made(**{"context": 8, "horizon": 4, "segment": 4, name: 6})


def test_channels_apart_are_windows_of_their_own_with_scales_of_their_own():
    records = [series(*[[i, 100 - i * i] for i in range(8)])]
    task = fitted(records, apart=True)
    assert task.spec == Spec(Reals((1,)), True, Reals((1,)), Point(1), Fixed(2))
    examples, rows = task.examples(records), np.arange(10)
    assert len(examples.ends) == 2 * 5
    _, true = examples.cut(rows)
    assert true[[0, 5], :, 0].tolist() == [[2, 3], [96, 91]]
    together = fitted(records).examples(records)
    whole = together.batch(np.arange(5)).target
    np.testing.assert_allclose(examples.batch(rows).target[..., 0], torch.cat([whole[..., 0], whole[..., 1]]))
    for name, found in task.baselines([], records).items():
        assert found == pytest.approx(fitted(records).baselines([], records)[name])
    assert [examples.name(row) for row in (0, 9)] == ["a", "b"]


def test_covariates_stand_beside_the_values_of_their_dates():
    records = [series(*range(8), past=[0, 1] * 4, known=[3, 5] * 4)]  # z-scores -1 and 1
    task = fitted(records, calendar=["day_of_week"], normalize="series")
    assert task.spec == Spec(Reals((5,)), True, Reals((4,)), Point(1), Fixed(2), known=3)
    batch = task.examples(records).batch(np.array([1]))  # reads rows 1 and 2, forecasts 3 and 4
    assert batch.source is not None
    assert batch.inputs is not None
    angle = 2 * np.pi * np.arange(1, 5) / 7
    dates = np.stack([np.sin(angle), np.cos(angle)], -1)
    np.testing.assert_allclose(batch.source[0, :, 1], [1, -1])
    np.testing.assert_allclose(batch.source[0, :, 2], [1, -1])
    np.testing.assert_allclose(batch.source[0, :, 3:], dates[:2], rtol=1e-6)
    np.testing.assert_allclose(batch.inputs[0, :, 1], [1, -1])
    np.testing.assert_allclose(batch.inputs[0, :, 2:], dates[2:], rtol=1e-6)
    parted = fitted(records, calendar=["day_of_week"], normalize="series", segment=2)
    one = parted.examples(records).batch(np.array([1]))
    assert one.inputs is not None
    assert one.inputs.shape == (1, 1, 2 * 4)
    np.testing.assert_allclose(one.inputs[0, 0, 2:].view(2, 3), batch.inputs[0, :, 1:], rtol=1e-6)  # values come first


def test_static_values_stand_at_every_step_of_their_series():
    records = [series(*range(8), name=name)._replace(static=(area,)) for name, area in (("s", 1.0), ("t", 5.0))]
    task = fitted(records)
    assert task.spec == Spec(Reals((2,)), True, Reals((2,)), Point(1), Fixed(2), known=1)
    examples = task.examples(records)
    batch = examples.batch(np.array([0, len(examples.ends) - 1]))
    assert batch.source is not None
    assert batch.inputs is not None
    assert batch.source[..., 1].tolist() == batch.inputs[..., 1].tolist() == [[-1, -1], [1, 1]]
    again = made()
    again.load_state(json.loads(json.dumps(task.state())))
    assert again.fitted == task.fitted
    old = {name: value for name, value in task.state().items() if name != "static"}
    again.load_state(old)  # of before there were such values
    assert again.fitted.static == {"s": [], "t": []}


def test_an_unknown_feature_of_the_calendar_is_told():
    with pytest.raises(UserError, match=r"task\.calendar: there is no day_of_weak.*day_of_week.*there are minute"):
        fitted([series(0, 1, 2, 4)], calendar=["day_of_weak"])


def test_plain_numbers_have_no_calendar():
    numbered = series(0, 1, 2, 4)
    layout = numbered.layout._replace(date_format="integer", frequency="step")
    with pytest.raises(UserError, match=r"task\.calendar: date holds plain numbers, which have no calendar"):
        fitted([numbered._replace(layout=layout)], calendar=["day_of_week"])


def test_a_channel_of_a_series_has_its_own_scale_and_error():
    one, two = series([0, 0], [1, 10], [2, 20], [3, 30], name="one"), series([5, 0], [6, 9], [5, 0], [6, 9], name="two")
    task = fitted([one, two], period=2, normalize="series")
    assert channel(task, "one", "b") == (15, pytest.approx(math.sqrt(125)), pytest.approx(10 * math.sqrt(125) / 10), 20)
    assert channel(task, "two", "b")[:2] == (4.5, 4.5)
    assert math.isnan(channel(task, "two", "a").naive_error)  # the seasonal naive forecast makes no error
    examples = task.examples([one, two])
    assert examples.scale.tolist() == [[math.sqrt(1.25), math.sqrt(125)], [0.5, 4.5]]
    found = task.baselines([], [one, two])["repeat last"]
    errors = [[1, 2], [10, 20], [1, 0], [9, 0]]
    assert found["mae"] == np.mean(errors)
    assert found["mase"] == (3 / 2 + 30 / 20) / 4  # of `one` alone


def test_standardized_errors_count_in_deviations_of_the_training_part():
    train = [series(*[[i, 100 * i] for i in range(8)])]
    raw, task = (fitted(train, standardize=standardize) for standardize in (False, True))
    deviation = np.std(np.arange(8))
    found, plain = task.baselines([], train)["repeat last"], raw.baselines([], train)["repeat last"]
    assert found["mae"] == pytest.approx(1.5 / deviation)
    assert found["mse"] == pytest.approx(2.5 / deviation**2)
    assert found["mase"] == pytest.approx(plain["mase"])
    assert task.examples(train).scale[0].tolist() == [deviation, 100 * deviation]


def test_a_constant_has_a_scale_of_one_and_what_is_missing_is_left_out(tmp_path: Path):
    flat, gone = [0.1 + 0.2, 0.3, NAN, 0.3], [NAN] * 4
    records = [series(*flat), series(*gone, name="t"), series(1, 2, 3, 5, name="u")]
    task = fitted(records)
    assert channel(task)[1:3] == (1, 1)
    assert math.isnan(channel(task).naive_error)
    assert list(task.fitted.series) == ["s", "u"]
    assert [one.name for one in task.examples(records).records] == ["s", "u"]
    lines = task.report({"train": records, "test": [records[1]._replace(begin=2), records[2]]}).lines
    assert "train: 1 series (s) without any change" in lines
    assert "test: 1 series (t) without a value in training, left out" in lines
    with pytest.raises(UserError, match="train: there is no value of b; nothing can be learned"):
        fitted([series(*zip([1, 2, 3], gone[:3], strict=True))])


def test_a_wave_in_all_its_digits_has_the_scale_of_the_wave():
    """Differences between equal phases are of rounding, whether numbers have 17 digits or 7."""
    wave = 10 + np.sin(np.arange(200) * 2 * np.pi / 4 + 0.3)
    for values in (wave, wave.astype(np.float32)):
        task = fitted([series(*values)], period=4, horizon=4, context=4)
        assert channel(task)[1:3] == pytest.approx((math.sqrt(0.5), math.sqrt(2)), rel=0.01)
        assert math.isnan(channel(task).naive_error)
        assert any("makes no error in training" in line for line in task.report({"train": [series(*values)]}).lines)
    with pytest.raises(UserError, match=r"task\.monitor=mase: .*task\.monitor=mae will do"):
        fitted([series(*wave)], period=4, monitor="mase").check({"valid": [series(*wave, begin=100)]})
    assert "mase" not in fitted([series(*wave)], period=4).baselines([], [series(*wave)])["repeat last"]
    meter = 1.7e9 + np.arange(200.0) + np.sin(np.arange(200))
    assert channel(fitted([series(*meter)], period=4)).naive_error == pytest.approx(4, rel=0.1)


def test_a_horizon_of_a_whole_season_is_scaled_by_the_changes_within_it():
    random = np.random.default_rng(0)
    wave = 10 * np.sin(np.arange(240) * 2 * np.pi / 24) + random.normal(size=240)
    assert channel(fitted([series(*wave)], horizon=24, period=24)).change == pytest.approx(20 / math.sqrt(2), rel=0.05)


def test_what_cannot_be_scored_is_refused_before_training():
    train, late = [series(*range(8))], series(*range(8), begin=2, name="t")
    task = fitted(train)
    task.check({"train": train, "test": [series(*range(8), begin=6), late]})
    for found, problem in {
        "valid: no series of it has values in the training split": [late],
        "valid: task.context=2 and .* longest series has 1; a smaller task.horizon": [series(*range(8), begin=7), late],
        "valid: all values of a are missing": [series(*range(6), NAN, NAN, begin=6)],
    }.items():
        with pytest.raises(UserError, match=found):
            task.check({"train": train, "valid": problem})


def new_model(task: Any) -> Any:
    parts = Assembly(tiny.config("forecasting"))
    parts.task = task
    return parts.model.eval()


def test_large_values_keep_the_digits_that_their_changes_have():
    task = fitted([series(*(1.7e9 + np.arange(40) % 7))])
    model = new_model(task)
    (answer,) = task.predict(model, ["1700000003.25 1700000004.25"], None)
    assert all(abs(value - 1700000004.25) < 9 and value != round(value, 1) for value in answer["output"])
    assert all(value == round(value, 6) for value in answer["output"])


def test_windows_do_not_cross_from_one_series_to_the_next():
    records = [series(1, 2, 3, 4), series(10, 20, 30, 40, 50, name="t")]
    context, target = fitted(records).examples(records).cut(np.arange(3))
    assert context[..., 0].tolist() == [[1, 2], [10, 20], [20, 30]]
    assert target[..., 0].tolist() == [[3, 4], [30, 40], [40, 50]]


@pytest.mark.parametrize(
    ("rows", "begin", "told"),
    [
        (3, 0, r"need 4 steps; the longest series of a split has 3; task\.context=1 fits"),
        (2, 0, r"need 4 steps; the longest series of a split has 2; task\.horizon has to be below 2"),
        (6, 5, r"need 4 steps, the last 2 of them in one split, of which the longest series has 1"),
    ],
)
def test_too_short_a_series_is_told(rows: int, begin: int, told: str):
    with pytest.raises(UserError, match=rf"task\.context=2 and task\.horizon=2 {told}"):
        fitted([series(1, 2, 3, 4)]).examples([series(*range(rows), begin=begin)])


@pytest.mark.parametrize("segment", [1, 2])
@pytest.mark.parametrize(("loss", "total"), [("mae", 0.5 + 3), ("mse", 0.25 + 9), ("huber", 0.125 + 2.5)])
def test_a_missing_target_is_left_out_of_sum_count_and_gradient(loss: str, total: float, segment: int):
    task = fitted([series(0, 1, 2, 4, 8, 16)], loss=loss, segment=segment)
    batch = task.examples([series(0, 1, NAN, 4, 8, NAN, 1)]).batch(np.arange(1, 3))  # targets: 4 8, 8 nan
    target = batch.real(batch.target)
    assert target.isnan().sum() == 1
    known = ~target.isnan()
    scores = torch.zeros_like(target)
    scores[known] = target[known] + torch.tensor([0.5, -3.0, 0.0])
    scores.requires_grad_()
    likelihood = task.spec.likelihood
    found = likelihood.loss(Output(scores, batch.target_lengths), batch).sum()
    count = likelihood.items(batch).sum()
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
    task, other = fitted([series(0, 1, NAN, 4, 8, 16, known=[*range(6)])]), fitted([series(5, 1, 2, 4, 8, 16)])
    other.load_state(json.loads(json.dumps(task.state())))
    assert other.spec == task.spec
    assert other.fitted == task.fitted
    older = {key: value for key, value in task.state().items() if key != "period"}  # the option said it then
    other.load_state(older)
    assert other.fitted.period == 2


def test_baselines_by_hand():
    task = fitted([series(0, 1, 2, 3, 4, 5)], period=2)
    found, period = task.baselines([], [series(0, 1, 2, 3)]), 2  # context 0 1, truth 2 3
    assert found["repeat last"]["mae"] == 1.5
    assert found[f"seasonal naive, period {period}"]["mae"] == 2
    assert found[f"seasonal naive, period {period}"]["mase"] == 1
    assert list(found) == ["repeat last", "seasonal naive, period 2", "seasonal naive with drift, period 2"]
    period = 3
    found = fitted([series(*range(9))], period=3).baselines([], [series(*range(12), begin=10)])
    assert found[f"seasonal naive, period {period}"]["mae"] == 3  # looks back beyond the context, which has 2 steps
    assert found[f"seasonal naive with drift, period {period}"]["mae"] == 0
    records = [series(*range(100, 106)), series(5, 0, 1, 2, 3, 4, name="t")]
    windows = fitted(records).examples(records)
    np.testing.assert_array_equal(windows.history(np.array([3]), 4)[0, :, 0], [NAN, NAN, 5, 0])


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
    future = histories.from_line(line, 1, 8, 4, "co2", loaded.task.fitted.layout)
    np.testing.assert_array_equal(future.values[:8, 0], [float(value) for value in HISTORY])
    (forecast,) = loaded.predict([line])
    assert len(forecast) == 4
    assert forecast == loaded.predict([",".join(HISTORY)])[0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1 2 three 4 5 6 7 8", "expected numbers, found '1 2 three.*; a table begins with date,co2"),
        ("[1, 2", "expected numbers"),
        ('[1, {"a": 2}]', "expected numbers"),
        ("[[1, 2], 3, 4, 5, 6, 7, 8, 9]", "expected numbers"),
        ("1 2 3", "3 values; the model reads the last 8"),
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
    layout = task.fitted.layout
    future = histories.from_line("[[9, 9], [1, null], [2, 3]]", 1, 2, 2, "s", layout)
    np.testing.assert_array_equal(future.values, [[1, NAN], [2, 3], [NAN, NAN], [NAN, NAN]])
    for line in ("[1, 2]", "1 2", "[[1, 2, 3], [1, 2, 3]]"):
        with pytest.raises(UserError, match=r"expected 2 value\(s\) a step: a, b"):
            histories.from_line(line, 1, 2, 2, "s", layout)
    with pytest.raises(UserError, match="none of the last 2 values of b is known"):
        histories.from_line("[[1, null], [2, null]]", 1, 2, 2, "s", layout)


@pytest.mark.parametrize("apart", [False, True])
def test_the_forecast_of_several_channels_is_in_their_order(apart: bool):
    records = [series(*[[i % 3, 1000 + i * i % 7] for i in range(20)])]
    task = fitted(records, apart=apart)
    model = new_model(task)
    lines = ["[[1, null], [2, 1003]]", "[[0, 1000], [5, 1001]]"]
    answers = [np.array(answer["output"]) for answer in task.predict(model, lines, None)]
    assert [answer.shape for answer in answers] == [(2, 2), (2, 2)]
    for answer, last in zip(answers, ([2, 1003], [5, 1001]), strict=True):
        assert (abs(answer - last) < [5, 30]).all()
    (alone,) = task.predict(model, lines[1:], None)
    np.testing.assert_allclose(alone["output"], answers[1], rtol=1e-5)


def test_a_forecast_is_that_of_evaluation(loaded: Loaded):
    """The same window through `evaluate` and through a line of text."""
    examples = loaded.task.examples(loaded.source.read("valid"))
    context, _ = examples.cut(np.array([5]))  # pyright: ignore
    with torch.inference_mode():
        scores = loaded.model(examples.batch(np.array([5]))).scores
    expected = examples.restore(scores, np.array([5]))[0, :, 0]  # pyright: ignore
    line = " ".join(map(repr, context[0, :, 0].tolist()))
    np.testing.assert_allclose(loaded.predict([line])[0], expected, atol=1e-4)


# ---------------------------------------------------------------------------------------------------- tables


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    place = tmp_path_factory.mktemp("runs") / "run"
    tiny.train(place, "forecasting", {"data": "series"}, data__targets=["sales"], data__past=["visitors"])
    return seqtrain.load(place)


def table(rows: int, ahead: int = 4, shops: tuple[str, ...] = ("north", "south"), **cells: str) -> list[str]:
    """Days of two shops, with `ahead` days whose sales are not known."""
    lines = ["date,shop,sales,visitors,holiday"]
    for i in range(rows + ahead):
        row = {"sales": str(20 + i % 3), "visitors": "40", "holiday": "0"} | cells
        row |= {} if i < rows else {"sales": "", "visitors": ""}
        lines += [f"2024-05-{i + 1:02},{shop},{row['sales']},{row['visitors']},{row['holiday']}" for shop in shops]
    return lines


def test_a_table_is_answered_by_dates_and_forecasts(shops: Loaded):
    assert shops.task.header("date,shop,sales,visitors,holiday") == "shop,date,sales,lower,upper"
    assert shops.task.header("1,2,3") is None
    answers = shops.predict(table(10), details=True)
    assert [row["output"].split(",")[:2] for row in answers] == [
        [shop, f"2024-05-{day}"] for shop in ("north", "south") for day in range(11, 15)
    ]
    assert list(answers[0]) == ["shop", "date", "sales", "lower", "upper", "output"]
    assert answers[0]["output"].split(",")[2:] == [str(answers[0][name]) for name in ("sales", "lower", "upper")]
    with_more = shops.predict(table(10)[:1] + table(12)[5:], details=True)  # only the last 8 days before the end count
    assert len(with_more) == 8


def test_a_table_is_read_as_the_training_data_was(shops: Loaded):
    """The last window of the test split, through evaluation and through a table."""
    series = shops.source.read("test")[1]
    assert isinstance(shops.task, Forecasting)
    examples = shops.task.examples([series])
    row = len(examples.ends) - 1
    with torch.inference_mode():
        scores = shops.model(examples.batch(np.array([row]))).scores
    expected = examples.restore(scores, np.array([row]))[0, :, 0]
    lines = Path(tiny.DATA["series"]["train"]).read_text().splitlines()
    rows = [line.split(",") for line in lines if ",south," in line]
    for cells in rows[-4:]:
        cells[2:4] = ["", ""]
    answers = shops.predict([lines[0], *map(",".join, rows)], details=True)
    np.testing.assert_allclose([answer["sales"] for answer in answers], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["1 2 3 4 5 6 7 8"], "needs dates, covariates or the name of a series.*the columns shop,date,sales"),
        (table(7), "input: north has 7 steps up to its last known value; the model reads the last 8"),
        (
            table(9, ahead=2),
            r"input: north: holiday is not given for 2024-05-12; add rows with it for the 4 steps",
        ),
        (table(9, shops=("nort",)), "input: nort: the model knows no such series.*north.*trained on north, south"),
        (table(9, holiday="yes"), "input, line 2: holiday is 'yes', which is not a number"),
        (["date,shop,sales,visitors"], "input: there is a header, and no row below it"),
        (["date,shop,sales,visitors", "2024-05-01,north,1,2"], "there is no column holiday; it has date, shop, sales"),
    ],
)
def test_tables_that_nothing_can_be_forecast_from(shops: Loaded, lines: list[str], problem: str):
    with pytest.raises(UserError, match=problem):
        shops.predict(lines)


def test_a_table_of_one_series_has_no_name(loaded: Loaded):
    weeks = np.datetime64("2024-01-06") + 7 * np.arange(8)
    answers = loaded.predict(["date,co2", *(f"{week},{400 + i}" for i, week in enumerate(weeks))], details=True)
    assert [answer["date"] for answer in answers] == ["2024-03-02", "2024-03-09", "2024-03-16", "2024-03-23"]
    (line,) = loaded.predict([" ".join(str(400 + i) for i in range(8))], details=True)
    for column, name in {"co2": "output", "lower": "lower", "upper": "upper"}.items():
        assert [answer[column] for answer in answers] == line[name]


def test_rdrop_is_refused_before_data_are_read(tmp_path: Path):
    with pytest.raises(UserError, match=r"trainer\.rdrop=0\.5 compares probabilities of classes.*trainer\.rdrop=0"):
        tiny.train(tmp_path / "run", "forecasting", {"data": "series"}, trainer__rdrop=0.5, data__train="nowhere.csv")


# ---------------------------------------------------------------------------------------------------- likelihoods


def test_raw_values_for_a_likelihood_of_counts():
    task = fitted([series(0, 1, NAN, 4, 8, 16)], normalize="none")
    examples = task.examples([series(0, 1, NAN, 4, 8, 16)])
    batch = examples.batch(np.array([1]))
    assert batch.source is not None
    assert batch.source[0, :, 0].tolist() == [1, 1]
    assert batch.target[0, :, 0].tolist() == [4, 8]
    assert examples.restore(batch.target[0], np.array([1]))[0, :, 0].tolist() == [4, 8]


@pytest.mark.parametrize("likelihood", ["quantiles", "student_t"])
def test_a_forecast_with_uncertainty_has_the_best_guess_as_its_point(likelihood: str, tmp_path: Path):
    cfg = tiny.config("forecasting", {"likelihood": likelihood})
    trainer, job, records = tiny.job(cfg)
    for _ in range(30):
        trainer.update(job, [next(job.train.epoch())])
    model, task = job.model.eval(), job.task
    assert task.spec.likelihood.size in (5, 3)
    (answer,) = task.predict(model, ["1 2 3 4 5 6 7 8"], None)
    assert len(answer["output"]) == 4
    examples, rows = task.examples(records["valid"]), np.arange(2)
    with torch.inference_mode():
        scores = model(examples.batch(rows)).scores
    best = scores[:, 0] if likelihood == "student_t" else scores.sort(-1).values[:, 2]
    expected = examples.restore(best[:, None], rows)
    np.testing.assert_allclose(task.run(model, examples, rows)["prediction"], expected, rtol=1e-6)  # pyright: ignore
    totals = evaluate(model, task, job.valid, job.decoder, job.device)
    assert np.isfinite(task.score(totals)["mae"])
    assert task.predictions(model, job.valid.examples, totals, None)


@pytest.mark.parametrize("likelihood", ["point", "quantiles", "student_t"])
@pytest.mark.parametrize("apart", [False, True])
def test_intervals_are_learned_from_the_validation_split(likelihood: str, apart: bool):
    """Each value of the horizon has an interval of its own, which covers what it says where it was learned."""
    random = np.random.default_rng(0)
    records = [series(*(random.normal(size=(600, 2)) * [1, 50]).tolist(), begin=0)]
    task = fitted(records, apart=apart, interval=0.8, normalize="series")
    task.spec = task.spec._replace(likelihood=LIKELIHOODS[likelihood](task.spec.likelihood.outputs))
    scores = torch.linspace(-1, 1, task.spec.likelihood.size)

    def model(batch: Any) -> Output:
        return Output(scores.expand(batch.target.shape[:2].numel(), -1), batch.target_lengths)

    model.parameters = lambda: iter([scores])  # pyright: ignore[reportFunctionMemberAccess]
    examples = task.examples(records)
    assert set(task.run(model, examples, np.arange(3))) == {"prediction"}
    learned = json.loads(json.dumps(task.calibrate(model, examples, {})))
    task.load_calibration(learned)
    assert task.calibrate(model, examples, {}) == learned
    task.load_calibration(learned)
    rows = np.arange(len(examples.ends))
    made, true = task.run(model, examples, rows), examples.cut(rows)[1]
    inside = (made["lower"] <= true) & (true <= made["upper"])
    assert 0.79 < inside.mean() < 0.82
    batch = examples.batch(rows)
    totals = task.measure(model, rows, batch, model(batch), examples, None)
    found = task.score(totals | {"rows": rows.tolist()})
    assert found["coverage"] == pytest.approx(inside.mean())
    assert found["width"] == pytest.approx((made["upper"] - made["lower"]).mean())
    assert found["crps"] < found["mae"]
    task.load_calibration({})
    assert set(task.run(model, examples, rows[:1])) == {"prediction"}


LIKELIHOODS = {"point": Point, "quantiles": Quantiles, "student_t": StudentT}


def test_a_calibration_of_somebody_else_is_refused():
    task = fitted([series(*range(12))])
    for learned in ({"corrections": [[[1.0]]]}, {"corrections": "x"}, {"other": 1}):
        with pytest.raises((ValueError, KeyError)):
            task.load_calibration(learned)
    with pytest.raises(ValueError, match="expected"):
        task.load_calibration({"corrections": np.full((19, 2, 1), math.nan).tolist()})


def test_naive_intervals_follow_from_the_steps_before_the_split():
    random = np.random.default_rng(0)
    records = [series(*random.normal(size=1000).tolist(), begin=500)]
    task = fitted([records[0].cut(0, 500)])
    for name, found in task.baselines([], records).items():
        assert 0.85 < found["coverage"] < 0.94, name
        assert found["width"] == pytest.approx(2 * 1.645 * found["rmse"], rel=0.15)
    assert "coverage" not in task.baselines([], [records[0].cut(0, 500)])["repeat last"]  # nothing before


def test_intervals_are_kept_in_the_run_and_answer_every_input(loaded: Loaded):
    (found,) = loaded.predict(["1 2 3 4 5 6 7 8"], details=True)
    assert all(low <= high for low, high in zip(found["lower"], found["upper"], strict=True))
    scores = json.loads((loaded.run / "metrics.json").read_text())
    assert scores["test"] == pytest.approx(loaded.evaluate("test"))
    for metrics in (scores["test"], *scores["baselines"].values()):
        assert metrics.keys() >= {"crps", "pinball", "coverage", "width"}
    header, row, *_ = (loaded.run / "predictions.csv").read_text().splitlines()
    assert header == "column,origin,date,target,prediction,lower,upper"
    assert len(row.split(",")) == 7


def test_a_backtest_scores_each_origin_by_itself(shops: Loaded):
    """A horizon apart; forecasts of all series that begin at a date count together."""
    task, windows = shops.task, shops.task.examples(shops.records["test"])
    found = task.backtest(windows, shops.totals("test"))  # pyright: ignore[reportAttributeAccessIssue]
    frame, rows = task.frame, np.arange(len(windows.ends))  # pyright: ignore[reportAttributeAccessIssue]
    firsts = np.array([windows.times(row)[frame.context] for row in rows.tolist()])
    assert [row["origin"] for row in found] == sorted({*firsts[windows.apart_in_time()]})
    assert {int((b["origin"] - a["origin"]) / np.timedelta64(1, "D")) for a, b in pairwise(found)} == {frame.horizon}
    for row in found:
        some = rows[firsts == row["origin"]]
        assert len(some) == 2
        errors = task.run(shops.model, windows, some)["prediction"] - windows.cut(some)[1]  # pyright: ignore
        assert row["mae"] == pytest.approx(np.nanmean(np.abs(errors)), rel=1e-4)
        naive = list(task.naive(windows, some).values())[1] - windows.cut(some)[1]  # pyright: ignore
        assert row["mae_seasonal_naive"] == pytest.approx(np.nanmean(np.abs(naive)))
    header, *lines = (shops.run / "backtest.csv").read_text().splitlines()
    assert header.startswith("origin,mae,")
    assert len(lines) == len(found)
