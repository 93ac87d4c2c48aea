"""Strokes of a pen as positions: where ink becomes numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from seqtrain.codecs.signal import Signal
from seqtrain.config import UserError
from seqtrain.data.kinds import Ink
from seqtrain.reading.files import PIPED
from seqtrain.reading.ink import decode, read_ink

FLATTEST = 40  # widths of a line of writing that count as its height where it is flatter, as a dash is


class Strokes(Signal):
    """Each point is how far the pen has come since the one before, (dx, dy), whether it leaves the paper there, and how
    high on the line it is, all as shares of the height of the line (after Graves 2013, arXiv:1308.0850).

    spacing: from point to point along a stroke; None: points are kept as they are. longest: points of a line. In
    training, a line is slanted by up to `slant`, widened and heightened by a share of up to `stretch`, and turned by up
    to `turn` radians.
    """

    endings = (".inkml", ".unp")

    def __init__(self, spacing: float | None, longest: int, slant: float, stretch: float, turn: float):
        super().__init__()
        self.spacing, self.longest = spacing, longest
        self.slant, self.stretch, self.turn = slant, stretch, turn

    @property
    def settings(self) -> list[Any]:
        return [self.spacing, self.longest]

    def load(self, line: Ink | str | bytes) -> Ink:
        if isinstance(line, bytes):
            return decode(line, PIPED)
        return read_ink(line) if isinstance(line, str) else line

    def read(self, value: Ink | str) -> Float[np.ndarray, "N 3"]:
        """Points (x, y), and 1 where a stroke ends."""
        ink = self.load(value)
        points, ends = self.points(ink)
        return np.column_stack([(points - bounds(ink.strokes)[0]) / line_height(ink.strokes), ends]).astype(np.float32)

    def points(self, ink: Ink) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, " N"]]:
        """The points that are kept, in the unit of the ink, and 1 where a stroke ends."""
        strokes, step = ink.strokes, (self.spacing or 0) * line_height(ink.strokes)
        counts = [1 + int(np.ceil(length(stroke) / step)) if step else len(stroke) for stroke in strokes]
        if sum(counts) > self.longest:
            raise UserError(
                f"{ink.name}: {sum(counts):,} points; at most {self.longest:,} are read (strokes.longest): cut it into "
                "lines"
            )
        if step:
            strokes = [resampled(stroke, count) for stroke, count in zip(strokes, counts, strict=True)]
        ends = np.zeros(sum(counts))
        ends[np.cumsum(counts) - 1] = 1
        return np.concatenate(strokes), ends

    def shown(self, value: Ink | str) -> list[str]:
        return [f"{x:g} {y:g}" for x, y in self.points(self.load(value))[0].round(1).tolist()]

    def channels(
        self, kept: Float[np.ndarray, "N 3"], random: np.random.Generator | None = None
    ) -> Float[np.ndarray, "N 4"]:
        points = kept[:, :2] - np.array([0, 0.5], np.float32)
        if random is not None:
            points = points @ changed(random, self.slant, self.stretch, self.turn)
        steps = np.diff(points, axis=0, prepend=points[:1])
        return np.column_stack([steps, kept[:, 2], points[:, 1]])


def changed(random: np.random.Generator, slant: float, stretch: float, turn: float) -> Float[np.ndarray, "2 2"]:
    """A random map of points (x, y), as a matrix that they are multiplied with."""
    angle = random.uniform(-turn, turn)
    slanted = np.array([[1, 0], [random.uniform(-slant, slant), 1]])
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (np.diag(random.uniform(1 - stretch, 1 + stretch, 2)) @ slanted @ turned).astype(np.float32)


def bounds(strokes: Sequence[np.ndarray]) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """The least and the greatest x and y."""
    points = np.concatenate(strokes)
    return points.min(0), points.max(0)


def line_height(strokes: Sequence[np.ndarray]) -> float:
    """How high a line of writing is; 1 where it is a single point."""
    low, high = bounds(strokes)
    size = high - low
    return max(float(size[1]), float(size[0]) / FLATTEST) or 1.0


def length(stroke: Float[np.ndarray, "N 2"]) -> float:
    return float(np.hypot(*np.diff(stroke, axis=0).T).sum())


def resampled(stroke: Float[np.ndarray, "N 2"], count: int) -> Float[np.ndarray, "M 2"]:
    """So many points along a stroke, equally far from each other."""
    way = np.concatenate([[0.0], np.hypot(*np.diff(stroke, axis=0).T).cumsum()])
    places = np.linspace(0, way[-1], count)
    return np.stack([np.interp(places, way, channel) for channel in stroke.T], 1)
