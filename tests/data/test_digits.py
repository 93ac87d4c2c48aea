"""Spoken digits: the same for the same seed, other voices in each split, the formants where they should be."""

import numpy as np
import pytest

from seqtrain.data.digits import RATE, WORDS, Digits, Voice, utter

SIZES = {"size": 6, "valid_size": 4, "test_size": 4, "shortest": 1, "longest": 3}


def test_is_deterministic_and_depends_on_the_seed():
    first, again, other = (Digits(**SIZES, seed=seed).read("train") for seed in (1, 1, 2))
    assert [record.text for record in first] == [record.text for record in again]
    assert all(np.array_equal(a.sound.samples, b.sound.samples) for a, b in zip(first, again, strict=True))
    assert [record.text for record in first] != [record.text for record in other]
    assert first.key == again.key != other.key


def test_strings_are_as_long_as_asked_and_splits_differ():
    splits = {split: Digits(**SIZES, seed=1).read(split) for split in ("train", "valid", "test")}
    assert [len(records) for records in splits.values()] == [6, 4, 4]
    for records in splits.values():
        for record in records:
            assert 1 <= len(record.text.split()) <= 3
            assert set(record.text.split()) <= set(WORDS)
            assert 0.1 < len(record.sound.samples) / RATE < 3
            assert 0.15 * 2**15 < np.abs(record.sound.samples).max() < 2**15
    assert splits["train"][0].text != splits["test"][0].text or splits["train"][1].text != splits["test"][1].text


@pytest.mark.parametrize(("word", "formant"), [("two", 320), ("four", 570), ("three", 300)])
def test_a_vowel_has_its_first_formant(word: str, formant: float):
    """By the average spectrum of the loudest part of a slow, deep voice without accent."""
    voice = Voice(1.0, 90.0, 0.5, -6.0, 0.0, np.zeros((24, 3)))
    powers = []
    for seed in range(6):
        samples = utter([word], voice, np.random.default_rng(seed)).astype(float)
        energy = np.convolve(samples**2, np.ones(1024), "same")
        middle = int(energy[600:-600].argmax()) + 600
        frame = samples[middle - 512 : middle + 512] * np.hanning(1024)
        powers.append(np.abs(np.fft.rfft(frame)) ** 2 / (frame**2).sum())
    spectrum = np.convolve(np.mean(powers, 0), np.ones(13), "same")
    frequencies = np.fft.rfftfreq(1024, 1 / RATE)
    band = (frequencies > 150) & (frequencies < 800)
    assert abs(frequencies[band][spectrum[band].argmax()] - formant) < 110
