"""Tunes in ABC notation: what notes they have (Walshaw: the ABC music standard 2.1), one voice, repeats left out."""

from __future__ import annotations

import re
from fractions import Fraction

from seqtrain.reading.midi import Music, Note

NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}  # semitones above C
ACCIDENTALS = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}
SHARPS = "FCGDAEB"  # in the order in which key signatures have them
MODES = {"": 0, "maj": 0, "ion": 0, "m": -3, "min": -3, "aeo": -3, "dor": -2, "mix": -1, "phr": -4, "lyd": 1, "loc": -5}
TUPLETS = {2: 3, 3: 2, 4: 3, 5: 2, 6: 2, 7: 2, 8: 3, 9: 2}  # so many notes in the time of how many
PITCH = r"(?:\^\^|\^|__|_|=)?[A-Ga-g][,']*"
LENGTH = r"\d*(?:/+\d*)?"
TOKENS = re.compile(
    rf"""
      (?P<skip>[\s`]+ | \\\s*$ | "[^"\n]*" | !(?:[^!\n]+!)? | \{{/?(?:{PITCH}{LENGTH}\s*)+\}} | [~.uvHJLMOPRST])
    | \[(?P<field>[A-Za-z]:[^\]\n]*)\]
    | (?P<bar>[|:]*\|[|:\]]* | :+ | \[\|)(?:\s*\[?[1-9](?:[,-][1-9])*)? | \[[1-9](?:[,-][1-9])*
    | \((?P<tuplet>[2-9])(?:::?[2-9]?)*
    | (?P<slur>[()])
    | (?P<tie>-)
    | (?P<note>{PITCH}|\[(?:{PITCH}{LENGTH}-?\s*)+\]|[zx])(?P<length>{LENGTH})\s*(?P<broken><+|>+)?
    """,
    re.VERBOSE | re.MULTILINE,
)


def tunes(text: str) -> list[str]:
    """The tunes of a file of several, each of which begins with X:."""
    parts = re.split(r"^(?=X:)", text.replace("\r\n", "\n").replace("\r", "\n"), flags=re.M)
    return [part for part in parts if part.startswith("X:")] or parts


def read_abc(text: str) -> Music:
    """The notes of a tune. Raises ValueError with the place of what is no ABC, or where there are no notes or no
    key."""
    tune = Tune()
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"%.*", "", line)
        try:
            if re.match(r"[A-Za-z]:", line):
                tune.field(line)
            else:
                tune.body(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    if tune.key is None:
        raise ValueError("it has no key: K:C, say, comes before the notes")
    if not tune.notes:
        raise ValueError("there are no notes in it")
    return Music(sorted(tune.notes), tune.tempo)


class Tune:
    """A tune as far as it is read: its notes, and what holds for those to come."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.time, self.tempo = Fraction(0), 120.0
        self.unit: Fraction | None = None  # of lengths, in quarter notes
        self.metre = Fraction(1)
        self.key: dict[str, int] | None = None  # accidentals by the names of notes
        self.altered: dict[str, int] = {}  # the same, in this bar, by name and octave
        self.tuplet, self.left = Fraction(1), 0  # how much shorter so many notes are
        self.later = Fraction(1)  # how much longer the next note is, after > or <
        self.last: dict[int, int] = {}  # the places of the newest notes, by pitch
        self.tied: dict[int, int] = {}  # of those that go on

    def field(self, line: str) -> None:
        """What a line such as K:G says; of most fields, nothing about notes."""
        name, value = line[0], line[2:].strip()
        if name == "K":
            self.key = signature(value)
        elif name == "M" and (found := re.match(r"(\d+)/(\d+)", value)):
            self.metre = fraction(*found.groups())
        elif name == "L" and (found := re.match(r"(\d+)/(\d+)", value)):
            self.unit = 4 * fraction(*found.groups())
        elif name == "Q" and (found := re.search(r"(?:(\d+)/(\d+)\s*=\s*)?(\d+)\s*$", value)):
            beat = 4 * fraction(found[1], found[2]) if found[1] else Fraction(1)
            self.tempo = min(max(float(beat * int(found[3])), 20.0), 400.0)

    def body(self, line: str) -> None:
        place = 0
        while place < len(line):
            match = TOKENS.match(line, place)
            if match is None or match.end() == place:
                raise ValueError(f"{line[place : place + 10]!r} is no ABC")
            if match["field"]:
                self.field(match["field"])
            elif match["bar"]:
                self.altered = {}
            elif match["tuplet"]:
                count = int(match["tuplet"])
                self.tuplet, self.left = Fraction(TUPLETS[count], count), count
            elif match["tie"]:
                self.tied = self.last
            elif match["note"]:
                self.note(match["note"], match["length"], match["broken"] or "")
            place = match.end()

    def note(self, text: str, length: str, broken: str) -> None:
        """A note, a chord or a rest."""
        unit = self.unit or (Fraction(1, 2) if self.metre >= Fraction(3, 4) else Fraction(1, 4))
        size = unit * scale(length) * self.later
        self.later = Fraction(1)
        if self.left:
            size, self.left = size * self.tuplet, self.left - 1
        if broken:
            short = Fraction(1, 2 ** len(broken))
            size, self.later = (
                size * ((2 - short) if broken[0] == ">" else short),
                short if broken[0] == ">" else 2 - short,
            )
        inner = re.findall(rf"({PITCH})({LENGTH})", text)
        before, self.tied, self.last = self.tied, {}, {}
        for name, own in inner:
            pitch, end = self.pitch(name), float(self.time + size * scale(own))
            if pitch in before:
                self.notes[before[pitch]] = self.notes[before[pitch]]._replace(end=end)
            else:
                self.notes.append(Note(float(self.time), end, pitch))
            self.last[pitch] = before.get(pitch, len(self.notes) - 1)
        if "-" in text:
            self.tied = self.last
        self.time += size * (scale(inner[0][1]) if inner and text[0] == "[" else 1)

    def pitch(self, text: str) -> int:
        """The MIDI number of a note."""
        sign, letter, octaves = re.fullmatch(r"([\^_=]*)(.)([,']*)", text).groups()  # pyright: ignore
        name = letter.upper()
        octave = 5 + letter.islower() + octaves.count("'") - octaves.count(",")
        if sign:
            self.altered[f"{name}{octave}"] = ACCIDENTALS[sign]
        shift = self.altered.get(f"{name}{octave}", (self.key or {}).get(name, 0))
        return min(max(12 * octave + NATURAL[name] + shift, 0), 127)


def fraction(above: str, below: str) -> Fraction:
    if not 0 < int(above) < 1000 or not 0 < int(below) < 1000:
        raise ValueError(f"{above}/{below} is no length")
    return Fraction(int(above), int(below))


def scale(length: str) -> Fraction:
    """How many units a note has: 3, /2, 3/2, or / for each half."""
    above, slashes, below = re.fullmatch(r"(\d*)(/*)(\d*)", length).groups()  # pyright: ignore
    return fraction(above or "1", below or str(2 ** len(slashes)) if slashes else "1")


def signature(value: str) -> dict[str, int]:
    """The accidentals of a key such as G, Em or D dorian."""
    match = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)", value)
    if match is None:
        return {}  # K:none, of pipes
    mode = match[3].lower()
    mode = mode if mode == "m" else mode[:3]
    fifths = SHARPS.index(match[1]) - 1 + 7 * {"": 0, "#": 1, "b": -1}[match[2]] + MODES.get(mode, 0)
    names = SHARPS[:fifths] if fifths >= 0 else SHARPS[::-1][:-fifths]
    return dict.fromkeys(names, 1 if fifths >= 0 else -1)
