"""Text in figures: finds fonts for any script, and makes texts labels of one line without invisible characters."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.font_manager import FontEntry

log = logging.getLogger(__name__)
MAX_LENGTH = 40  # characters of a label
SYMBOLS = {" ": "␣", "\n": "⏎", "\t": "⇥"}
JOINERS = "\u200c\u200d"  # invisible, but needed between letters of Indian scripts and Arabic
PREFERRED = ("DejaVu Sans", "Noto Sans CJK JP", "Arial Unicode MS", "Malgun Gothic", "Nirmala UI")
BLANK = ("Last Resort", "LastResort", "Blank", "Color Emoji")  # fonts that list characters which they do not draw
EAST_ASIAN = {"Cjk", "Hiragana", "Katakana", "Hangul", "Bopomofo", "Fullwidth", "Halfwidth", "Ideographic"}


def legible(texts: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Returns the texts as labels of a figure, and the properties to draw them with: the font families that they need.

    A character that no font has is written as its escape, such as \\u0906; which fonts are missing is logged once.
    """
    lines = [as_label(text) for text in texts]
    families = {character: family(character) for character in sorted(set("".join(lines)))}
    log_missing([character for character, name in families.items() if name is None])
    lines = ["".join(c if families[c] else escape(c) for c in line) for line in lines]
    names = [name for name in families.values() if name]
    return lines, {"family": list(dict.fromkeys(["DejaVu Sans", *names])), "parse_math": False}


def as_label(text: str) -> str:
    """Returns a text on one line of at most `MAX_LENGTH` characters, none of them invisible."""
    if len(text) > MAX_LENGTH:
        text = f"{text[: MAX_LENGTH - 1]}…"
    return "".join(visible(character, len(text) == 1) for character in text)


def visible(character: str, alone: bool) -> str:
    """Returns what to draw for a character. alone: whether it is the whole text, so that a space has to be seen."""
    if not alone and character in JOINERS:
        return character
    if not alone and unicodedata.category(character) == "Zs":
        return " "
    if character.isprintable() and character != " ":
        return character
    return SYMBOLS.get(character) or escape(character)


def escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def script(character: str) -> str:
    """Returns the script of a character as font names spell it, such as Devanagari."""
    name = unicodedata.name(character, "unknown").split()[0].title()
    if name in EAST_ASIAN:
        return "CJK"
    return "Symbols" if unicodedata.category(character)[0] == "S" else name


# ---------------------------------------------------------------------------------------- the fonts of the system


@cache
def family(character: str) -> str | None:
    """Returns the first font family that has a character; None where no font has it."""
    for entry in by_script(script(character)):
        if ord(character) in code_points(entry.fname, entry.index):
            return entry.name
    return None


@cache
def by_script(name: str) -> list[FontEntry]:
    """Returns all fonts; those that most probably have a script come first."""

    def rank(entry: FontEntry) -> tuple[Any, ...]:
        preference = PREFERRED.index(entry.name) if entry.name in PREFERRED else len(PREFERRED)
        return preference, name not in entry.name, "Sans" not in entry.name, entry.name

    return sorted(installed(), key=rank)


@cache
def installed() -> list[FontEntry]:
    """Returns the regular font of each family, also of fonts that were installed after matplotlib made its list."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.font_manager import findSystemFonts, fontManager

    for file in sorted(set(findSystemFonts()) - {entry.fname for entry in fontManager.ttflist}):
        try:
            fontManager.addfont(file)
        except Exception:  # a damaged font, or one that matplotlib cannot draw
            continue
    by_family: dict[str, FontEntry] = {}
    for entry in sorted(fontManager.ttflist, key=irregularity):
        if not any(word in entry.name for word in BLANK):
            by_family.setdefault(entry.name, entry)
    return list(by_family.values())


def irregularity(entry: FontEntry) -> tuple[Any, ...]:
    """Returns a key that sorts the regular font of a family (upright, normal width, weight 400) before the others."""
    weight = entry.weight if isinstance(entry.weight, int) else 400
    return entry.style != "normal", entry.stretch != "normal", abs(weight - 400), entry.fname


@cache
def code_points(file: str, face: int) -> np.ndarray:
    """Returns the code points that a font has, (N,); none where its file is missing or damaged."""
    from matplotlib.font_manager import FontPath, get_font

    try:
        charmap = get_font(FontPath(file, face)).get_charmap()
    except Exception:
        charmap = {}
    return np.fromiter(charmap, np.int64, len(charmap))


# ---------------------------------------------------------------------------------------- what is missing

logged: set[str] = set()  # scripts whose missing fonts have been logged


def log_missing(characters: Sequence[str]) -> None:
    """Logs the scripts of characters that no font has, each script once."""
    examples = {script(character): character for character in characters}
    new = sorted(examples.keys() - logged)
    logged.update(new)
    if new:
        log.warning("figures: no font here draws %s; the letters stand there as their numbers, such as %s; to see them "
                    "install %s", ", ".join(new), escape(examples[new[0]]), ", ".join(map(cure, new)))  # fmt: skip


def cure(name: str) -> str:
    """Returns the font to install for a script, and the package of Debian and Ubuntu that has it."""
    if name == "Symbols":
        return "Symbola (fonts-symbola)"
    return f"Noto Sans {name} ({'fonts-noto-cjk' if name == 'CJK' else 'fonts-noto-core'})"
