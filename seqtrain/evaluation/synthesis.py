"""Sounds: notes by additive synthesis, and WAV files."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seqtrain.reading.midi import Music, write_midi

RATE = 22_050  # samples a second
PARTIALS = np.array([1.0, 0.45, 0.25, 0.12, 0.07, 0.04])  # how strong the multiples of a note's frequency are
ATTACK, RELEASE = 0.01, 0.06  # seconds until a note is there, and until it is gone
LONGEST = 600.0  # seconds that are played
DECAY = 0.8  # seconds in which the fundamental falls to a third; higher partials fall faster


class Sound(NamedTuple):
    """samples: from -1 to 1. files: beside the WAV, by their endings, such as the notes as MIDI."""

    samples: Float[np.ndarray, " N"]
    rate: int
    files: dict[str, bytes]

    def wav(self) -> bytes:
        """As a WAV file: one channel, 16 bits a sample."""
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes((self.samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
        return out.getvalue()


def frequency(pitch: float) -> float:
    """Of a MIDI number, in hertz, in equal temperament."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


def play(notes: Sequence[tuple[float, float, int]], rate: int = RATE) -> Float[np.ndarray, " N"]:
    """The sound of notes (begin and end in seconds, MIDI number), as plucked strings; the loudest sample is 0.9.
    What comes after ten minutes is left out."""
    notes = [(begin, min(end, LONGEST), pitch) for begin, end, pitch in notes if begin < LONGEST]
    length = max((end for _, end, _ in notes), default=0.0) + RELEASE
    samples = np.zeros(int(length * rate) + 1)
    longest = {pitch: max(end - begin for begin, end, other in notes if other == pitch) for _, _, pitch in notes}
    strings = {pitch: string(pitch, seconds + RELEASE, rate) for pitch, seconds in longest.items()}
    for begin, end, pitch in notes:
        time = np.arange(int((end - begin + RELEASE) * rate)) / rate
        envelope = np.clip(time / ATTACK, 0, 1) * np.clip((end - begin + RELEASE - time) / RELEASE, 0, 1)
        first = int(begin * rate)
        samples[first : first + len(time)] += envelope * strings[pitch][: len(time)]
    return (0.9 * samples / max(np.abs(samples).max(), 1e-9)).astype(np.float32)


def string(pitch: int, seconds: float, rate: int) -> Float[np.ndarray, " _"]:
    """A string that is plucked and left alone."""
    time, multiples = np.arange(int(seconds * rate) + 1) / rate, np.arange(1, len(PARTIALS) + 1)
    heard = multiples[multiples * frequency(pitch) < rate / 2]
    waves = np.sin(2 * np.pi * frequency(pitch) * np.outer(heard, time))
    return PARTIALS[heard - 1] @ (waves * np.exp(-np.outer(heard**0.5, time) / DECAY))


def of_music(music: Music) -> Sound:
    """Notes as a sound, and as a MIDI file."""
    second = music.tempo / 60
    played = play([(note.begin / second, note.end / second, note.pitch) for note in music.notes])
    return Sound(played, RATE, {".mid": write_midi(music.notes, music.tempo)})
