"""Spoken digits, made by formant synthesis: every recording has a voice, a microphone and a background of its own."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from seqtrain.data.kinds import SPLITS, Keyed, Recording, Sound, check_split
from seqtrain.storage.cache import cached_arrays

RATE, HOP, WINDOW = 8000, 64, 256  # samples a second, from frame to frame, of a frame
VERSION = 1  # of the synthesis: with another one the cached recordings are made again

# Of each sound: the first three formants in Hz, seconds, how loud the voice is, how loud the noise is, and the centre
# and the width of the noise in Hz. Values after Peterson & Barney 1952 and Klatt 1980, rounded.
SOUNDS: dict[str, tuple[tuple[float, float, float], float, float, float, float, float]] = {
    "iy": ((300, 2250, 3000), 0.16, 1.0, 0.0, 1, 1),
    "ih": ((400, 1950, 2550), 0.10, 1.0, 0.0, 1, 1),
    "eh": ((550, 1800, 2500), 0.11, 1.0, 0.0, 1, 1),
    "ah": ((640, 1200, 2400), 0.12, 1.0, 0.0, 1, 1),
    "ao": ((570, 850, 2400), 0.14, 1.0, 0.0, 1, 1),
    "uw": ((320, 900, 2250), 0.16, 1.0, 0.0, 1, 1),
    "ow": ((500, 950, 2350), 0.09, 1.0, 0.0, 1, 1),
    "ow>": ((360, 800, 2300), 0.09, 1.0, 0.0, 1, 1),
    "ay": ((720, 1200, 2450), 0.10, 1.0, 0.0, 1, 1),
    "ay>": ((380, 2050, 2600), 0.09, 1.0, 0.0, 1, 1),
    "ey": ((480, 1950, 2550), 0.09, 1.0, 0.0, 1, 1),
    "ey>": ((330, 2250, 2800), 0.09, 1.0, 0.0, 1, 1),
    "r": ((360, 1250, 1650), 0.08, 0.7, 0.0, 1, 1),
    "w": ((310, 700, 2200), 0.08, 0.6, 0.0, 1, 1),
    "n": ((260, 1300, 2300), 0.08, 0.5, 0.0, 1, 1),
    "v": ((280, 1100, 2100), 0.07, 0.35, 0.06, 2300, 2500),
    "z": ((280, 1500, 2500), 0.08, 0.35, 0.25, 3500, 900),
    "s": ((280, 1500, 2500), 0.12, 0.0, 0.50, 3600, 900),
    "f": ((280, 1100, 2100), 0.10, 0.0, 0.12, 2300, 2600),
    "th": ((280, 1100, 2100), 0.10, 0.0, 0.12, 2600, 2500),
    "t-": ((280, 1500, 2500), 0.06, 0.0, 0.0, 1, 1),  # the closure before the burst
    "t": ((280, 1500, 2500), 0.03, 0.0, 0.50, 3000, 1500),
    "k-": ((550, 1800, 2500), 0.06, 0.0, 0.0, 1, 1),
    "k": ((550, 1800, 2500), 0.03, 0.0, 0.40, 1900, 900),
}
WORDS = {
    "zero": "z ih r ow ow>",
    "one": "w ah n",
    "two": "t- t uw",
    "three": "th r iy",
    "four": "f ao r",
    "five": "f ay ay> v",
    "six": "s ih k- k s",
    "seven": "s eh v ah n",
    "eight": "ey ey> t- t",
    "nine": "n ay ay> n",
}
NAMES = list(SOUNDS)
FREQUENCIES = np.fft.rfftfreq(WINDOW, 1 / RATE).astype(np.float32)
FRAME = np.hanning(WINDOW + 1)[:-1].astype(np.float32)


class Digits:
    """`Recording`s of `shortest` to `longest` digits and the words for them. No two recordings share a voice, so those
    of the test are new."""

    kind = "recordings"

    def __init__(self, size: int, valid_size: int, test_size: int, shortest: int, longest: int, seed: int):
        self.sizes = {"train": size, "valid": valid_size, "test": test_size}
        self.shortest, self.longest, self.seed = shortest, longest, seed

    def read(self, split: str) -> Keyed:
        check_split(split)
        random = np.random.default_rng([self.seed, SPLITS.index(split)])
        digits, words = list(WORDS), []
        for _ in range(self.sizes[split]):
            count = random.integers(self.shortest, self.longest + 1)
            words.append([digits[place] for place in random.integers(len(digits), size=count)])

        def make() -> dict[str, np.ndarray]:
            spoken = [utter(some, Voice.drawn(random), random) for some in words]
            return {"samples": np.concatenate(spoken), "lengths": np.array(list(map(len, spoken)))}

        key = json.dumps(["digits", VERSION, split, self.sizes[split], self.shortest, self.longest, self.seed])
        arrays = cached_arrays(key, make)
        sounds = np.split(arrays["samples"], arrays["lengths"].cumsum()[:-1])
        records = (
            Recording(Sound(f"{split} {row}", RATE, sound), " ".join(some))
            for row, (sound, some) in enumerate(zip(sounds, words, strict=True))
        )
        return Keyed(records, key)


class Voice(NamedTuple):
    """How someone speaks. tract: what all formants are multiplied by. pitch: in Hz. rate: how fast. tilt: dB an octave
    that high tones are weaker. breath: noise in the voice. accent: (sounds, 3), the share by which formants differ."""

    tract: float
    pitch: float
    rate: float
    tilt: float
    breath: float
    accent: Float[np.ndarray, "P 3"]

    @classmethod
    def drawn(cls, random: np.random.Generator) -> Voice:
        return cls(
            tract=random.uniform(0.82, 1.22),
            pitch=float(np.exp(random.uniform(np.log(85), np.log(260)))),
            rate=random.uniform(0.75, 1.35),
            tilt=random.uniform(-9, -3),
            breath=random.uniform(0, 0.08),
            accent=random.normal(0, 0.05, (len(SOUNDS), 3)),
        )


def utter(words: list[str], voice: Voice, random: np.random.Generator) -> Int[np.ndarray, " N"]:
    """Words as a recording of 8,000 samples a second."""
    track = smooth(articulation(words, voice, random))
    samples = overlapped(spectra(track, voice, random))
    heard = microphone(samples, random)
    return (heard / np.abs(heard).max() * random.uniform(0.2, 0.95) * (2**15 - 1)).astype(np.int16)


def articulation(words: list[str], voice: Voice, random: np.random.Generator) -> Float[np.ndarray, "T 7"]:
    """For each frame three formants, the loudness of voice and noise, and the noise's centre and width. A pause has no
    formants (NaN)."""
    rows: list[list[float]] = []

    def pause(low: float, high: float) -> None:
        rows.extend([[np.nan] * 3 + [0, 0, 2000, 2000]] * frames(random.uniform(low, high)))

    pause(0.05, 0.2)
    for place, word in enumerate(words):
        if place and random.random() < 0.4:
            pause(0.02, 0.2)
        for name in WORDS[word].split():
            formants, seconds, loud, noisy, centre, width = SOUNDS[name]
            heard = np.array(formants) * voice.tract * (1 + voice.accent[NAMES.index(name)] + random.normal(0, 0.02, 3))
            loudness = [loud * np.exp(random.normal(0, 0.15)), noisy * np.exp(random.normal(0, 0.25))]
            row = [*heard, *loudness, centre * voice.tract**0.5, width]
            rows.extend([row] * frames(seconds / voice.rate * np.exp(random.normal(0, 0.18))))
    pause(0.05, 0.2)
    return np.array(rows)


def frames(seconds: float) -> int:
    return max(2, round(seconds * RATE / HOP))


def smooth(track: Float[np.ndarray, "T 7"]) -> Float[np.ndarray, "T 7"]:
    """Sounds that run into each other: formants over nine frames, loudness over five."""
    track, times = track.copy(), np.arange(len(track))
    for column in range(5):
        values, known = track[:, column], ~np.isnan(track[:, column])
        values = np.interp(times, times[known], values[known])
        kernel = np.hanning(9 if column < 3 else 5)[1:-1]
        padded = np.pad(values, len(kernel) // 2, "edge")
        track[:, column] = np.convolve(padded, kernel / kernel.sum(), "valid")
    return track


def spectra(track: Float[np.ndarray, "T 7"], voice: Voice, random: np.random.Generator) -> Float[np.ndarray, "T W"]:
    """Frames of a pulse train and of noise, shaped by resonances (Klatt 1980), under a window."""
    count, track = len(track), track.astype(np.float32)
    times = np.arange(count) / count
    pitch = voice.pitch * (1.08 - 0.2 * times) * np.exp(0.003 * np.cumsum(random.normal(0, 1, count)))
    phase = np.cumsum(np.repeat(pitch, HOP) / RATE)
    phase = np.concatenate([phase, phase[-1] + np.arange(1, WINDOW + 1) * pitch[-1] / RATE])
    pulses = np.zeros(len(phase), np.float32)
    beats = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    pulses[beats] = (1 + random.normal(0, 0.05, len(beats))) * np.sqrt(RATE / voice.pitch) / 4
    windows = np.lib.stride_tricks.sliding_window_view(pulses, WINDOW)[::HOP][:count]
    voiced = np.fft.rfft(windows * FRAME, axis=1)
    noise = random.standard_normal((2, *voiced.shape), np.float32) * np.float32(np.sqrt((FRAME**2).sum() / 2))
    squares = FREQUENCIES**2
    power = np.ones(voiced.shape, np.float32)
    for column, width in enumerate((70, 100, 150)):
        peak = track[:, column : column + 1] ** 2
        power *= peak**2 / ((squares - peak - width**2 / 4) ** 2 + width**2 * squares + 1)
    fixed = np.float32(3500 * voice.tract) ** 2
    power *= fixed**2 / ((squares - fixed) ** 2 + 250**2 * squares)
    tract = np.sqrt(power) * (np.maximum(FREQUENCIES, 100) / 100) ** np.float32(voice.tilt / 20 / np.log10(2))
    loud, noisy, centre, width = (track[:, column : column + 1] for column in range(3, 7))
    hiss = 4 * noisy * np.exp(-0.5 * ((FREQUENCIES - centre) / (width / 2 + 1)) ** 2)
    breathy = hiss + 0.3 * np.float32(voice.breath) * loud * tract
    shaped = 0.6 * voiced * loud * tract + 0.25 * (noise[0] + 1j * noise[1]) * breathy
    return np.fft.irfft(shaped, axis=1).astype(np.float32) * FRAME


def overlapped(windows: Float[np.ndarray, "T W"]) -> Float[np.ndarray, " N"]:
    """Frames added up, each HOP samples after the one before."""
    samples = np.zeros(len(windows) * HOP + WINDOW, np.float32)
    for start in range(0, WINDOW, HOP):
        part = windows[:, start : start + HOP].reshape(-1)
        samples[start : start + len(part)] += part
    return samples


def microphone(samples: Float[np.ndarray, " N"], random: np.random.Generator) -> Float[np.ndarray, " N"]:
    """With a channel that favours low or high tones by up to 4 dB an octave, and noise 5 to 30 dB below."""
    size = 1 << (len(samples) - 1).bit_length()  # Fourier transforms of other lengths can be slow
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / RATE), 60) / 1000)
    tilted = np.fft.irfft(np.fft.rfft(samples, size) * 10 ** (random.uniform(-4, 4) * octaves / 20))[: len(samples)]
    white = np.fft.rfft(random.standard_normal(size, np.float32))
    noise = np.fft.irfft(white * 2 ** (-random.uniform(0, 0.8) * octaves))[: len(samples)]
    ratio = 10 ** (-random.uniform(5, 30) / 20)
    return tilted / np.sqrt(np.mean(tilted**2)) + ratio * noise / np.sqrt(np.mean(noise**2))
