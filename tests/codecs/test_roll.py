import json

import numpy as np
import pytest

from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.roll import KEYS, PianoRoll, Rolls
from seqtrain.data.kinds import Piece, Roll


def roll_of(*chords: tuple[int, ...]) -> Roll:
    frames = np.zeros((len(chords), KEYS), np.int8)
    for frame, chord in zip(frames, chords, strict=True):
        frame[list(chord)] = 1
    return Roll(frames, 2, 90.0)


def fitted(*rolls: Roll, max_length: int = 100) -> PianoRoll:
    codec = PianoRoll(max_length)
    codec.fit(rolls)
    return codec


def test_a_roll_as_text_and_back():
    roll = roll_of((39, 43), (), (0,), (87, 12))
    codec = fitted(roll)
    text = codec.decode(roll.frames)
    assert text == "C4+E4 . A0 A1+C8"  # key 39 is the middle C, MIDI number 60
    assert (codec.parse(text).frames == roll.frames).all()
    assert codec.parse("")[0].shape == (0, KEYS)
    with pytest.raises(ValueError, match=r"'H4' is no key of a piano; expected names from A0 to C8"):
        codec.parse("C4+H4")


def test_a_frame_that_no_piece_has_stands_before_the_first():
    roll = roll_of((1,), (2,), (3,))
    array = fitted(roll, max_length=2).encode(roll)
    assert array.shape == (3, KEYS)
    assert set(array[0]) == {-1}
    assert (array[1:] == roll.frames[:2]).all()
    assert fitted(roll, max_length=2).left_out(roll, len(array)) == 1


def test_what_was_fitted_comes_back():
    codec, other = fitted(roll_of((1,)), roll_of((2,))._replace(tempo=100.0)), PianoRoll(9)
    other.load_state(json.loads(json.dumps(codec.state())))
    assert (other.steps, other.tempo) == (2, 95.0)
    for state in ({"steps": 0, "tempo": 90.0}, {"steps": 2, "tempo": float("nan")}, {"steps": "2", "tempo": 90.0}):
        with pytest.raises(ValueError, match="a piano roll"):
            other.load_state(state)


def rolls(transpose: int) -> Rolls:
    made = [roll_of((3, 40), (4,), (5,)), roll_of((0, 87), (86,))]
    codec = fitted(*made)
    records = [Piece(str(i), roll) for i, roll in enumerate(made)]
    return Rolls(records, None, Ragged.of([codec.encode(roll) for roll in made]), shifted=True, transpose=transpose)


def test_a_batch_reads_what_it_is_to_write_a_frame_later():
    batch = rolls(0).batch(np.array([0, 1]), np.random.default_rng(0))
    assert batch.inputs is not None
    assert batch.inputs.dtype.is_floating_point
    assert (batch.inputs[:, 0] == -1).all()
    assert (batch.inputs[0, 1:] == batch.target[0, :-1]).all()
    assert batch.target[0].nonzero().tolist() == [[0, 3], [0, 40], [1, 4], [2, 5]]
    assert batch.target_lengths is not None
    assert batch.target_lengths.tolist() == [3, 2]


def test_pieces_are_moved_at_random_as_far_as_no_key_is_lost():
    examples, moves = rolls(5), set()
    for seed in range(40):
        batch = examples.batch(np.array([0, 1]), np.random.default_rng(seed))
        assert batch.inputs is not None
        (low, high), (later,), *_ = (frame.nonzero()[:, 0].tolist() for frame in batch.target[0])
        moves.add(low - 3)
        assert (high - low, later - low) == (37, 1)
        assert (batch.inputs[:, 0] == -1).all()
        assert (batch.inputs[:, 1:] == batch.target[:, :-1]).all()
        assert batch.target[1, 0].nonzero()[:, 0].tolist() == [0, 87]  # it has no room
    assert moves == set(range(-3, 6))
    again = [examples.batch(np.array([0]), np.random.default_rng(7)).target for _ in range(2)]
    assert (again[0] == again[1]).all()
    assert (examples.batch(np.array([0])).target[0, 0].nonzero()[:, 0]).tolist() == [3, 40]
