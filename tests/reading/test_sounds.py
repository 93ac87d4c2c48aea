"""Recordings in files: what is read is what was written, and what is wrong is named."""

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from seqtrain.config import UserError
from seqtrain.reading.sounds import decode, read_sound, resampled


def wav(samples: np.ndarray, rate: int = 8000, width: int = 2) -> bytes:
    """(N, C) samples in the range of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            file.writeframes(((samples >> 8) + 128).astype(np.uint8).tobytes())
        else:
            shifted = (samples.astype(np.int64) << (8 * (width - 2))).astype("<i8")
            file.writeframes(shifted[..., None].view(np.uint8)[..., :width].tobytes())
    return buffer.getvalue()


TONE = (10_000 * np.sin(np.arange(4000) / 9)).astype(np.int16)[:, None]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_any_width_are_those_that_were_written(width: int):
    sound = decode(wav(TONE, width=width), "a.wav", 60.0)
    assert (sound.rate, sound.name, sound.samples.dtype) == (8000, "a.wav", np.int16)
    np.testing.assert_allclose(sound.samples, TONE[:, 0], atol=256 if width == 1 else 0)


def test_channels_are_mixed():
    assert decode(wav(np.hstack([TONE, -TONE])), "a.wav", 60.0).samples.tolist() == [0] * 4000


MISTAKES = {
    b"": "the file is empty; leave it out",
    wav(TONE)[:-4000]: r"cut off: its header says 0.5 s, and 0.2 s are there; copy it again",
    wav(TONE[:0]): "there is no sample in it",
    wav(TONE)[:12] + b"\0" + wav(TONE)[12:]: r"this is no plain WAV \(sizes that cannot be\); FLAC",
    b"path,text\na.wav,one\n": r"this is no recording: neither WAV \(.*\) nor FLAC, OGG or MP3",
    wav(np.zeros((200_000, 1), np.int16), rate=100): r"2,000 s long; at most 60 s are read \(sound.longest\): cut it",
}


@pytest.mark.parametrize(("content", "said"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_broken_recording_is_named_with_its_cure(content: bytes, said: str, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.wav: {said}") as caught:
        read_sound(str(tmp_path / "a.wav"), 60.0)
    assert "\n" not in str(caught.value)


def test_two_hours_are_refused_by_the_header_alone():
    header = bytearray(wav(TONE))
    header[40:44] = struct.pack("<I", 2 * 60 * 60 * 16_000)
    with pytest.raises(UserError, match="7,200 s long"):
        decode(bytes(header), "long.wav", 60.0)


def test_a_long_file_is_not_read_and_a_recording_of_unknown_length_is_what_came(tmp_path: Path):
    header = bytearray(wav(TONE))
    header[40:44] = struct.pack("<I", 2**31 - 2**20)
    with (tmp_path / "long.wav").open("wb") as file:
        file.write(header)
        file.truncate(2**31)  # takes no room on the disk
    with pytest.raises(UserError, match=r"long\.wav: 134,152 s long"):
        read_sound(str(tmp_path / "long.wav"), 60.0)
    header[40:44] = struct.pack("<I", 2**32 - 1)
    assert decode(bytes(header), "piped", 60.0).samples.tolist() == TONE[:, 0].tolist()


def test_a_missing_recording_is_named_with_its_neighbour(tmp_path: Path):
    (tmp_path / "one.wav").write_bytes(wav(TONE))
    with pytest.raises(UserError, match=r"there is no such file; did you mean .*one\.wav"):
        read_sound(str(tmp_path / "onr.wav"), 60.0)


@pytest.mark.parametrize("rate", [44_100, 16_000, 11_025, 6_000])
def test_a_resampled_tone_is_the_tone_and_what_is_too_high_is_gone(rate: int):
    new, times = 8000, np.arange(rate // 2) / rate
    tones = np.sin(2 * np.pi * 440 * times) + 0.5 * np.sin(2 * np.pi * 1234 * times)
    found = resampled(tones, rate, new)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(found)) / new)
    expected += 0.5 * np.sin(2 * np.pi * 1234 * np.arange(len(found)) / new)
    assert len(found) == new // 2
    np.testing.assert_allclose(found[100:-100], expected[100:-100], atol=3e-4)
    if rate > 10_000:
        high = resampled(np.sin(2 * np.pi * 4400 * times), rate, new)
        assert np.abs(high[100:-100]).max() < 0.01
    noise = np.convolve(np.random.default_rng(0).normal(size=rate // 2), np.hanning(31) / 15, "same")
    other = resample_poly(noise, new, rate, window=("kaiser", 8.0))
    assert np.corrcoef(resampled(noise, rate, new)[100:-100], other[100:-100])[0, 1] > 0.999
