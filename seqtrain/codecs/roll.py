"""Piano rolls as positions, and as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Num
from torch import Tensor

from seqtrain.codecs.encoded import Encoded
from seqtrain.config import expanded
from seqtrain.config.json_values import is_a
from seqtrain.contract import Batch, Codec, Reals
from seqtrain.data.kinds import KEYS, LOWEST, Roll
from seqtrain.reading.abc import read_abc, tunes
from seqtrain.reading.files import ending
from seqtrain.reading.midi import read_midi
from seqtrain.reading.scores import ABC, MIDI, to_roll
from seqtrain.trees import map_tensors

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
REST, JOINED = ".", "+"
BEGIN = -1  # fills the frame before a piece, which no piece has


class PianoRoll(Codec):
    """A `Roll` as frames behind one that says that a piece begins. Learns how long frames are. max_length: frames that
    are kept."""

    endings, begins = (*MIDI, *ABC), (b"MThd",)

    def __init__(self, max_length: int):
        self.max_length = max_length
        self.steps, self.tempo = 1, 120.0

    @property
    def positions(self) -> Reals:
        return Reals((KEYS,))

    def fit(self, values: Iterable[Roll]) -> None:
        tempos, steps = zip(*((roll.tempo, roll.steps) for roll in values), strict=True)
        self.steps, self.tempo = steps[0], float(np.median(tempos))

    def state(self) -> dict[str, float]:
        return {"steps": self.steps, "tempo": self.tempo}

    def load_state(self, state: Any) -> None:
        steps, tempo = state["steps"], state["tempo"]
        if not is_a(steps, int) or not is_a(tempo, float) or not 1 <= steps <= 1000 or not 1 <= tempo <= 1000:
            raise ValueError("a piano roll: expected steps and tempo from 1 to 1000")
        self.steps, self.tempo = steps, tempo

    def located(self, line: str, folder: Path) -> str:
        return str(folder / expanded(line)) if ending(line) in self.endings else line

    def load(self, line: str | bytes) -> Roll:
        """The roll of a text, or of the content of a file: MIDI, ABC, or such a text. Raises ValueError."""
        if isinstance(line, str):
            return self.parse(line)
        if line.startswith(self.begins):
            return to_roll(read_midi(line), self.steps)
        text = line.decode()
        return to_roll(read_abc(tunes(text)[0]), self.steps) if re.search("^K:", text, re.M) else self.parse(text)

    def encode(self, value: Roll) -> Int[np.ndarray, "T 88"]:
        return np.concatenate([np.full((1, KEYS), BEGIN, np.int8), value.frames[: self.max_length]])

    def decode(self, array: Num[np.ndarray, "T 88"]) -> str:
        """Frames as words: the names of the keys that sound, lowest first, joined by +; . is silence."""
        return " ".join(JOINED.join(map(name_of, np.flatnonzero(frame > 0).tolist())) or REST for frame in array)

    def parse(self, text: str) -> Roll:
        """The roll of what `decode` writes. Raises ValueError."""
        words = text.split()
        frames = np.zeros((len(words), KEYS), np.int8)
        for frame, word in zip(frames, words, strict=True):
            for name in word.split(JOINED) if word != REST else ():
                frame[key_of(name)] = 1
        return Roll(frames, self.steps, self.tempo)

    def left_out(self, value: Roll, length: int) -> int:
        return max(0, len(value.frames) - self.max_length)


def name_of(key: int) -> str:
    """The name of a key in scientific pitch notation: C4 is the middle one."""
    octave, pitch = divmod(key + LOWEST, 12)
    return f"{NAMES[pitch]}{octave - 1}"


KEY_OF = {name_of(key): key for key in range(KEYS)}


def key_of(name: str) -> int:
    if name not in KEY_OF:
        raise ValueError(f"{name[:20]!r} is no key of a piano; expected names from A0 to C8, such as C4 or F#3")
    return KEY_OF[name]


class Rolls(Encoded):
    """Pieces for a decoder that reads what it has written. transpose: semitones up or down, at most, by which each is
    moved at random in training, as far as no key is lost."""

    def __init__(self, *parts: Any, transpose: int = 0, **named: Any):
        super().__init__(*parts, **named)
        self.transpose = transpose

    def batch(self, rows: np.ndarray, random: np.random.Generator | None = None) -> Batch:
        batch = map_tensors(Tensor.float, super().batch(rows)._replace(target_lengths=None))
        assert batch.inputs is not None
        if batch.target is None or self.target is None:
            return batch
        lengths = torch.from_numpy(self.target.lengths[rows] - 1)
        if random is not None and self.transpose:
            used = (batch.target > 0).any(1).numpy()  # (B, 88)
            room = np.stack([used.argmax(1), used[:, ::-1].argmax(1)])
            down, up = np.minimum(room, self.transpose)
            shift = torch.from_numpy(random.integers(-down, up + 1))
            places = (torch.arange(KEYS) - shift[:, None]).remainder(KEYS)[:, None]  # (B, 1, 88)
            batch = map_tensors(lambda frames: frames.gather(2, places.expand_as(frames)), batch)
        return batch._replace(target_lengths=lengths)
