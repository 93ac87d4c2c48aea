"""Splits texts into words by the rules of Unicode, and joins words with the spaces that are usual in training texts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import regex

# After Unicode's word boundaries (UAX 29): a letter keeps its marks and joiners, a word its apostrophe. What is written
# without spaces (Han, Hiragana, South East Asia) is cut into graphemes, as are all other signs.
_ALONE = r"\p{Han}\p{Hiragana}\p{Line_Break=SA}"
_FIRST = rf"[[\p{{L}}\p{{N}}_]--[{_ALONE}]]"
_NEXT = rf"[[\p{{L}}\p{{N}}\p{{M}}_\u200c\u200d]--[{_ALONE}]]"
_WORDS = regex.compile(rf"(?V1){_FIRST}{_NEXT}*+(?:['’]{_FIRST}{_NEXT}*+)?|\X")
_KINDS = {
    name: regex.compile(rf"(?V1){first}") for name, first in (("0", r"\p{N}"), ("字", f"[{_ALONE}]"), ("a", _FIRST))
}
_SPACES, _NO_BLANK = re.compile(r"(\s+)"), re.compile(r"[^\S ]")
UNKNOWN = "<unk>"
CACHED = 2**16  # runs of signs between spaces whose words are remembered


@lru_cache(CACHED)
def _words_of(run: str) -> tuple[str, ...]:
    return tuple(_WORDS.findall(run))


@lru_cache(CACHED)
def _kind(word: str) -> str:
    """Returns the kind of a word, on which the spaces beside it depend: "0" for numbers, "字" for scripts without
    spaces, "a" for other letters, or the punctuation mark itself."""
    return "a" if word == UNKNOWN else next((name for name, first in _KINDS.items() if first.match(word)), word)


def words(text: str) -> Iterator[str]:
    """Yields the words of a text, without the spaces between them."""
    for run in text.split():
        yield from _words_of(run)


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Yields each run of characters without spaces as (space before it, run); at the end (last space, "")."""
    if not _NO_BLANK.search(text):  # only blanks, as in most texts: faster
        space = ""
        for run in text.split(" "):
            if run:
                yield space, run
                space = " "
            else:
                space += " "
        yield space[:-1], ""
        return
    parts = _SPACES.split(text)  # run, space, run, …, run; the first and the last may be empty
    parts = parts[1:] if not parts[0] else ["", *parts]
    yield from zip(parts[::2], parts[1::2], strict=True)
    if parts[-1]:
        yield "", ""


class _Usual(dict[tuple[str, str], str]):
    """{(kind left, kind right): usual space}. For pairs that were not learned: a blank between words, nothing at the
    ends of a text."""

    def __missing__(self, kinds: tuple[str, str]) -> str:
        self[kinds] = " " if all(kinds) else ""
        return self[kinds]


class Spacing:
    """Splits texts into words and joins words into texts. The space between two words is the one that is most frequent
    in training between words of their kinds; any other space is an item, so that nothing gets lost.

    usual: triples (kind left, kind right, space) that differ from the default: a blank between words, nothing at the
    ends of a text, where the kind is "". spaces: the spaces that can be items.
    """

    def __init__(self, usual: Iterable[Sequence[str]], spaces: Iterable[str]):
        self.usual = _Usual({(left, right): space for left, right, space in usual})
        self.spaces = frozenset(spaces)
        self.inside: Callable[[str], tuple[str, list[str], str]] = lru_cache(CACHED)(self._inside)

    @classmethod
    def learn(cls, texts: Iterable[str]) -> tuple[list[tuple[str, str, str]], Counter[str]]:
        """Returns the triples `usual` of training texts, and how often each word and each unusual space occurs."""
        seen: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        counts: Counter[str] = Counter()
        for text in texts:
            before = ""
            for space, run in _runs(text):
                found = _words_of(run)
                counts.update(found)
                for word in found or ("",):
                    seen[before, after := _kind(word)][space] += 1
                    before, space = after, ""
        usual = {pair: max(spaces, key=lambda space: (spaces[space], space)) for pair, spaces in seen.items()}
        for pair, spaces in seen.items():
            counts.update({space: n for space, n in spaces.items() if space != usual[pair]})
        plain = _Usual()
        return [(*pair, space) for pair, space in sorted(usual.items()) if space != plain[pair]], counts

    def cut(self, text: str) -> list[str]:
        """Splits a text into words and unusual spaces."""
        items, before = [], ""
        inside, usual, spaces = self.inside, self.usual, self.spaces  # local names are faster in this loop
        for space, run in _runs(text):
            first, found, last = inside(run)
            if space != usual[before, first] and space in spaces:
                items.append(space)
            items += found
            before = last
        return items

    def _inside(self, run: str) -> tuple[str, list[str], str]:
        """Returns the kind of the first word of a run, the items of the run, and the kind of its last word."""
        found = _words_of(run)
        if not found:
            return "", [], ""
        items = [found[0]]
        for left, right in pairwise(found):
            if self.usual[_kind(left), _kind(right)] and "" in self.spaces:
                items.append("")
            items.append(right)
        return _kind(found[0]), items, _kind(found[-1])

    def join(self, items: Iterable[str]) -> str:
        """Joins words and unusual spaces into a text."""
        parts, before, unusual = [], "", None
        for item in (*items, None):
            if item is not None and (not item or item.isspace()):
                unusual = item
                continue
            after = "" if item is None else _kind(item)
            parts += [self.usual[before, after] if unusual is None else unusual, item or ""]
            before, unusual = after, None
        return "".join(parts)
