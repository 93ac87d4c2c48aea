import random
from pathlib import Path

import numpy as np
import pytest

from seqtrain.codecs.roll import KEYS
from seqtrain.config import UserError
from seqtrain.data.abc import Abc
from seqtrain.data.scores import Scores
from seqtrain.reading.midi import Music, Note, write_midi
from seqtrain.reading.scores import to_notes, to_roll

OWN = Path(__file__).parents[1] / "data" / "own"
SHARES = {"valid": None, "test": None, "valid_share": 0.1, "test_share": 0.2, "seed": 1}


def test_notes_as_frames_and_back():
    notes = [Note(2.0, 3.0, 60), Note(2.0, 4.0, 36), Note(3.5, 3.6, 108), Note(4.0, 5.0, 20)]
    roll = to_roll(Music(notes, 100.0), steps=4)
    assert roll.frames.shape == (8, KEYS)  # from the first note on; the last one is on no piano
    assert roll.frames[:, 60 - 21].tolist() == [1] * 4 + [0] * 4
    assert to_notes(roll.frames, 4) == [Note(0.0, 1.0, 60), Note(0.0, 2.0, 36), Note(1.5, 1.75, 108)]
    assert to_notes(np.zeros((3, KEYS)), 4) == []


def test_a_folder_of_midi_files_and_one_of_tunes():
    data = Scores(str(OWN / "scores"), steps=2, **SHARES)
    assert [len(data.read(split)) for split in ("train", "valid", "test")] == [9, 1, 2]
    assert {piece.roll.steps for piece in data.read("train")} == {2}
    assert {100 <= piece.roll.tempo <= 111 for piece in data.read("train")} == {True}
    as_rolls, as_texts = Scores(str(OWN / "tunes.abc"), steps=2, **SHARES), Abc(str(OWN / "tunes.abc"), **SHARES)
    assert len(as_rolls.read("train")) == len(as_texts.read("train")) == 10
    assert as_texts.read("test")[0].text.startswith("M:4/4\nL:1/8\nK:")
    assert "T:" not in as_texts.read("test")[0].text


def test_a_copy_in_another_key_is_in_the_same_split(tmp_path: Path):
    for i in range(120):
        draw = random.Random(i // 2)
        notes = [Note(n, n + 1, 60 + i % 2 + draw.randrange(12)) for n in range(6)]
        (tmp_path / f"{i:03}.mid").write_bytes(write_midi(notes, 120.0))
    data = Scores(str(tmp_path), steps=1, **(SHARES | {"valid_share": 0.2}))
    for split, size in (("train", 72), ("valid", 24), ("test", 24)):
        names = [int(Path(piece.name).stem) // 2 for piece in data.read(split)]
        assert len(names) == size
        assert {names.count(name) for name in names} == {2}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.mid", b"", r"all files are empty"),
        (
            "cut.mid",
            write_midi([Note(0, 1, 60)], 120)[:-6],
            r"cut\.mid: it is cut off.*; mend the file, or leave it out",
        ),
        ("drums.mid", write_midi([], 120), r"drums\.mid: there are no notes in it; mend"),
        ("low.mid", write_midi([Note(0, 1, 5)], 120), r"low\.mid: no note of it is on a piano"),
        ("long.mid", write_midi([Note(0, 1, 60), Note(200_000, 200_001, 60)], 120), r"expected at most 200,000: cut"),
        ("song.txt", b"x", r"no \.mid file is in this folder, but 1 \.txt"),
        ("bad.abc", b"X:1\nK:C\nC $\n", r"bad\.abc: line 3: '\$' is no ABC"),
        ("bad.abc", b"X:1\nT:\xff\nK:C\nC\n", r"bad\.abc, line 2: this is not UTF-8"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(name: str, content: bytes, said: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        Scores(str(tmp_path), steps=2, **SHARES)
    assert "\n" not in str(caught.value)


def test_one_piece_is_too_few(tmp_path: Path):
    (tmp_path / "a.mid").write_bytes(write_midi([Note(0, 1, 60)], 120))
    with pytest.raises(UserError, match=r"1 different pieces are too few.*data\.valid=FILES"):
        Scores(str(tmp_path), steps=2, **SHARES)
