"""Guesses at what a misspelt word was meant to be."""

import difflib
import re
from collections.abc import Callable, Iterable


def near(word: str, words: Iterable[str], cutoff: float = 0.6, n: int = 1) -> list[str]:
    """The words most like one, best first."""
    lower = {w.lower(): w for w in words}
    return [lower[w] for w in difflib.get_close_matches(word.lower(), lower, n=n, cutoff=cutoff)]


def did_you_mean(names: list[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""


def likeness(word: str, name: str) -> float:
    """How much a word is like a name, its beginning or one of its parts: `hiden` is like `hidden_size`."""
    word, name = word.lower(), name.lower()
    parts = [name, *(name.split("_") if "_" in name else ())][:4]
    return max(difflib.SequenceMatcher(None, word, part).ratio() - 0.05 * (part != name) for part in parts)


def nearest_keys(name: str, names: list[str], about: Callable[[str], str] = lambda name: "") -> list[str]:
    """What a wrong key may stand for: the same last word elsewhere, or a like name or meaning."""
    section, _, last = name.replace("/", ".").rpartition(".")
    if same := [n for n in names if n.rpartition(".")[2] == last]:
        return same[:3]

    def score(known: str) -> float:
        known_section, _, known_last = known.rpartition(".")
        meaning = re.split(r"[,;:(]", about(known))[0].strip().replace(" ", "_")
        return max(likeness(last, known_last), likeness(last, meaning) - 0.1) + 0.15 * (known_section == section)

    scores = {known: score(known) for known in names}
    best = max(scores.values(), default=0.0)
    return [known for known in names if scores[known] == best][:2] if best >= 0.8 else []
