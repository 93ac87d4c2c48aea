"""Pieces for four voices, composed by the rules of harmony: functions, cadences, voice leading, figures, form."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from functools import cache
from itertools import product
from random import Random
from typing import NamedTuple

import numpy as np

from seqtrain.data.kinds import KEYS, LOWEST, SPLITS, Piece, Roll, Source

STEPS = 2  # frames in a quarter note
RANGES = ((40, 60), (48, 66), (55, 72), (60, 78))  # MIDI numbers: bass, tenor, alto, soprano
MIDDLES = (50, 57, 64, 70)
VOICINGS = 32  # of a chord, those nearest to the middles of the voices
TEMPERATURE = 1.5  # of the choice between voicings
PERFECT = (0, 7)  # octaves and fifths, in semitones, which two voices must not form twice in a row

# Each chord: its pitch classes above the tonic, the bass first, and what may follow, with weights. Of a pitch class, ^
# says that it leads up by a semitone, v that it falls by a step; neither is doubled.
CHORDS = {
    "major": """
        I       0 4 7         > I6 2 IV 3 V 2 V65 1 VI 3 ii6 2 vii6 2 V7/IV 1 iii 1
        I6      4 0 7         > IV 3 ii6 3 V 1 vii6 1 ii65 1 I 1
        ii      2 5 9         > V 4 V7 3 V65 1 vii6 1 V42 1
        ii6     5 2 9         > V 4 V7 3 I64 2
        ii65    5 2 9 0v      > V 3 V7 3 I64 2
        iii     4 7 11        > VI 4 IV 3
        IV      5 9 0         > V 3 V7 1 ii6 2 I 2 I6 1 vii6 1 V65/V 1
        V       7 11^ 2       > I 5 VI 2 I6 1 V42 1 V65/VI 1
        V6      11^ 2 7       > I 5
        V65     11^ 2 5v 7    > I 5
        V7      7 11^ 2 5v    > I 5 VI 2
        V42     5v 7 11^ 2    > I6 1
        VI      9 0 4         > ii 2 ii6 2 IV 3 V 1 V65/V 1 iii 1
        vii6    2 5 11^       > I 3 I6 3
        I64     7 0 4         > V 2 V7 3
        V65/V   6^ 9 0v 2     > V 4 I64 1
        V7/IV   0 4^ 7 10v    > IV 4
        V65/VI  8^ 11 2v 4    > VI 4
    """,
    "minor": """
        I       0 3 7         > I6 2 IV 3 V 2 V65 1 VI 3 ii6 2 vii6 2 III 2 V7/IV 1
        I6      3 0 7         > IV 3 ii6 3 V 1 ii65 1 I 1
        ii6     5 2 8v        > V 4 V7 3 I64 2
        ii65    5 2 8v 0v     > V 3 V7 3 I64 2
        III     3 7 10        > VI 4 IV 2 VII 1
        IV      5 8 0         > V 3 V7 1 ii6 2 I 2 VII 1
        IV6     8v 5 0        > V 5
        N6      5 8 1v        > V 3 I64 2
        V       7 11^ 2       > I 5 VI 2 I6 1
        V65     11^ 2 5v 7    > I 5
        V7      7 11^ 2 5v    > I 5 VI 2
        VI      8 0 3         > ii6 3 IV 3 III 1 V 1 N6 2
        VII     10 2 5        > III 5
        vii6    2 5 11^       > I 3 I6 3
        vii7    11^ 2 5v 8v   > I 4
        I64     7 0 3         > V 2 V7 3
        V7/IV   0 4^ 7 10v    > IV 4 IV6 1
    """,
}
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
CADENCES = {  # the last chords of a phrase
    "authentic": ("I64 V7 I", "ii6 V7 I", "IV V I", "ii65 V I"),
    "half": ("I ii6 V", "I6 IV V", "VI ii65 V"),
    "deceptive": ("I64 V7 VI", "ii6 V VI"),
}
FORMS = ("A B A C", "A A' B A'", "A B C A'", "A B A' C")  # ' is a repetition that ends in the tonic
BARS = {4: ((1, 1, 1, 1), (2, 1, 1), (1, 1, 2), (2, 2)), 3: ((1, 1, 1), (2, 1), (1, 2))}  # quarter notes of chords
AREAS = {"major": (("major", 7), ("major", 5), ("minor", 9)), "minor": (("major", 3), ("minor", 7), ("minor", 5))}


Voicing = tuple[int, ...]  # MIDI numbers of the voices, lowest first


class Chord(NamedTuple):
    pitches: tuple[int, ...]  # the bass first
    rises: frozenset[int]
    falls: frozenset[int]
    next: tuple[str, ...]  # what may follow
    weights: tuple[float, ...]


class Area(NamedTuple):
    """A key within a piece: its mode, and its tonic in semitones above that of the piece."""

    mode: str
    tonic: int


class Phrase(NamedTuple):
    """Chords by their names, how many quarter notes each has, and which of its `voicings` it has."""

    area: Area
    chords: list[str]
    lengths: list[int]
    voicings: list[int]


class Voiced(NamedTuple):
    """A chord of a key by its name, and which of its `voicings` it has."""

    area: Area
    name: str
    voicing: int


class Style(NamedTuple):
    """How a phrase is adorned: the share of passing notes in each voice, the share of suspensions, and the seed of the
    random numbers that decide."""

    passing: tuple[float, ...]
    suspensions: float
    seed: float


@cache
def chords(mode: str) -> dict[str, Chord]:
    """The chords of a mode by their names. A line of CHORDS, `V7 7 11^ 2 5v > I 5 VI 2`, is a name, the pitch classes
    with their marks, and after > the chords that may follow, each with its weight."""
    found = {}
    for line in CHORDS[mode].strip().splitlines():
        chord, following = line.split(">")
        name, *pitches = chord.split()
        names_and_weights = following.split()
        found[name] = Chord(
            pitches=tuple(int(word.rstrip("^v")) for word in pitches),
            rises=frozenset(int(word[:-1]) for word in pitches if word.endswith("^")),
            falls=frozenset(int(word[:-1]) for word in pitches if word.endswith("v")),
            next=tuple(names_and_weights[::2]),
            weights=tuple(map(float, names_and_weights[1::2])),
        )
    return found


@cache
def voicings(area: Area, name: str) -> list[Voicing]:
    """Good ways to give a chord to the voices, lowest first, the most comfortable ones."""
    chord = chords(area.mode)[name]
    pitches = [(pitch + area.tonic) % 12 for pitch in chord.pitches]
    tendencies = [(pitch + area.tonic) % 12 for pitch in chord.rises | chord.falls]
    choices = [[note for note in range(low, high + 1) if note % 12 in pitches] for low, high in RANGES]
    choices[0] = [note for note in choices[0] if note % 12 == pitches[0]]
    found = []
    for voicing in product(*choices):
        bass, tenor, alto, soprano = voicing
        if bass < tenor < alto < soprano and soprano - alto <= 12 and alto - tenor <= 12:
            sounding = [note % 12 for note in voicing]
            if set(sounding) == set(pitches) and all(sounding.count(pitch) == 1 for pitch in tendencies):
                found.append(voicing)

    def strain(voicing: Voicing) -> int:
        return sum(abs(note - middle) for note, middle in zip(voicing, MIDDLES, strict=True))

    return sorted(found, key=strain)[:VOICINGS]


@cache
def odds(before: tuple[Area, str], after: tuple[Area, str]) -> list[list[float]]:
    """The cumulative probabilities of the voicings of a chord, given each of the chord before."""
    a, b = np.array(voicings(*before))[:, None], np.array(voicings(*after))[None]  # (N, 1, 4), (1, M, 4)
    moves = b - a
    area, chord = before[0], chords(before[0].mode)[before[1]]
    cost = np.abs(moves[..., 1:]).sum(-1) + 0.3 * np.abs(moves[..., 0]) + 6.0 * (np.abs(moves[..., 0]) > 12)
    cost += 1.5 * (moves[..., 3] == 0) + 4.0 * (np.abs(moves[..., 3]) > 5)  # a melody moves, by steps for the most part
    cost += ((b[..., 3] - MIDDLES[3]) / 6) ** 2 + ((b[..., 2] - b[..., 1]) > 9)
    for low in range(4):
        pitch = (a[..., low] - area.tonic) % 12
        astray = ~np.isin(moves[..., low], (0, 1)) & np.isin(pitch, list(chord.rises))
        astray |= ~np.isin(moves[..., low], (0, -1, -2)) & np.isin(pitch, list(chord.falls))
        cost += 16.0 * astray
        for high in range(low + 1, 4):
            interval = (a[..., high] - a[..., low]) % 12
            same = (interval == (b[..., high] - b[..., low]) % 12) & np.isin(interval, PERFECT)
            cost += 20.0 * (same & (moves[..., low] != 0))
    cost += 3.0 * ((moves > 0).all(-1) | (moves < 0).all(-1))
    weights = np.exp(-(cost - cost.min(1, keepdims=True)) / TEMPERATURE)
    return np.cumsum(weights / weights.sum(1, keepdims=True), 1).tolist()


@cache
def between(area: Area, here: int, there: int) -> int | None:
    """The note of the scale in the middle of a third; between equal notes the neighbour below; else none."""
    notes = {0: [here - 1, here - 2], 3: [here + 1, here + 2], 4: [here + 2], -3: [here - 1, here - 2], -4: [here - 2]}
    scale = [(step + area.tonic) % 12 for step in SCALES[area.mode]]
    return next((note for note in notes.get(there - here, ()) if note % 12 in scale), None)


class Composer:
    """Composes pieces, one after the other, by the random numbers of a seed."""

    def __init__(self, seed: str):
        self.random = Random(seed)

    def piece(self) -> np.ndarray:
        """(T, 4) MIDI numbers of the voices in each frame, in C or in C minor."""
        choice = self.random.choice
        metre, mode = choice((4, 4, 3)), choice(("major", "major", "minor"))
        home, away, phrases, found = Area(mode, 0), Area(*choice(AREAS[mode])), dict[str, Phrase](), list[Voicing]()
        styles = {name: self.style() for name in "ABC"}
        for name in choice(FORMS).split():
            if name not in phrases:
                if name[0] in phrases:
                    phrases[name] = self.closed(phrases[name[0]])
                else:
                    cadence = choice(("half", "half", "deceptive", "authentic")) if name == "A" else "authentic"
                    phrases[name] = self.phrase(away if name == "B" else home, metre, cadence, last_chord(phrases))
            found += figured(phrases[name], styles[name[0]])
        return np.array(found)

    def style(self) -> Style:
        """One voice is the liveliest."""
        lively = self.random.randrange(4)
        passing = tuple(0.8 if voice == lively else 0.1 for voice in range(4))
        return Style(passing, self.random.choice((0.0, 0.25, 0.6)), self.random.random())

    def phrase(self, area: Area, metre: int, cadence: str, before: Voiced | None) -> Phrase:
        """Four bars. before: the last chord before it, if any."""
        lengths = [*self.random.choice(BARS[metre]) * 3, metre]
        ending = self.random.choice(CADENCES[cadence]).split()
        free, known = len(lengths) - len(ending), chords(area.mode)
        names = ["I"]
        while len(names) < free or ending[0] not in (names[-1], *known[names[-1]].next):
            chord = known[names[-1]]
            names = ["I"] if len(names) == free else [*names, *self.random.choices(chord.next, chord.weights)]
        names += ending
        return Phrase(area, names, lengths, self.voiced(area, names, before))

    def closed(self, phrase: Phrase) -> Phrase:
        """The phrase again, with an ending in the tonic."""
        area, names, lengths, chosen = phrase
        ending = self.random.choice(CADENCES["authentic"]).split()
        kept = len(names) - len(ending)
        added = self.voiced(area, ending, Voiced(area, names[kept - 1], chosen[kept - 1]))
        return Phrase(area, [*names[:kept], *ending], lengths, [*chosen[:kept], *added])

    def voiced(self, area: Area, names: Sequence[str], before: Voiced | None) -> list[int]:
        """Which of its voicings each chord gets. before: the chord before the first one."""
        found = []
        for name in names:
            here, drawn = (area, name), self.random.random()
            last = len(voicings(*here)) - 1
            place = int(drawn * last) if before is None else bisect(odds(before[:2], here)[before.voicing], drawn)
            found.append(min(place, last))  # the probabilities may sum up to a little less than 1
            before = Voiced(area, name, found[-1])
        return found


def last_chord(phrases: dict[str, Phrase]) -> Voiced | None:
    """The last chord so far; None before the first phrase."""
    if not phrases:
        return None
    phrase = list(phrases.values())[-1]
    return Voiced(phrase.area, phrase.chords[-1], phrase.voicings[-1])


def figured(phrase: Phrase, style: Style) -> list[Voicing]:
    """The notes of a phrase in each frame. The same figures come with the same chords: their random numbers are those
    of the style."""
    draw, found = Random(style.seed).random, list[Voicing]()
    area, names, lengths, chosen = phrase
    voices = [voicings(area, name)[place] for name, place in zip(names, chosen, strict=True)]
    held: list[int] = []  # the voices that still have the note before
    for i, (here, length) in enumerate(zip(voices, lengths, strict=True)):
        first, last, next_held = list(here), list(here), list[int]()
        for voice in held:
            first[voice] = voices[i - 1][voice]
        there = voices[i + 1] if i + 1 < len(voices) else here
        for voice, (low, high) in enumerate(zip(here, there, strict=True)):
            passes, suspends = draw() < style.passing[voice], draw() < style.suspensions
            note = between(area, low, high) if i + 1 < len(voices) else None
            if passes and note and voice not in held:
                last[voice] = note
            elif suspends and voice and high - low in (-1, -2) and i + 2 < len(voices):
                next_held.append(voice)
        found += [tuple(first), *[here] * (STEPS * length - 2), tuple(last)]
        held = next_held
    return found


class PartWriting(Source[Piece]):
    """A `Piece` for four voices each: four phrases of four bars, in all keys, no two alike but for the key."""

    kind = "music"

    def __init__(self, size: int, valid_size: int, test_size: int, seed: int):
        seen, self.splits = set[bytes](), dict[str, list[Piece]]()
        for split, count in zip(SPLITS, (size, valid_size, test_size), strict=True):
            composer, pieces = Composer(f"{split} {seed}"), list[Piece]()
            while len(pieces) < count:
                voices = composer.piece()
                key, tempo = composer.random.randint(-5, 6), float(composer.random.randint(66, 104))
                if (content := voices.tobytes()) not in seen:
                    seen.add(content)
                    pieces.append(Piece(f"{split} {len(pieces) + 1}", Roll(frames(voices + key), STEPS, tempo)))
            self.splits[split] = pieces


def frames(voices: np.ndarray) -> np.ndarray:
    """(T, 88) which keys sound in each frame."""
    found = np.zeros((len(voices), KEYS), np.int8)
    np.put_along_axis(found, voices - LOWEST, 1, 1)
    return found
