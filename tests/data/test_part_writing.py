import numpy as np
import pytest

from seqtrain.data.part_writing import CHORDS, RANGES, Area, PartWriting, chords, odds, voicings


@pytest.fixture(scope="module")
def data() -> PartWriting:
    return PartWriting(size=60, valid_size=20, test_size=20, seed=1)


def test_no_piece_is_in_two_splits_whatever_its_key(data: PartWriting):
    seen: set[bytes] = set()
    for split in ("train", "valid", "test"):
        for piece in data.read(split):
            used = piece.roll.frames.any(0).argmax()
            moved = np.roll(piece.roll.frames, -used, 1).tobytes()
            assert moved not in seen
            seen.add(moved)
    assert len(seen) == 100


def test_four_voices_sound(data: PartWriting):
    sounding = np.concatenate([piece.roll.frames.sum(1) for piece in data.read("train")])
    assert (sounding == 4).mean() > 0.99  # two voices meet in a passing note now and then
    assert sounding.min() >= 3


def test_the_same_seed_composes_the_same(data: PartWriting):
    again, other = PartWriting(60, 20, 20, 1), PartWriting(60, 20, 20, 2)
    frames = [[piece.roll.frames.tobytes() for piece in some.read("valid")] for some in (data, again, other)]
    assert frames[0] == frames[1]
    assert not set(frames[0]) & set(frames[2])
    assert frames[0] == [p.roll.frames.tobytes() for p in PartWriting(6, 20, 2, 1).read("valid")]


@pytest.mark.parametrize("mode", CHORDS)
def test_what_may_follow_is_a_chord_and_every_chord_can_be_voiced(mode: str):
    area = Area(mode, 7)
    for name, chord in chords(mode).items():
        assert set(chord.next) <= chords(mode).keys()
        assert chord.next
        assert len(voicings(area, name)) >= 3
        for voicing in voicings(area, name):
            assert all(low <= note <= high for note, (low, high) in zip(voicing, RANGES, strict=True))
            assert voicing[0] % 12 == (chord.pitches[0] + 7) % 12
            assert {note % 12 for note in voicing} == {(pitch + 7) % 12 for pitch in chord.pitches}


def parallel(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two voices go from a fifth or an octave to another."""
    pairs = [(low, high) for low in range(4) for high in range(low + 1, 4)]
    return any(
        a[i] != b[i] and (a[j] - a[i]) % 12 == (b[j] - b[i]) % 12 and (a[j] - a[i]) % 12 in (0, 7) for i, j in pairs
    )


def test_no_parallels_and_the_leading_tone_rises_where_there_is_such_a_way():
    before, after = (Area("major", 0), "V"), (Area("major", 0), "I")
    shares, ways = np.diff(np.array(odds(before, after)), axis=1, prepend=0), 0
    assert shares.sum(1) == pytest.approx(1)
    for row, a in zip(shares, voicings(*before), strict=True):
        leading = [note % 12 for note in a].index(11)
        good = [not parallel(a, b) and b[leading] == a[leading] + 1 for b in voicings(*after)]
        if any(good):
            ways += 1
            assert row[good].sum() > 0.9, a
    assert ways >= 5
