"""Forecasts of time series. Beside run.py; needs numpy alone."""

import numpy as np


def forecasts(run, values, source, horizon):
    """The next `horizon` values of histories (B, S, C), NaN where missing: a list each.

    run: source (B, S', F), lengths (B,), inputs (B, T', F) -> [scores]. source: what the model has learned of its
    series."""
    size, segment = source["context"], source["segment"]
    mean, offset, scale = (np.array(source[name]) for name in ("mean", "offset", "deviation"))
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(size)[:, None]), 1)
    filled = np.where(last < 0, mean, np.take_along_axis(values, np.maximum(last, 0), 1))
    offset = filled[:, -1:] if source["window"] else offset
    parts = [(filled - offset) / scale, *[np.isnan(values)] * source["flagged"]]
    folded = [part.reshape(len(part), size // segment, -1) for part in parts]
    inputs = np.zeros((len(values), horizon // segment, folded[0].shape[2]), np.float32)
    inputs[:, 0] = folded[0][:, -1]
    positions = np.concatenate(folded, -1).astype(np.float32)
    (scores,) = run(positions, np.full(len(values), size // segment), inputs)
    made = scores.reshape(len(values), horizon, -1) * scale + offset
    digits = np.maximum(0, 6 - np.floor(np.log10(scale)).astype(int))
    made = np.vectorize(round, otypes=[float])(made, np.broadcast_to(digits, made.shape))
    return [rows[:, 0].tolist() if rows.shape[1] == 1 else rows.tolist() for rows in made]
