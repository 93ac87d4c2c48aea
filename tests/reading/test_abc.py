import pytest

from seqtrain.reading.abc import read_abc, tunes
from seqtrain.reading.midi import Note


def notes(body: str, key: str = "C", more: str = "M:4/4\nL:1/4\n") -> list[tuple[float, float, int]]:
    return [tuple(note) for note in read_abc(f"{more}K:{key}\n{body}\n").notes]


def pitches(body: str, key: str = "C") -> list[int]:
    return [pitch for _, _, pitch in notes(body, key)]


def test_pitches_by_hand():
    assert pitches("C D E c c' C,") == [60, 62, 64, 72, 84, 48]
    assert pitches("^C C|C =B _B", "C") == [61, 61, 60, 71, 70]  # an accidental holds for its bar
    assert pitches("F C f", "D") == [66, 61, 78]
    assert pitches("B E", "Bb") == pitches("B E", "Gm") == [70, 63]
    assert pitches("F B", "D dorian") == [65, 71]
    assert pitches("F|[K:G]F") == [65, 66]


def test_lengths_by_hand():
    assert notes("C2 D/ E3/2 F//") == [(0, 2, 60), (2, 2.5, 62), (2.5, 4, 64), (4, 4.25, 65)]
    assert notes("C>D E<F") == [(0, 1.5, 60), (1.5, 2, 62), (2, 2.5, 64), (2.5, 4, 65)]
    assert notes("(3CDE z F")[-1] == (3, 4, 65)
    assert notes("[CE]2 G") == [(0, 2, 60), (0, 2, 64), (2, 3, 67)]
    assert notes("C-|C D") == [(0, 2, 60), (2, 3, 62)]
    assert notes("C", more="M:2/4\n")[0] == Note(0, 0.25, 60)  # without L: a sixteenth in short metres
    assert notes("C", more="M:6/8\n")[0] == Note(0, 0.5, 60)
    assert read_abc("Q:1/8=120\nK:C\nC").tempo == 60


def test_what_is_no_note_is_read_over():
    body = '|:"Am"C ~D {cd}E !trill!F|[1 G:|[2 (A B)|] % the end'
    assert pitches(body) == [60, 62, 64, 65, 67, 69, 71]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("K:C\nC D $", r"line 2: '\$' is no ABC"),
        ("K:C\n[C D", "is no ABC"),
        ('K:C\n"Am C', "is no ABC"),
        ("M:4/4\nC D", "it has no key"),
        ("K:C\n", "there are no notes"),
        ("K:C\nC/0", "is no length"),
    ],
)
def test_what_is_no_tune(text: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        read_abc(text)


def test_the_tunes_of_a_file():
    assert tunes("X:1\r\nK:C\r\nC\r\n\r\nX:2\r\nK:D\r\nD") == ["X:1\nK:C\nC\n\n", "X:2\nK:D\nD"]
    assert tunes("K:C\nC") == ["K:C\nC"]
