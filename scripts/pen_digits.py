"""Writes seqtrain/data/pen_digits.npz, which data=pen_digits reads, from the public set: python scripts/pen_digits.py

Each stroke keeps the points that a line through them needs to stay within 4 units of the tablet, which is 500 units
wide; a digit is about 170 high (Ramer 1972; Douglas & Peucker 1973). What is kept is rounded to 3 units.

x, y: (points,) from point to point, to the right and downwards, through all digits. points: (strokes,) how many each
stroke has. strokes, digits, writers: (digits,) how many strokes each digit has, which it is, and who wrote it: 1 to 30,
and those of the test 31 to 44.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqtrain.data.pendigits import Pendigits

FILE = Path(__file__).parents[1] / "seqtrain" / "data" / "pen_digits.npz"
TOLERANCE, UNIT = 4.0, 3.0


def simplified(points: np.ndarray) -> np.ndarray:
    """The ends of a stroke (N, 2), and between them, of every part, the point farthest from its line."""
    if len(points) < 3:
        return points
    first, line = points[0], points[-1] - points[0]
    share = np.clip((points - first) @ line / max(line @ line, 1e-9), 0, 1)
    distances = np.hypot(*(points - first - share[:, None] * line).T)
    middle = int(distances.argmax())
    if distances[middle] <= TOLERANCE:
        return points[[0, -1]]
    return np.concatenate([simplified(points[: middle + 1])[:-1], simplified(points[middle:])])


def main() -> None:
    source = Pendigits(1, 1, None, 0)
    digits = [
        (one.digit, one.writer + 30 * test, [np.rint(simplified(stroke) / UNIT) for stroke in one.strokes])
        for test in (False, True)
        for one in source.digits(test)
    ]
    strokes = [stroke for _, _, some in digits for stroke in some]
    steps = np.diff(np.concatenate(strokes), axis=0, prepend=0).astype(np.int16)
    np.savez_compressed(
        FILE,
        x=steps[:, 0],
        y=steps[:, 1],
        points=np.array([len(stroke) for stroke in strokes], np.uint8),
        strokes=np.array([len(some) for _, _, some in digits], np.uint8),
        digits=np.array([digit for digit, _, _ in digits], np.uint8),
        writers=np.array([writer for _, writer, _ in digits], np.uint8),
    )
    print(f"{FILE.name}: {len(digits):,} digits, {len(steps):,} points, {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
