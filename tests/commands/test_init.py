"""A new training that begins from the weights of a run."""

import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from seqtrain import cli
from seqtrain.commands import train
from seqtrain.commands.assembly import Assembly
from seqtrain.commands.inherited import inherited
from seqtrain.commands.loaded import Loaded, load
from seqtrain.commands.origin import Origin
from seqtrain.commands.run_folder import read_config
from seqtrain.config import UserError
from seqtrain.config.sources import Configs
from seqtrain.engine.checkpoint import Checkpoints, weights_of
from seqtrain.engine.trainer import Trainer


@pytest.fixture(autouse=True)
def few_topics_and_no_figures(own_log: None) -> Iterator[None]:
    with tiny.few_topics(), tiny.no_figures():
        yield


def begun(cfg: dict[str, Any]) -> Assembly:
    """The parts of a training that has made no step yet."""
    parts = Assembly(cfg)
    parts.origin = Origin(cfg)
    parts.check()
    torch.manual_seed(cfg["seed"])
    return parts


def stored(place: Path) -> dict[str, torch.Tensor]:
    return Checkpoints(place).load_best().weights


# ---------------------------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize("task", tiny.TASKS)
def test_the_same_data_begin_with_the_same_weights_and_state(task: str, runs: dict[str, Path]):
    parts, run = begun(tiny.config(task, init=str(runs[task]))), load(runs[task])
    assert all(torch.equal(weight, stored(runs[task])[name]) for name, weight in weights_of(parts.model).items())
    assert json.dumps(parts.task.state(), sort_keys=True) == json.dumps(run.task.state(), sort_keys=True)
    assert parts.notes[0].startswith(f"init={runs[task]}: {len(weights_of(parts.model))} of ")


def test_the_vocabulary_stays_or_is_learned_anew(runs: dict[str, Path]):
    others = {"init": str(runs["translation"]), "data": tiny.config("translation")["data"] | {"languages": ["el"]}}
    kept, run = begun(tiny.config("translation", **others)), load(runs["translation"])
    assert kept.task.spec.source.items == run.task.spec.source.items
    fresh = begun(tiny.config("translation", **others, refit=True))
    items, before = (parts.task.spec.source.items for parts in (fresh, run))
    assert "ο" in set(items) - set(before)
    table = fresh.model.encoder.embedding.map.weight
    for i, item in enumerate(items):
        if item in before:
            assert torch.equal(
                table[i], stored(runs["translation"])["encoder.embedding.map.weight"][before.index(item)]
            )
    assert re.search(r"; source: \d+ known, \d+ new \(.+\), \d+ left out \(.+\); the same target vocab", fresh.notes[0])


def test_new_labels_have_a_new_head_with_the_rows_of_those_that_are_known(tmp_path: Path, runs: dict[str, Path]):
    table = tmp_path / "own.csv"
    labels = load(runs["sentiment"]).task.spec.classes
    rows = [f"a fine film {i},{label}" for i, label in enumerate([labels[0], "mixed", "other"] * 8)]
    table.write_text("\n".join(["text,label", *rows]))
    cfg = tiny.config("sentiment", {"data": "labelled"}, init=str(runs["sentiment"]), data__train=str(table))
    parts = begun(cfg)
    assert parts.task.labels.names == sorted([labels[0], "mixed", "other"])
    assert parts.task.spec.source.items == load(runs["sentiment"]).task.spec.source.items
    place = parts.task.labels.names.index(labels[0])
    assert torch.equal(parts.model.scores.weight[place], stored(runs["sentiment"])["scores.weight"][0])
    assert "target: 1 known, 2 new (mixed, other), 1 left out" in parts.notes[0]


def test_a_series_keeps_its_scale_unless_it_is_learned_anew(runs: dict[str, Path]):
    changes = {"init": str(runs["forecasting"]), "data__valid_share": 0.5, "data__test_share": 0.3}
    fitted = load(runs["forecasting"]).task.fitted
    scales = [begun(tiny.config("forecasting", **changes, refit=refit)).task.fitted.series for refit in (False, True)]
    (series,) = fitted.series
    (channel,) = fitted.series[series]
    assert scales[0][series][channel][:3] == fitted.series[series][channel][:3]
    assert scales[1][series][channel][:3] != fitted.series[series][channel][:3]


# ---------------------------------------------------------------------------------------------------- a whole run


def test_a_run_that_began_with_init_goes_on_without_it(
    tmp_path: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    shutil.copytree(runs["sentiment"], tmp_path / "base")
    changes = tiny.HARD | {"init": str(tmp_path / "base"), "trainer__freeze": ["embedding"]}
    whole = tiny.start(tmp_path / "whole", "sentiment", {"schedule": "plateau"}, **changes)
    with caplog.at_level(logging.INFO):
        train.train(whole, tmp_path / "whole")
    assert f"init={tmp_path / 'base'}: " in caplog.text

    class Killed(Exception):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    cfg = tiny.start(tmp_path / "run", "sentiment", {"schedule": "plateau"}, **changes)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", killed)
        with pytest.raises(Killed):
            train.train(cfg, tmp_path / "run")
    shutil.rmtree(tmp_path / "base")
    config = read_config(tmp_path / "run")
    assert config["init"] == str(tmp_path / "base")  # where it came from stays in the folder
    train.train(config | {"device": cfg["device"]}, tmp_path / "run", resume=True)
    expected, found = (Checkpoints(tmp_path / name).load("last") for name in ("whole", "run"))
    assert all(torch.equal(weight, expected.weights[name]) for name, weight in found.weights.items())
    table = "encoder.embedding.map.weight"
    assert torch.equal(found.weights[table], stored(runs["sentiment"])[table])  # it was frozen
    moved = "scores.weight"
    assert not torch.equal(found.weights[moved], stored(runs["sentiment"])[moved])


def test_a_run_that_was_killed_before_its_first_checkpoint_has_to_begin_again(tmp_path: Path, runs: dict[str, Path]):
    cfg = tiny.start(tmp_path / "run", "sentiment", init=str(runs["sentiment"]))
    with pytest.raises(UserError, match="ended before its first checkpoint, and it began with init: start it again"):
        train.train(cfg, tmp_path / "run", resume=True)


# ---------------------------------------------------------------------------------------------------- settings


def test_settings_are_those_of_the_run_unless_set(runs: dict[str, Path]):
    name = f"init={runs['generation']}"
    found = inherited([name, "model.dropout=0.5", "trainer.epochs=1"], Configs(), multirun=False)
    assert {"task=generation", "model=one_to_many", "model.hidden_size=8", "task.window=16"} <= set(found)
    assert not any(line.startswith(("model.dropout", "trainer", "data", "optimizer", "decode")) for line in found)
    assert inherited(["model=seq2seq"], Configs(), multirun=False) == []
    found = inherited([f"init={runs['sentiment']}", "task=sentiment"], Configs(), multirun=False)
    assert "model.embedding_size=8" in found  # sentiment is another name of a task
    assert not any(line.startswith("task=") for line in found)
    assert "backbone.residual=false" not in found  # what is the default is not said


REFUSED = [
    ("init=rum", "there is no such folder"),
    ("init=RUN task=sentiment", "task=sentiment: the run of init is of task=translation; leave it out"),
    ("init=RUN task.tokenizer.unit=word", "task.tokenizer.unit is another than in the run of init, whose vocabulary"),
    ("init=RUN mode=inspect", "init begins a new training; with mode=inspect leave it out"),
    ("init=RUN resume=RUN", "it begins a new training, and this run is there already; leave it out"),
    ("init=RUN mode=predict checkpoint=RUN input=-", "this run is there already; leave it out"),
    ("refit=true", "refit=true goes with init=RUN"),
    ("init=RUN model.hidden_size=16", "model.hidden_size of the run is 8, here 16"),
    (
        "init=RUN trainer.freeze=[embeding]",
        "the model has no part embeding; did you mean embedding?; it has embedding,",
    ),
    ("init=RUN trainer.rates={embeding:0.1}", "trainer.rates: the model has no part embeding; did you mean embedding?"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED)
def test_a_mistake_is_told_in_a_line(
    words: str, said: str, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    line = words.replace("RUN", str(runs["translation"])).split()
    few = (
        []
        if re.search("mode|resume", words)
        else ["data.size=24", "data.valid_size=9", "data.test_size=7", "device=cpu"]
    )
    assert cli.main([*line, *few]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


# ---------------------------------------------------------------------------------------------------- a stranger's run


def config(run: Path, old: str, new: str) -> None:
    text = (run / "config.yaml").read_text()
    assert old in text
    (run / "config.yaml").write_text(text.replace(old, new, 1))


def link(run: Path) -> None:
    for place in run.glob("checkpoints/*/model.safetensors"):
        place.symlink_to(place.rename(run.parent / f"out of {place.parent.name}"))


HOSTILE = {
    "a class of another package": (
        lambda run: config(run, "seqtrain.models.many_to_one.ManyToOne", "os.system"),
        "its model is os.system, which no option is",
    ),
    "a value that is looked up": (
        lambda run: config(run, "monitor: accuracy", "monitor: ${oc.env:HOME}"),
        "expected accuracy | macro_f1 | loss",
    ),
    "a link": (link, "there is no whole checkpoint"),
    "a model of another size": (lambda run: config(run, "hidden_size: 8 ", "hidden_size: 10 "), "is of shape"),
    "a model without end": (lambda run: config(run, "hidden_size: 8 ", "hidden_size: 900000 "), "larger model than"),
    "a list of settings": (lambda run: config(run, "model:", "models:"), "the section model is missing"),
}


@pytest.mark.parametrize(("spoil", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_run_is_refused(
    spoil: Any, said: str, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs["sentiment"], tmp_path / "run")
    spoil(tmp_path / "run")
    few = ["data.size=24", "data.valid_size=9", "data.test_size=7", "device=cpu", "trainer.max_steps=1"]
    assert cli.main(["init=run", *few]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert not (tmp_path / "outputs").exists()


def test_loading_a_run_does_not_follow_what_it_began_with(tmp_path: Path, runs: dict[str, Path]):
    shutil.copytree(runs["sentiment"], tmp_path / "run")
    config(tmp_path / "run", "init: null", "init: /nowhere")
    assert isinstance(load(tmp_path / "run"), Loaded)
