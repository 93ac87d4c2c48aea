"""Guesses which word was meant by a misspelled one."""

import difflib
import re
from collections.abc import Callable, Iterable


def near(word: str, words: Iterable[str], cutoff: float = 0.6, n: int = 1) -> list[str]:
    """Returns up to `n` words that are similar to a word, the most similar first. cutoff: how similar, 0 to 1."""
    lower = {w.lower(): w for w in words}
    return [lower[w] for w in difflib.get_close_matches(word.lower(), lower, n=n, cutoff=cutoff)]


def did_you_mean(names: list[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""


def similarity(word: str, name: str) -> float:
    """Returns how similar a word is to a name or to one of the name's first three words, 0 to 1: `hiden` is similar to
    `hidden_size`."""
    word, name = word.lower(), name.lower()
    parts = name.split("_")[:3] if "_" in name else []

    def ratio(text: str) -> float:
        return difflib.SequenceMatcher(None, word, text).ratio()

    return max([ratio(name), *(ratio(part) - 0.05 for part in parts)])  # all of the name counts more than a part


def nearest_keys(name: str, names: list[str], about: Callable[[str], str] = lambda name: "") -> list[str]:
    """Returns the keys that may have been meant by a wrong one: those with the same last word in another section, or
    the two with the most similar last word or description.

    name: the wrong key, such as model.hiden_size. names: the right ones. about: gives the description of a right one.
    """
    section, _, last = name.replace("/", ".").rpartition(".")
    if same := [n for n in names if n.rpartition(".")[2] == last]:
        return same[:3]

    def score(key: str) -> float:
        key_section, _, key_last = key.rpartition(".")
        description = re.split(r"[,;:(]", about(key))[0].strip().replace(" ", "_")
        # A name counts a little more than a description, and a key of the same section more than others.
        best = max(similarity(last, key_last), similarity(last, description) - 0.1)
        return best + 0.15 * (key_section == section)

    scores = {key: score(key) for key in names}
    best = max(scores.values(), default=0.0)
    if best < 0.8:
        return []
    return [key for key in names if scores[key] == best][:2]
