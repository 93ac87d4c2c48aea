"""Recordings as frames of a log-mel spectrogram: where a WAV becomes numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from seqtrain.codecs.signal import Signal
from seqtrain.data.kinds import Sound
from seqtrain.reading.files import PIPED
from seqtrain.reading.sounds import BEGINS, ENDINGS, decode, read_sound, resampled

WINDOW, HOP = 0.025, 0.010  # seconds of a frame, and from frame to frame
EMPHASIS = 0.97
LOWEST = 20.0  # Hz
QUIET = 2.0**-23  # energy below which nothing is heard


class LogMel(Signal):
    """Each frame of 25 ms, one every 10 ms, is the logarithm of the energy in `mels` bands, equally wide on the mel
    scale: the filter banks of Kaldi (Povey et al. 2011).

    rate: samples a second that recordings are brought to. longest: seconds of a recording. In training, its speed
    changes by a share of up to `speed` (Ko et al. 2015), noise is added, `noise` to 40 dB below the recording (None:
    none), and `masks` stretches of up to an eighth of the bands, and of up to 0.2 s, are put to the mean (SpecAugment,
    Park et al. 2019, arXiv:1904.08779).
    """

    endings, begins = ENDINGS, BEGINS

    def __init__(self, rate: int, mels: int, longest: float, speed: float, noise: float | None, masks: int):
        super().__init__()
        self.rate, self.mels, self.longest = rate, mels, longest
        self.speed, self.noise, self.masks = speed, noise, masks
        self.width, self.hop = round(WINDOW * rate), round(HOP * rate)

    @property
    def settings(self) -> list[Any]:
        return [self.rate, self.longest]

    def load(self, line: Sound | str | bytes) -> Sound:
        if isinstance(line, bytes):
            return decode(line, PIPED, self.longest)
        return read_sound(line, self.longest) if isinstance(line, str) else line

    def read(self, value: Sound | str) -> Int[np.ndarray, " N"]:
        sound = self.load(value)
        samples = sound.samples
        if sound.rate != self.rate:
            samples = resampled(samples, sound.rate, self.rate).round().clip(-(2**15), 2**15 - 1).astype(np.int16)
        return np.pad(samples, (0, max(0, self.width - len(samples))))

    def count(self, kept: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        return 1 + (kept - self.width) // self.hop

    def shown(self, value: Sound | str) -> list[str]:
        return [f"{frame * HOP:.2f} s" for frame in range(self.count(np.array([len(self.read(value))])).item())]

    def channels(
        self, kept: Int[np.ndarray, " N"], random: np.random.Generator | None = None
    ) -> Float[np.ndarray, "T C"]:
        samples = kept.astype(np.float32)
        if random is not None:
            samples = self.changed(samples, random)
        return log_mel(samples, self.rate, self.mels, self.width, self.hop)

    def changed(self, samples: Float[np.ndarray, " N"], random: np.random.Generator) -> Float[np.ndarray, " M"]:
        if self.speed:
            places = np.arange(0, len(samples) - 1, random.uniform(1 - self.speed, 1 + self.speed))
            samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
            samples = np.pad(samples, (0, max(0, self.width - len(samples))))
        if self.noise is not None:
            level = np.sqrt(np.mean(samples**2)) * 10 ** (-random.uniform(self.noise, 40.0) / 20)
            samples = samples + np.float32(level) * random.standard_normal(len(samples), np.float32)
        return samples

    def masked(self, array: Float[np.ndarray, "T C"], random: np.random.Generator) -> Float[np.ndarray, "T C"]:
        for _ in range(self.masks):
            for axis, widest in ((0, round(0.2 / HOP)), (1, self.mels // 8)):
                width = int(random.integers(widest + 1))
                start = int(random.integers(max(1, array.shape[axis] - width)))
                np.moveaxis(array, axis, 0)[start : start + width] = 0.0
        return array


def log_mel(samples: Float[np.ndarray, " N"], rate: int, mels: int, width: int, hop: int) -> Float[np.ndarray, "T C"]:
    """The frames of samples between -32768 and 32767: each without its mean, its high tones raised, under Povey's
    window, by a Fourier transform of the next power of two."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop]
    frames = frames - frames.mean(1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    frames = (frames - np.float32(EMPHASIS) * before) * povey(width)
    size = 1 << (width - 1).bit_length()
    spectrum = np.fft.rfft(frames, size, axis=1)
    energy = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ bands(rate, mels, size)
    return np.log(np.maximum(energy, QUIET))


@lru_cache
def povey(width: int) -> Float[np.ndarray, " N"]:
    return (np.hanning(width) ** 0.85).astype(np.float32)


@lru_cache
def bands(rate: int, mels: int, size: int) -> Float[np.ndarray, "K C"]:
    """The share of each frequency of a spectrum in each band: triangles on the mel scale, overlapping by half."""
    edges = np.linspace(mel(LOWEST), mel(rate / 2), mels + 2)
    places = mel(np.arange(size // 2 + 1) * rate / size)[:, None]
    rising, falling = ((places - edges[:-2]) / np.diff(edges)[0], (edges[2:] - places) / np.diff(edges)[0])
    shares = np.maximum(np.minimum(rising, falling), 0).astype(np.float32)
    shares[-1] = 0  # the Nyquist frequency itself
    return shares


def mel(frequency: Any) -> Any:
    return 1127 * np.log1p(np.asarray(frequency) / 700)
