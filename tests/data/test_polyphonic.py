"""The public piano rolls, where they lie in $SEQTRAIN_DATA."""

import os

import pytest

from seqtrain.data.nottingham_abc import NottinghamAbc, variants
from seqtrain.data.polyphonic import JsbChorales, Nottingham, Polyphonic

PLACE = os.environ.get("SEQTRAIN_DATA")
there = pytest.mark.skipif(PLACE is None, reason="SEQTRAIN_DATA is not set: the public files are not here")


@there
@pytest.mark.parametrize(
    ("data", "pieces", "frames"),
    [
        (JsbChorales(), (229, 76, 77), (13_807, 4_602, 4_725)),
        (Nottingham(), (694, 173, 170), (176_561, 45_513, 44_463)),
    ],
)
def test_splits_as_published(data: Polyphonic, pieces: tuple[int, ...], frames: tuple[int, ...]):
    splits = [data.read(split) for split in ("train", "valid", "test")]
    assert tuple(map(len, splits)) == pieces
    assert tuple(sum(len(piece.roll.frames) for piece in split) for split in splits) == frames
    assert {piece.roll.frames.shape[1] for piece in splits[2]} == {88}


@there
def test_tunes_in_abc():
    data = NottinghamAbc(seed=0)
    texts = [[tune.text for tune in data.read(split)] for split in ("train", "valid", "test")]
    assert sum(map(len, texts)) == 1_034
    assert sum(len(text) + 1 for part in texts for text in part) == 363_159
    assert all(100 <= len(part) <= 115 for part in texts[1:])
    assert not set(texts[0]) & set(texts[1] + texts[2])


def test_variants_of_a_tune_are_found_through_others():
    one, two, three = ({(i,) for i in range(begin, begin + 10)} for begin in (0, 5, 10))
    assert variants([one, {(99,)}, three, two, set()]) == [3, 1, 3, 3, 4]
