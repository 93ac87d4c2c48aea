"""Before the first step: whether each target has room, where a likelihood aligns it with the positions there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

import numpy as np
import torch

from seqtrain.config import UserError
from seqtrain.engine.loader import Loader
from seqtrain.engine.streaming import Streaming

BLOCK = 1000  # targets


def check_room(model: Any, loaders: Mapping[str, Loader | Streaming]) -> Iterator[str]:
    """Yields a line for each split with targets that need more positions than there are, which its loss leaves out.
    Raises `UserError` where these are most of the training targets."""
    if not model.spec.likelihood.aligns:
        return
    for split, loader in loaders.items():
        examples: Any = loader.examples
        rows = np.arange(len(examples.sizes))
        blocks = np.array_split(rows, 1 + len(rows) // BLOCK)
        needed = np.concatenate([model.spec.likelihood.needed(*examples.written(some)[1:]).numpy() for some in blocks])
        room = model.room(torch.from_numpy(examples.sizes[:, 0])).numpy()
        if short := int((needed > room).sum()):
            enough = ceil(model.upsample * float((needed / np.maximum(room, 1)).max()))
            problem = (
                f"{short:,} of {len(rows):,} {split} targets need more positions than are left of their sources, and "
                f"count as zero in the loss: model.upsample={enough} makes room for all, and so may a frontend that "
                "shortens less"
            )
            if split == "train" and 2 * short > len(rows):
                raise UserError(f"data: {problem}")
            yield problem
