"""The frames of recordings, against values that were computed in another way."""

import numpy as np
import pytest
import torch

from seqtrain.codecs.sound import LogMel, log_mel
from seqtrain.data.kinds import Sound

PLAIN = {"rate": 8000, "mels": 40, "longest": 60.0, "speed": 0.0, "noise": None, "masks": 0}


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3000, count).astype(np.int16)


def by_torch(samples: np.ndarray, rate: int, mels: int) -> np.ndarray:
    """The same by torch's transform, frame by frame, and triangles drawn one by one."""
    width, hop, size, found = rate // 40, rate // 100, 256 if rate == 8000 else 512, []
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)  # noqa: E731
    edges = np.linspace(mel(20), mel(rate / 2), mels + 2)
    for start in range(0, len(samples) - width + 1, hop):
        frame = torch.tensor(samples[start : start + width], dtype=torch.float64)
        frame = frame - frame.mean()
        frame = frame - 0.97 * torch.cat([frame[:1], frame[:-1]])
        frame = frame * torch.hann_window(width, periodic=False, dtype=torch.float64) ** 0.85
        power = torch.fft.rfft(frame, size).abs().square().numpy()
        bands = []
        for low, middle, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
            places = mel(np.arange(size // 2) * rate / size)
            shares = np.interp(places, [low, middle, high], [0, 1, 0])
            bands.append(np.log(max(float(shares @ power[:-1]), 2.0**-23)))
        found.append(bands)
    return np.array(found)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_frames_are_those_computed_one_by_one(rate: int):
    samples = noise(rate // 4).astype(np.float32)
    found = log_mel(samples, rate, 40, rate // 40, rate // 100)
    np.testing.assert_allclose(found, by_torch(samples, rate, 40), atol=1e-3)


def test_frames_are_those_of_kaldi():
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.dither, options.mel_opts.num_bins = 8000, 0, 40
    bank, samples = knf.OnlineFbank(options), noise(8000).astype(np.float32)
    bank.accept_waveform(8000, samples.tolist())
    bank.input_finished()
    expected = np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
    np.testing.assert_allclose(log_mel(samples, 8000, 40, 200, 80), expected, atol=1e-3)


def test_training_frames_have_mean_0_and_deviation_1_and_the_state_brings_them_back():
    codec = LogMel(**PLAIN)
    sounds = [Sound(str(i), 8000, noise(4000 + 100 * i, i)) for i in range(3)]
    codec.fit(sounds)
    frames = np.concatenate([codec.encode(sound) for sound in sounds])
    np.testing.assert_allclose([frames.mean(0), frames.std(0) - 1], 0, atol=1e-3)
    again = LogMel(**PLAIN)
    again.load_state(codec.state())
    np.testing.assert_array_equal(again.encode(sounds[0]), codec.encode(sounds[0]))


def test_the_count_of_frames_is_known_before_they_are_made():
    codec = LogMel(**PLAIN)
    codec.fit([Sound("", 8000, noise(4000))])
    for count in (1, 199, 200, 279, 280, 1000):
        kept = codec.encode_all([Sound("", 8000, noise(count))])
        assert kept.lengths.tolist() == [len(kept[0])] == [len(codec.shown(Sound("", 8000, noise(count))))]


def test_recordings_change_in_training_by_the_given_random_numbers_alone():
    codec = LogMel(**PLAIN | {"speed": 0.1, "noise": 10.0, "masks": 2})
    sound = Sound("", 8000, noise(8000))
    codec.fit([sound])
    signals, rows = codec.encode_all([sound]), np.arange(1)
    plain = signals.padded(rows, 0)[0]
    first, again, other = (signals.varied(np.random.default_rng(seed)).padded(rows, 0)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape != plain.shape or not torch.equal(first, plain)
    assert first.shape != other.shape or not torch.equal(first, other)
    assert torch.equal(signals.padded(rows, 0)[0], plain)


def test_masks_put_whole_bands_and_frames_to_the_mean():
    codec = LogMel(**PLAIN | {"masks": 3})
    masked = codec.masked(np.ones((100, 40), np.float32), np.random.default_rng(0))
    zero = masked == 0
    assert zero.any()
    rows, columns = zero.all(1), zero.all(0)
    assert np.array_equal(zero, rows[:, None] | columns[None])
    assert rows.sum() <= 60
    assert columns.sum() <= 15
