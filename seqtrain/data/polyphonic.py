"""Piano rolls of chorales by J. S. Bach and of British folk tunes (Boulanger-Lewandowski et al. 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from seqtrain.data.kinds import Piece, Roll, check_split
from seqtrain.reading.matlab import read_matlab
from seqtrain.storage.downloads import fetch


class Polyphonic:
    """A `Piece` for each of the set, in its own splits, as Bai et al. 2018 (arXiv:1803.01271) read them: 88 keys, a
    frame for each step of the set."""

    kind = "music"
    file: ClassVar[str]
    steps: ClassVar[int]
    tempo: ClassVar[float]

    def read(self, split: str) -> Sequence[Piece]:
        check_split(split)
        rolls = read_matlab(fetch(f"polyphonic/{self.file}.mat").read_bytes())[f"{split}data"]
        return [
            Piece(f"{self.file} {split} {i}", Roll(frames.astype(np.int8), self.steps, self.tempo))
            for i, frames in enumerate(rolls, 1)
        ]


class JsbChorales(Polyphonic):
    """382 chorales, a frame a quarter note."""

    file, steps, tempo = "JSB_Chorales", 1, 80.0


class Nottingham(Polyphonic):
    """1,037 tunes with chords, two frames a quarter note."""

    file, steps, tempo = "Nottingham", 2, 120.0
