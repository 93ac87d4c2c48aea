"""seqtrain.train: a training as a function."""

import logging
from pathlib import Path

import pytest
import tiny

import seqtrain
from seqtrain.config import UserError

WORDS = "data.size=24 data.valid_size=9 data.test_size=7 model.hidden_size=8 model.embedding_size=8 trainer.max_steps=2"


def test_a_function_trains_as_the_command_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    handlers = list(logging.getLogger().handlers)
    with tiny.no_figures():
        trained = seqtrain.train(f"{WORDS} device=cpu", tmp_path / "run")
    assert "to use it: seqtrain mode=predict" in capsys.readouterr().out
    assert logging.getLogger().handlers == handlers
    assert trained.predict("3 May 2021") == seqtrain.load(tmp_path / "run").predict("3 May 2021")
    assert {"metrics.json", "train.log"} <= {file.name for file in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("trainer.bach_size=3", "did you mean trainer.batch_size?"),
        (["mode=inspect"], "begins a new training"),
        ("model.hidden_size=8,16", "several values|8,16"),
    ],
)
def test_what_the_command_refuses_raises(words: str | list[str], problem: str, tmp_path: Path):
    with pytest.raises(UserError, match=problem):
        seqtrain.train(words, tmp_path / "run")
    assert not (tmp_path / "run").exists()
