"""Speech: a recording becomes the text that is spoken in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqtrain.codecs.sound import HOP, LogMel
from seqtrain.evaluation import plots
from seqtrain.tasks.transcription import Transcription


class Speech(Transcription):
    """Learns p(text | recording), of the frames of a log-mel spectrogram."""

    kinds = ("recordings",)

    def __init__(self, sound: dict[str, Any], tokenizer: dict[str, Any], label_smoothing: float, monitor: str):
        super().__init__({"recordings": LogMel(**sound)}, tokenizer, label_smoothing, monitor)

    def draw(self, record: Any, output: str, sources: list[str], targets: list[str], weights: np.ndarray) -> Any:
        frames = self.source.channels(self.source.read(record.sound))
        return plots.transcript(frames, targets, weights, self.caption(record, output), HOP)
