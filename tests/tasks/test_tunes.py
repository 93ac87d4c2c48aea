from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

import seqtrain
from seqtrain.config import UserError
from seqtrain.data.kinds import Document
from seqtrain.reading.midi import read_midi
from seqtrain.tasks.tunes import Tunes, heard

TUNE = "M:4/4\nL:1/8\nK:G\nG2AB c4|d8|]\n"


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    with tiny.no_figures():
        yield


def fitted() -> Tunes:
    options = {"unit": "char", "lowercase": False, "nfc": False, "min_count": 1, "vocab_size": 300}
    task = Tunes(options, 16, True, "bits_per_char")
    task.fit([Document(TUNE)])
    return task


def test_the_share_of_samples_that_parse_and_are_new():
    rows = [{"prediction": text} for text in (TUNE.strip(), TUNE + "A2", "G2AB", "K:G\nG $")]
    assert fitted().judge([Document(TUNE)], rows) == {"parses": 0.5, "novel_samples": 0.75}


def test_a_tune_becomes_a_file_that_has_its_notes():
    files, music = fitted().files, heard(TUNE)
    assert music is not None
    assert read_midi(files[".mid"](TUNE)).notes == music.notes
    assert files[".wav"](TUNE)[:4] == b"RIFF"
    with pytest.raises(UserError, match="no tune that can be played"):
        files[".wav"]("G $")


def test_trains_and_continues(tmp_path: Path):
    found = tiny.train(tmp_path / "run", "tunes", {"data": "abc"})
    assert {"bits_per_char", "parses", "novel_samples"} <= found["test"].keys()
    assert seqtrain.load(tmp_path / "run").predict("K:G\nG").startswith("K:G\nG")
