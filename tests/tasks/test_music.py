from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import seqtrain
from seqtrain.codecs.roll import KEYS
from seqtrain.commands.inputs import open_inputs
from seqtrain.commands.loaded import Loaded
from seqtrain.commands.outputs import open_writer
from seqtrain.config import UserError
from seqtrain.contract import Output
from seqtrain.data.kinds import Piece, Roll
from seqtrain.reading.midi import read_midi
from seqtrain.tasks.music import Music


@pytest.fixture(autouse=True, scope="module")
def no_figures():
    with tiny.no_figures():
        yield


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    place = tmp_path_factory.mktemp("runs") / "run"
    found = tiny.train(place, "music")
    assert {"loss", "frame_accuracy"} <= found["test"].keys()
    return seqtrain.load(place)


def piece(*keys: int) -> Piece:
    frames = np.zeros((len(keys), KEYS), np.int8)
    frames[np.arange(len(keys)), keys] = 1
    return Piece("a piece", Roll(frames, 2, 120.0))


def fitted(*pieces: Piece) -> Music:
    task = Music(0, 100, "loss")
    task.fit(pieces)
    return task


def test_the_first_frame_of_a_piece_counts_for_nothing():
    pieces = [piece(1, 2, 3), piece(4, 5)]
    task = fitted(*pieces)
    batch = task.examples(pieces).batch(np.array([0, 1]))
    scores = torch.zeros(5, task.spec.likelihood.size)
    scores[:, 2] = 3.0  # the second frame of the first piece is right, the others are not
    totals = task.measure(None, np.arange(2), batch, Output(scores, torch.tensor([3, 2])), None, None)
    found = task.score(totals)
    wrong, right, rest = np.log1p(np.exp(3.0)), np.log1p(np.exp(-3.0)), np.log(2)
    by_hand = [right + 87 * rest, wrong + 87 * rest, wrong + 87 * rest]
    assert found["loss"] == pytest.approx(np.mean(by_hand), rel=1e-6)
    assert found["frame_accuracy"] == pytest.approx(1 / 5)  # three notes predicted, three true, one of them both


def test_baselines_of_a_piece_that_training_has_seen():
    pieces = [piece(*[1, 2, 3, 4] * 5)]
    found = fitted(*pieces).baselines(pieces, pieces)
    assert found["frame repeated"]["frame_accuracy"] == 0
    assert found["frame 5-gram"]["frame_accuracy"] == 1
    assert found["frame 5-gram"]["loss"] < found["frame repeated"]["loss"]


def test_prompts_are_continued(loaded: Loaded):
    lines = ["C4+E4 C4+F4", "", "A3 . C8", "C4+E4 C4+F4"]
    answers = loaded.predict(lines)
    for line, answer in zip(lines, answers, strict=True):
        assert answer.startswith(line)
        assert len(answer.split()) == len(line.split()) + 6  # decode.length
    with pytest.raises(UserError, match="line 2: 'H4' is no key"):
        loaded.predict(["C4", "H4"])


def test_overfits_one_batch(tmp_path: Path):
    changes: dict[str, Any] = {"trainer__max_steps": 240, "trainer__eval_every": 240, "model__hidden_size": 64}
    found = tiny.train(
        tmp_path / "run",
        "music",
        {"schedule": "constant"},
        trainer__overfit_batches=1,
        trainer__batch_size=2,
        task__transpose=0,
        model__embedding_size=32,
        optimizer__lr=0.01,
        **changes,
    )
    assert found["valid"]["loss"] < 0.5
    assert found["valid"]["frame_accuracy"] > 0.95


def test_a_sample_becomes_a_file_that_goes_on_as_a_prompt(loaded: Loaded, tmp_path: Path):
    text = "C4+E4 C4+F4 . A3"
    place = tmp_path / "phrase.mid"
    place.write_bytes(loaded.task.files[".mid"](text))
    assert loaded.task.files[".wav"](text)[:4] == b"RIFF"
    assert loaded.predict(str(place)).startswith(text)
    (tmp_path / "empty.mid").write_bytes(b"")
    with pytest.raises(UserError, match=r"line 2: .*empty\.mid: it is empty"):
        loaded.predict([text, str(tmp_path / "empty.mid")])


def test_answers_are_written_into_a_file_each(loaded: Loaded, tmp_path: Path):
    text = tmp_path / "lines"
    text.write_text("C4\nA3\n")
    cfg = loaded.cfg | {"input": str(text), "output": str(tmp_path / "piece.mid"), "device": {"name": "cpu"}}
    cfg |= {"input_format": None, "format": None, "column": None, "encoding": None, "overwrite": False}
    inputs = open_inputs(cfg, loaded.task.field, loaded.task.prompted)
    with open_writer(cfg, inputs, (), None, loaded.task.files) as writer:
        for block in inputs.blocks:
            answers = loaded.answers(block.texts)
            writer.write(block.rows, answers)
    names = [tmp_path / "piece.mid", tmp_path / "piece-2.mid"]
    assert all(read_midi(name.read_bytes()).notes for name in names)
    with (
        open_writer(cfg, inputs, (), None, loaded.task.files) as writer,
        pytest.raises(UserError, match=r"piece\.mid: the file is there already; overwrite=true"),
    ):
        writer.write([{}], answers)
    (block,) = open_inputs(cfg | {"input": str(names[0])}, "roll", loaded.task.prompted).blocks
    assert block.texts == [str(names[0])]
