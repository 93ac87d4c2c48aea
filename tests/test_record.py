import logging
from pathlib import Path

import numpy as np
import pytest
import tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqtrain import plots, run
from seqtrain.record import Recorder, bar, flat, line


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def steps(events: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in events.Scalars(tag)]


def test_metrics_in_a_line():
    assert line({"loss": 1.23456, "mae": 0.01234567, "bleu": 98.7654, "zero": 0.0}) == (
        "loss 1.235  mae 0.0123  bleu 98.765  zero 0"
    )


def test_nobody_watching_means_no_bar(capfd: pytest.CaptureFixture[str]):
    with bar(3, "step", "train") as shown:
        shown.update()
    assert capfd.readouterr() == ("", "")


def test_nested_settings_by_dotted_names():
    assert flat({"a": 1, "b": {"c": None, "d": {"e": [2]}}}) == {"a": 1, "b.c": None, "b.d.e": [2]}


def test_what_a_resumed_run_repeats_stands_once(tmp_path: Path):
    first = Recorder(tmp_path, 0)
    for step in range(1, 6):
        first.scalars(step, {"loss": float(step)}, "train")
    first.close()
    second = Recorder(tmp_path, 3)  # the checkpoint was of step 3: steps 4 and 5 come again
    for step in range(4, 8):
        second.scalars(step, {"loss": 10.0 * step}, "train")
    second.close()
    found = [(event.step, event.value) for event in read(tmp_path).Scalars("train/loss")]
    assert found == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0), (6, 60.0), (7, 70.0)]


def test_figures_and_texts_are_shown_and_kept_on_request(tmp_path: Path):
    recorder = Recorder(tmp_path, 0)
    figure = plots.attention(["a", " ", "\u0e01"], ["b"], np.full((1, 3), 1 / 3))  # a glyph that the font lacks
    recorder.show(2, {"attention 1": figure, "samples": "*text*"}, keep=True)
    recorder.show(3, {"attention 2": figure})
    recorder.close()
    events = read(tmp_path)
    assert sorted(events.Tags()["images"]) == ["attention 1", "attention 2"]
    (text,) = events.Tensors("samples/text_summary")
    assert (text.step, text.tensor_proto.string_val[0]) == (2, b"*text*")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["attention-1.png"]
    assert (tmp_path / "figures" / "attention-1.png").read_bytes().startswith(b"\x89PNG")


def test_a_forecast_with_gaps_and_a_confusion_matrix_can_be_drawn(tmp_path: Path):
    context, truth = np.array([1.0, np.nan, 3.0]), np.array([np.nan, 2.0])
    figure = plots.forecast(context, truth, {"model": np.array([1.0, 2.0])}, "co2")
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels[:3] == ["context", "truth", "model"]
    matrix = plots.confusion(np.array([[3, 1], [0, 0]]), ["x", "y"])
    assert [text.get_text() for text in matrix.axes[0].texts] == ["3", "1", "0", "0"]
    recorder = Recorder(tmp_path, 0)
    recorder.show(1, {"forecast": figure, "confusion matrix": matrix})
    recorder.close()


@pytest.mark.parametrize(
    ("task", "images"),
    [("translation", "attention 1"), ("sentiment", "confusion matrix"), ("forecasting", "forecast 2")],
)
def test_a_run_leaves_scalars_texts_figures_and_its_settings_in_one_folder(
    task: str, images: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    found = tiny.train(tmp_path / "run", task, trainer__max_steps=2, trainer__eval_every=2)
    assert {path.name for path in (tmp_path / "run").iterdir() if path.is_dir()} == {"checkpoints", "figures"}
    events = read(tmp_path / "run")
    tags = events.Tags()
    assert steps(events, "train/loss") == steps(events, "train/learning_rate") == [1, 2]
    assert steps(events, "speed/items_per_s") == steps(events, "speed/padding_share") == [1, 2]
    for name, value in found["valid"].items():
        (event,) = events.Scalars(f"valid/{name}")
        assert event.step == 2
        if task != "translation":  # whose final score is that of a beam
            assert event.value == pytest.approx(value)
    for name, value in found["test"].items():
        assert events.Scalars(f"final/test_{name}")[0].value == pytest.approx(value)
    assert {f"valid/{images}", f"test/{images}"} <= set(tags["images"])
    assert (tmp_path / "run" / "figures" / f"test-{images.replace(' ', '-')}.png").exists()
    assert b"_target_" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    assert any("hparams" in name for name in events.summary_metadata)
    told = caplog.text
    for name in found["baselines"]:
        assert f"(baseline, {name}: " in told


def test_an_interrupted_and_resumed_run_has_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Even where the process is killed between two checkpoints: what came after the last is written anew."""
    settings = {"trainer__max_steps": 9, "trainer__eval_every": 5, "trainer__save_every": 2}
    cfg = tiny.start(tmp_path / "run", "sentiment", **settings)
    update = run.Trainer.update

    def die(trainer: run.Trainer, job: run.Job, group: list) -> tuple:
        if job.progress.step == 7:
            raise ZeroDivisionError
        return update(trainer, job, group)

    with tiny.no_figures():
        with monkeypatch.context() as context:
            context.setattr(run.Trainer, "update", die)
            with pytest.raises(ZeroDivisionError):
                run.train(cfg, tmp_path / "run")
        assert steps(read(tmp_path / "run"), "train/loss") == [1, 2, 3, 4, 5, 6, 7]
        run.train(cfg, tmp_path / "run", resume=True)
    events = read(tmp_path / "run")
    assert steps(events, "train/loss") == list(range(1, 10))
    assert steps(events, "valid/accuracy") == [5, 9]
