import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    SESSION_START_INFO_TAG,
    parse_experiment_plugin_data,
    parse_session_start_info_plugin_data,
)

from seqtrain.commands import train
from seqtrain.config.json_values import flat
from seqtrain.engine.job import Job
from seqtrain.engine.recorder import Recorder, digits, excerpt, line
from seqtrain.engine.trainer import Trainer
from seqtrain.evaluation import plots
from seqtrain.evaluation.synthesis import Sound
from seqtrain.evaluation.tables import markdown


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def steps(events: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in events.Scalars(tag)]


def test_metrics_have_four_significant_digits():
    assert line({"loss": 1.23456, "mae": 0.01234567, "bleu": 98.7654}) == "loss 1.235  mae 0.01235  bleu 98.77"
    values = [0.0, 1.0, -0.5, 2.7e-6, 99.999, 999.96, 12345.6, 7024708322804529450499333517475840.0, float("nan")]
    expected = ["0.000", "1.000", "-0.5000", "2.700e-06", "100.0", "1000", "12346", "7.025e+33", "nan"]
    assert list(map(digits, values)) == expected


def test_an_excerpt_of_what_is_shown():
    assert excerpt("```\nHello,\n  world\n```\n\n```\nagain\n```", 2) == ["Hello,", "  world"]
    assert excerpt(markdown(("label", "sample"), [("en", "Norway"), ("de", 30 * "lang ")])) == [
        "label | sample",
        "en | Norway",
        "de | " + " ".join(19 * ["lang"]),
        " ".join(11 * ["lang"]),
    ]


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


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path):
    for value in (1.0, 2.0):
        recorder = Recorder(tmp_path, 0)
        recorder.scalars(1, {"loss": value}, "train")
        recorder.close()
    assert [event.value for event in read(tmp_path).Scalars("train/loss")] == [2.0]


def test_figures_and_texts_are_shown_and_kept_on_request(tmp_path: Path):
    recorder = Recorder(tmp_path, 0)
    figure = plots.attention(["a", " ", "\u0e01"], ["b"], np.full((1, 3), 1 / 3))
    recorder.show(2, {"attention 1": figure, "samples": "*text*"}, keep=True)
    recorder.show(3, {"attention 2": figure})
    recorder.close()
    events = read(tmp_path)
    assert sorted(events.Tags()["images"]) == ["attention 1", "attention 2"]
    (text,) = events.Tensors("samples/text_summary")
    assert (text.step, text.tensor_proto.string_val[0]) == (2, b"*text*")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["attention-1.png"]
    assert (tmp_path / "figures" / "attention-1.png").read_bytes().startswith(b"\x89PNG")


def test_hparams_begin_with_what_a_sweep_varies_and_with_the_monitor(tmp_path: Path):
    recorder = Recorder(tmp_path, 0).final()
    config = {"model": {"_target_": "a.b.Model", "size": 8, "tied": True}, "data": {"file": None}, "seed": 1}
    recorder.hparams(5, config, {"best/valid_bleu": 2.0, "best/valid_loss": 1.0}, ["model", "seed"])
    recorder.close()
    plugin = {tag: metadata.plugin_data.content for tag, metadata in read(tmp_path).summary_metadata.items()}
    experiment = parse_experiment_plugin_data(plugin[EXPERIMENT_TAG])
    columns = {column.name: column.differs for column in experiment.hparam_infos}
    assert columns == {"model": True, "model.size": False, "model.tied": False, "data.file": False, "seed": True}
    assert [metric.name.tag for metric in experiment.metric_infos] == ["best/valid_bleu", "best/valid_loss"]
    values = parse_session_start_info_plugin_data(plugin[SESSION_START_INFO_TAG]).hparams
    assert (values["model"].string_value, values["model.size"].number_value) == ("Model", 8)
    assert values["model.tied"].string_value == "True"


def test_what_a_run_ends_with_stands_once_however_often_it_goes_on(tmp_path: Path):
    first = Recorder(tmp_path, 0)
    first.scalars(5, {"loss": 1.0}, "train")
    for step, value in ((5, 2.0), (5, 3.0), (8, 4.0)):
        recorder = Recorder(tmp_path, step).final()
        recorder.hparams(step, {}, {"best/bleu": value})
        recorder.close()
    first.close()
    found = [(event.step, event.value) for event in read(tmp_path).Scalars("best/bleu")]
    assert found == [(8, 4.0)]
    assert steps(read(tmp_path), "train/loss") == [5]


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
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert steps(events, f"train/{name}") == [1, 2]
    assert all(event.value > 0 for event in events.Scalars("train/gradient_norm"))
    assert steps(events, "speed/items_per_s") == steps(events, "speed/padding_share") == [2]
    calibrated = {"ece", "ece_uncalibrated", "crps", "pinball", "coverage", "width"}  # when training has ended
    calibrated |= {"loss"} if task == "sentiment" else set()
    for name, value in found["valid"].items():
        if name in calibrated:
            continue
        (event,) = events.Scalars(f"valid/{name}")
        assert event.step == 2
        if task != "translation":  # whose final score is that of a beam
            assert event.value == pytest.approx(value)
    for name, value in found["test"].items():
        (event,) = events.Scalars(f"with_best_weights/test_{name}")
        assert (event.step, event.value) == (2, pytest.approx(value))
    assert {f"valid/{images}", f"test/{images}"} <= set(tags["images"])
    assert (tmp_path / "run" / "figures" / f"test-{images.replace(' ', '-')}.png").exists()
    assert b"_target_" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]
    assert any("hparams" in name for name in events.summary_metadata)
    told = caplog.text
    for name in found["baselines"]:
        assert f"(baseline, {name}: " in told


def test_an_interrupted_and_resumed_run_has_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Even where the process is killed between two checkpoints: what came after the last is written anew."""
    settings: dict[str, Any] = {"trainer__max_steps": 9, "trainer__eval_every": 5, "trainer__save_every": 2}
    cfg = tiny.start(tmp_path / "run", "sentiment", **settings)
    update = Trainer.update

    def die(trainer: Trainer, job: Job, group: list) -> tuple:
        if job.progress.step == 7:
            raise ZeroDivisionError
        return update(trainer, job, group)

    with tiny.no_figures():
        with monkeypatch.context() as context:
            context.setattr(Trainer, "update", die)
            with pytest.raises(ZeroDivisionError):
                train.train(cfg, tmp_path / "run")
        assert steps(read(tmp_path / "run"), "train/loss") == [1, 2, 3, 4, 5, 6, 7]
        train.train(cfg, tmp_path / "run", resume=True)
    events = read(tmp_path / "run")
    assert steps(events, "train/loss") == list(range(1, 10))
    assert steps(events, "valid/accuracy") == [5, 9]


def test_a_sound_is_kept_and_heard_in_tensorboard(tmp_path: Path):
    recorder, sound = Recorder(tmp_path, 0), Sound(np.zeros(400, np.float32), 8000, {".mid": b"MThd"})
    recorder.show(3, {"valid/sample 1": sound})
    assert not (tmp_path / "figures").exists()
    recorder.show(5, {"test/sample 1": sound}, keep=True)
    recorder.close()
    assert (tmp_path / "figures" / "test-sample-1.wav").read_bytes() == sound.wav()
    assert (tmp_path / "figures" / "test-sample-1.mid").read_bytes() == b"MThd"
    events = EventAccumulator(str(tmp_path), size_guidance={"audio": 0})
    events.Reload()
    assert sorted(events.Tags()["audio"]) == ["test/sample 1", "valid/sample 1"]
    (heard,) = events.Audio("test/sample 1")
    assert (heard.step, heard.sample_rate, heard.encoded_audio_string) == (5, 8000, sound.wav())
