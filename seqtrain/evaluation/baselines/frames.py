"""Baselines of piano rolls: what sounds goes on, and n-grams of frames."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int

from seqtrain.evaluation.baselines.ngrams import BEGIN, CharNgram

FIRST = 0x10000  # the character of the first frame; there is room for a million
UNSEEN = chr(FIRST - 1)
Frames = Int[np.ndarray, "_ H"]


class FrameRepeated:
    """The frame before comes again: each key keeps its state with the probability that this had in training, where all
    keys are alike."""

    def fit(self, pieces: Iterable[Frames]) -> FrameRepeated:
        counts = np.ones((2, 2))  # of what was, and what is; one each, so that nothing is impossible
        for frames in pieces:
            np.add.at(counts, (frames[:-1], frames[1:]), 1)
        self.nats = -np.log(counts / counts.sum(1, keepdims=True))
        return self

    def losses(self, frames: Frames) -> Float[np.ndarray, " _"]:
        """-log p of each frame but the first."""
        return self.nats[frames[:-1], frames[1:]].sum(1)

    def best(self, frames: Frames) -> Frames:
        """The most probable frames but the first."""
        return frames[:-1]


class FrameNgram:
    """A `CharNgram` of which each different frame is an item. Below its unigram stands not a uniform distribution but
    `FrameRepeated`, which has a probability for every frame, also for one that training has not seen."""

    def __init__(self, order: int):
        self.model = CharNgram(order)

    def fit(self, pieces: list[Frames]) -> FrameNgram:
        self.below = FrameRepeated().fit(pieces)
        self.ids: dict[bytes, str] = {}
        for frames in pieces:
            for frame in frames.astype(np.int8):
                self.ids.setdefault(frame.tobytes(), chr(FIRST + len(self.ids)))
        self.model.fit(map(self.items, pieces))
        self.follows: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for gram, count in self.model.grams.items():
            self.follows[gram[:-1]][gram[-1]] += count
        return self

    def items(self, frames: Frames) -> str:
        return "".join(self.ids.get(frame.tobytes(), UNSEEN) for frame in frames.astype(np.int8))

    def contexts(self, items: str) -> list[str]:
        """What stands before each item but the first."""
        size = self.model.order - 1
        return [(BEGIN * size + items[:i])[-size:] for i in range(1, len(items))]

    def losses(self, frames: Frames) -> Float[np.ndarray, " _"]:
        items = self.items(frames)
        below = np.exp(-self.below.losses(frames))
        return np.array(
            [
                -math.log(self.model.probability(context, item, least))
                for context, item, least in zip(self.contexts(items), items[1:], below, strict=True)
            ]
        )

    def best(self, frames: Frames) -> Frames:
        """The most frequent frame behind the longest context that training has seen."""
        found, frame_of = [], {item: np.frombuffer(name, np.int8) for name, item in self.ids.items()}
        for context in self.contexts(self.items(frames)):
            seen = next(context[i:] for i in range(len(context) + 1) if context[i:] in self.follows)
            found.append(frame_of[self.follows[seen].most_common(1)[0][0]])
        return np.array(found, np.int8).reshape(-1, frames.shape[1])
