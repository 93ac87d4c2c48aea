"""Handwriting: strokes of a pen, or the image of a line, become the text that is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqtrain.codecs.line_image import PixelColumns
from seqtrain.codecs.strokes import Strokes
from seqtrain.evaluation import plots
from seqtrain.tasks.transcription import Transcription


class Handwriting(Transcription):
    """Learns p(text | strokes), of their points, or p(text | image), of its columns."""

    kinds = ("strokes", "line_images")

    def __init__(
        self,
        strokes: dict[str, Any],
        image: dict[str, Any],
        tokenizer: dict[str, Any],
        label_smoothing: float,
        monitor: str,
    ):
        sources = {"strokes": Strokes(**strokes), "line_images": PixelColumns(**image)}
        super().__init__(sources, tokenizer, label_smoothing, monitor)

    def draw(self, record: Any, output: str, sources: list[str], targets: list[str], weights: np.ndarray) -> Any:
        caption = self.caption(record, output)
        if self.kind == "strokes":
            points, ends = self.source.points(self.source.load(record.ink))
            return plots.written(points, ends, targets, weights, caption)
        columns = self.source.channels(self.source.read(record.image))
        return plots.transcript(1 - columns, targets, weights, caption, None)
