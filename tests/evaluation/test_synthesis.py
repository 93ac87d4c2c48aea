"""A WAV has the notes that its MIDI has: measured by its spectrum."""

import io
import wave

import numpy as np
import pytest

from seqtrain.evaluation.synthesis import RATE, frequency, of_music, play
from seqtrain.reading.midi import Music, Note, read_midi


def strength(samples: np.ndarray, pitch: int) -> float:
    """How strong the frequency of a note is."""
    time = np.arange(len(samples)) / RATE
    window = np.hanning(len(samples))
    return float(abs(np.sum(window * samples * np.exp(-2j * np.pi * frequency(pitch) * time))) / window.sum())


def heard(samples: np.ndarray) -> set[int]:
    """The pitches whose fundamentals are strong; the overtones of the notes played here are weaker than half."""
    strengths = {pitch: strength(samples, pitch) for pitch in range(36, 85)}
    return {pitch for pitch, value in strengths.items() if value > 0.55 * max(strengths.values())}


def test_the_middle_a_has_440_hertz():
    assert (frequency(69), frequency(57)) == (440, 220)
    assert frequency(60) == pytest.approx(261.6256, abs=1e-3)


def test_the_spectrum_of_a_wav_shows_the_notes_of_its_midi():
    notes = [Note(0, 2, 48), Note(0, 2, 55), Note(0, 2, 64), Note(2, 4, 53), Note(2, 4, 69), Note(4, 6, 62)]
    sound = of_music(Music(notes, 120.0))
    with wave.open(io.BytesIO(sound.wav())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    written = read_midi(sound.files[".mid"])
    assert written.tempo == 120
    for second in range(3):  # two quarter notes each
        part = samples[int((second + 0.1) * RATE) : int((second + 0.9) * RATE)]
        assert heard(part) == {note.pitch for note in written.notes if note.begin <= 2 * second < note.end}


def test_silence_and_loudness():
    assert np.abs(play([(0.0, 0.5, 60), (0.0, 0.5, 64)])).max() == pytest.approx(0.9, abs=1e-6)
    assert not play([]).any()
    gap = play([(0.0, 0.2, 60), (1.0, 1.2, 60)])
    assert not gap[int(0.3 * RATE) : int(0.9 * RATE)].any()
    assert len(gap) == pytest.approx(1.26 * RATE, abs=2)
