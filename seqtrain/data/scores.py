"""The user's own music: MIDI and ABC files."""

from __future__ import annotations

import numpy as np

from seqtrain.data.kinds import Piece, Source
from seqtrain.reading.folders import find_files
from seqtrain.reading.scores import ABC, MIDI, read_rolls, split


class Scores(Source[Piece]):
    """A `Piece` for each MIDI file and each tune of an ABC file; one in another key is a copy. Drums, and notes that no
    piano has, are left out."""

    kind = "music"

    def __init__(
        self,
        train: str | list[str],
        valid: str | list[str] | None,
        test: str | list[str] | None,
        steps: int,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        places = {"train": train, "valid": valid, "test": test}
        files = {name: place and find_files(place, f"data.{name}", (*MIDI, *ABC)) for name, place in places.items()}

        def read(name: str, setting: str) -> list[Piece]:
            return [Piece(name, roll) for roll in read_rolls(name, setting, steps)]

        self.splits = split(read, content, files, {"valid": valid_share, "test": test_share}, seed)


def content(piece: Piece) -> bytes:
    """Equal for a piece and a copy in another key."""
    frames = piece.roll.frames
    return np.roll(frames, -int(frames.any(0).argmax()), axis=1).tobytes()
