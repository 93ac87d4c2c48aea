"""Strokes as points: equally far from each other, of one size whatever the tablet, changed by given numbers alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from seqtrain.codecs.strokes import Strokes
from seqtrain.config import UserError
from seqtrain.data.kinds import Ink

PLAIN = {"spacing": 0.1, "longest": 1000, "slant": 0.0, "stretch": 0.0, "turn": 0.0}
HOOK = Ink("hook", (np.array([[0.0, 0], [0, 100], [50, 100]]), np.array([[80.0, 20.0]])))


def test_points_are_equally_far_from_each_other_and_know_where_strokes_end():
    kept = Strokes(**PLAIN).read(HOOK)
    assert kept.shape == (16 + 1, 3)
    steps = np.hypot(*np.diff(kept[:16, :2], axis=0).T)
    np.testing.assert_allclose(steps, 0.1, atol=1e-6)
    assert np.flatnonzero(kept[:, 2]).tolist() == [15, 16]
    np.testing.assert_allclose(kept[[0, 10, 15, 16], :2], [[0, 0], [0, 1], [0.5, 1], [0.8, 0.2]], atol=1e-6)


def test_channels_are_steps_the_pen_and_the_height_on_the_line():
    codec = Strokes(**PLAIN | {"spacing": None})
    found = codec.channels(codec.read(HOOK))
    expected = [[0, 0, 0, -0.5], [0, 1, 0, 0.5], [0.5, 0, 1, 0.5], [0.3, -0.8, 1, -0.3]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("spacing", [0.1, None])
def test_size_and_place_on_the_tablet_do_not_matter(spacing: float | None):
    codec = Strokes(**PLAIN | {"spacing": spacing})
    moved = Ink("", tuple(3 * stroke + [1e4, -1e4] for stroke in HOOK.strokes))
    np.testing.assert_allclose(codec.read(moved), codec.read(HOOK), atol=1e-5)


def test_a_dot_and_a_dash_have_a_size_too():
    codec = Strokes(**PLAIN)
    assert codec.read(Ink("dot", (np.array([[5.0, 5.0]]),))).tolist() == [[0, 0, 1]]
    dash = codec.read(Ink("dash", (np.array([[0.0, 0.0], [80.0, 0.0]]),)))
    assert len(dash) == 401
    assert dash[-1].tolist() == [40, 0, 1]


def test_a_line_that_is_too_long_is_refused_before_its_points_are_made():
    scrawl = Ink("a.json", (np.array([[0.0, 0.0], [0.0, 1.0], *[[x, 1000 * (x % 2)] for x in range(10**5)]]),))
    with pytest.raises(
        UserError, match=r"a\.json: .* points; at most 1,000 are read \(strokes\.longest\): cut it into"
    ):
        Strokes(**PLAIN).read(scrawl)
    with pytest.raises(UserError, match="100,002 points"):
        Strokes(**PLAIN | {"spacing": None}).read(scrawl)


def test_training_changes_lines_by_the_given_random_numbers_alone_and_the_state_brings_scales_back():
    codec = Strokes(**PLAIN | {"slant": 0.2, "stretch": 0.2, "turn": 0.1})
    codec.fit([HOOK])
    signals, rows = codec.encode_all([HOOK]), np.arange(1)
    plain = signals.padded(rows, 0)[0]
    first, again, other = (signals.varied(np.random.default_rng(seed)).padded(rows, 0)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, other)
    assert torch.equal(first[..., 2], plain[..., 2])
    restored = Strokes(**PLAIN)
    restored.load_state(codec.state())
    np.testing.assert_array_equal(restored.encode(HOOK), codec.encode(HOOK))


def test_a_file_is_shown_by_its_own_coordinates(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps([stroke.tolist() for stroke in HOOK.strokes]))
    shown = Strokes(**PLAIN).shown(str(tmp_path / "a.json"))
    assert (shown[0], shown[10], shown[-1], len(shown)) == ("0 0", "0 100", "80 20", 17)
