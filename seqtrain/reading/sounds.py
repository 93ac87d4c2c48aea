"""Recordings in files: WAV by the standard library, all else that libsndfile reads by soundfile."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from math import gcd
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from seqtrain.config import UserError
from seqtrain.data.kinds import Sound
from seqtrain.reading.files import Bytes, content, find_file

ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3")
BEGINS = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3")  # of files that hold a recording
UNKNOWN = 0x7FFF0000  # bytes: a header that says so many, or more, was written into a pipe, ahead of the samples
TAPS = 16  # zero crossings of the filter on either side


def read_sound(name: str, longest: float) -> Sound:
    """The recording in a file, its channels mixed. longest: seconds; a longer one is refused before it is decoded.
    Raises `UserError` with the name of the file and what to do."""
    return decode(content(find_file(name, "sound"), name), name, longest)


def decode(data: Bytes, name: str, longest: float) -> Sound:
    """The recording in the content of a file."""
    if not data:
        raise UserError(f"{name}: the file is empty; leave it out, or record it again")
    try:
        with wave.open(opened := as_file(data)) as file:
            channels, width, rate, count, *_ = file.getparams()
            if count * width * channels >= UNKNOWN:
                count = (len(data) - opened.tell()) // (width * channels)
            check_length(name, count / rate, longest)
            read = file.readframes(count)
    except (wave.Error, EOFError, ZeroDivisionError, ValueError, RuntimeError) as error:  # RuntimeError: a wrong size
        return decode_other(data, name, longest, str(error) or "sizes that cannot be")
    check_whole(name, count / rate, len(read) / (width * channels * rate))
    return Sound(name, rate, mixed(integers(read, width).reshape(-1, channels), name))


def integers(data: bytes, width: int) -> Int[np.ndarray, " N"]:
    """PCM samples of so many bytes as 16 bits."""
    if width == 1:  # the only unsigned ones
        return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
    return np.frombuffer(data, np.uint8).reshape(-1, width)[:, -2:].copy().view("<i2")[:, 0]


def as_file(data: Bytes) -> Any:
    """What reads bytes from memory, or from the file that they are mapped from."""
    return io.BytesIO(data) if isinstance(data, bytes) else data


def decode_other(data: Bytes, name: str, longest: float, problem: str) -> Sound:
    """By soundfile: FLAC, MP3, OGG, and WAV that is no PCM. problem: why it is no plain WAV."""
    if not data[:4].startswith(BEGINS):
        raise UserError(f"{name}: this is no recording: neither WAV ({problem}) nor FLAC, OGG or MP3")
    try:
        import soundfile  # pyright: ignore[reportMissingImports]
    except (ModuleNotFoundError, OSError):
        raise UserError(
            f"{name}: this is no plain WAV ({problem}); FLAC, MP3, OGG and others need soundfile: "
            "pip install 'seqtrain[sound]'"
        ) from None
    try:
        with soundfile.SoundFile(as_file(data)) as file:
            rate, count = file.samplerate, len(file)
            check_length(name, count / rate, longest)
            samples = file.read(dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise UserError(f"{name}: damaged, or cut off ({error}); copy it again, or leave it out") from None
    check_whole(name, count / rate, len(samples) / rate)
    return Sound(name, rate, mixed(samples, name))


def check_length(name: str, seconds: float, longest: float) -> None:
    if seconds > longest:
        raise UserError(f"{name}: {seconds:,.0f} s long; at most {longest:g} s are read (sound.longest): cut it into "
                        "sentences")  # fmt: skip


def check_whole(name: str, said: float, there: float) -> None:
    if there < said:
        raise UserError(
            f"{name}: cut off: its header says {said:.1f} s, and {there:.1f} s are there; copy it again or leave it out"
        )


def mixed(samples: Int[np.ndarray, "N C"], name: str) -> Int[np.ndarray, " N"]:
    """The mean of all channels."""
    if not samples.size:
        raise UserError(f"{name}: there is no sample in it; leave it out, or record it again")
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(1).round().astype(np.int16)


def resampled(samples: Any, rate: int, new: int) -> Float[np.ndarray, " M"]:
    """Samples brought to another rate by a polyphase filter: a sinc under a Kaiser window, of which each output sample
    needs one phase (Crochiere & Rabiner 1983, chapter 4). What is beyond the lower of both Nyquist rates goes."""
    if rate == new:
        return np.asarray(samples, np.float32)
    up, down = new // gcd(rate, new), rate // gcd(rate, new)
    slow = max(1.0, down / up)  # how much wider than the samples the sinc is
    half = int(np.ceil(TAPS * slow))
    offsets = np.arange(-half, half + 1)
    times = (offsets - np.arange(up)[:, None] / up) / slow  # (up, taps), in zero crossings
    window = np.i0(8.0 * np.sqrt(np.maximum(1 - (times / (TAPS + 1 / slow)) ** 2, 0))) / np.i0(8.0)
    filters = np.sinc(0.95 * times) * window
    filters = (filters / filters.sum(1, keepdims=True)).astype(np.float32)
    places = np.arange(-(-len(samples) * up // down)) * down
    padded = np.pad(np.asarray(samples, np.float32), (half, half + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(offsets))
    blocks: Sequence[np.ndarray] = np.array_split(places, 1 + len(places) // 4096)
    return np.concatenate([np.einsum("nk,nk->n", windows[some // up], filters[some % up]) for some in blocks])
