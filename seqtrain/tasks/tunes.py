"""Tunes in ABC notation: a language model of their characters, which are heard as well as read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from seqtrain.config import UserError
from seqtrain.data.kinds import Document
from seqtrain.evaluation import synthesis
from seqtrain.evaluation.synthesis import Sound
from seqtrain.reading.abc import read_abc
from seqtrain.reading.midi import Music
from seqtrain.tasks.language_model import LanguageModel

SAMPLES = 64  # by which it is judged how many can be played


class Tunes(LanguageModel):
    """As generation, of tunes. A sample parses where every sign of it is ABC, and it has a key and notes."""

    kinds = ("abc",)

    def predictions(self, model: Any, examples: Any, totals: Any, decoder: Any) -> list[dict[str, Any]]:
        """Free samples."""
        answers = self.answers(model, [Document("")] * SAMPLES, decoder)
        return [{"prediction": answer["output"]} for answer in answers]

    def judge(self, train: Sequence[Document], predictions: list[dict[str, Any]]) -> dict[str, float]:
        seen = {tune.text.strip() for tune in train}
        outputs = [row["prediction"] for row in predictions]
        return {
            "parses": float(np.mean([heard(text) is not None for text in outputs])),
            "novel_samples": float(np.mean([text.strip() not in seen for text in outputs])),
        }

    def show(self, model: Any, examples: Any, totals: Any, decoder: Any) -> dict[str, Any]:
        shown = super().show(model, examples, totals, decoder)
        answers = self.answers(model, [Document("")] * 4, decoder)
        played = [music for answer in answers if (music := heard(answer["output"]))]
        return shown | {f"sample {i}": synthesis.of_music(music) for i, music in enumerate(played[:2], 1)}

    @property
    def files(self) -> dict[str, Callable[[str], bytes]]:
        def played(text: str) -> Sound:
            if (music := heard(text)) is None:
                raise UserError("output: this sample is no tune that can be played; another seed=… gives another")
            return synthesis.of_music(music)

        return {".wav": lambda text: played(text).wav(), ".mid": lambda text: played(text).files[".mid"]}


def heard(text: str) -> Music | None:
    """The notes of a tune that parses."""
    try:
        return read_abc(text)
    except ValueError:
        return None
