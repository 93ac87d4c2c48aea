"""Generation: texts, or texts of a given kind, written by a language model."""

from __future__ import annotations

from seqtrain.tasks.language_model import LanguageModel


class Generation(LanguageModel):
    """Learns p(text), or p(text | label)."""

    kinds = ("text", "labelled")
