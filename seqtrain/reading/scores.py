"""The user's files of music, MIDI and ABC, as piano rolls and as texts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from seqtrain.config import UserError
from seqtrain.data.kinds import KEYS, LOWEST, Roll
from seqtrain.reading.abc import read_abc, tunes
from seqtrain.reading.files import content, ending, find, read_utf8
from seqtrain.reading.midi import Music, Note, read_midi
from seqtrain.reading.splits import by_ratio, check_shares

MIDI, ABC = (".mid", ".midi"), (".abc",)
MOST = 200_000  # frames of a piece: several hours
KEPT = ("M:", "K:", "L:")  # fields of a tune that say how its notes are read
T = TypeVar("T")


def read_rolls(name: str, setting: str, steps: int) -> list[Roll]:
    """The pieces of a file: one of MIDI, the tunes of ABC. steps: frames in a quarter note."""
    file = find(name, setting)
    try:
        if ending(name) in ABC:
            return [to_roll(read_abc(tune), steps) for tune in read_tunes(name, setting)]
        return [to_roll(read_midi(bytes(content(file, name))), steps)]
    except ValueError as error:
        raise UserError(f"{name}: {error}; mend the file, or leave it out") from None


def read_tunes(name: str, setting: str) -> list[str]:
    """The tunes of an ABC file, as texts."""
    find(name, setting)
    try:
        return tunes(bytes(read_utf8(name, name, "utf-8")).decode())
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise UserError(f"{name}, line {line}: this is not UTF-8; save the file as UTF-8") from None


def bare(tune: str) -> str:
    """What an ABC tune says of metre, unit length and key, and its notes, without titles and other remarks."""
    lines = (re.sub(r"%.*", "", line).rstrip() for line in tune.splitlines())
    return "\n".join(line for line in lines if (line and not re.match(r"[A-Za-z]:", line)) or line[:2] in KEPT) + "\n"


def to_roll(music: Music, steps: int) -> Roll:
    """Which keys sound in each frame, from the first note on. A note has at least one frame; those that no piano has
    are left out. Raises ValueError where no others are there, or the piece is too long."""
    notes = [note for note in music.notes if 0 <= note.pitch - LOWEST < KEYS]
    if not notes:
        raise ValueError("no note of it is on a piano, A0 to C8")
    first = round(notes[0].begin * steps)
    spans = [(round(note.begin * steps) - first, round(note.end * steps) - first) for note in notes]
    length = max(max(begin + 1, end) for begin, end in spans)
    if length > MOST:
        raise ValueError(f"{length:,} frames at data.steps={steps}; expected at most {MOST:,}: cut the piece")
    frames = np.zeros((max(length, 2), KEYS), np.int8)
    for note, (begin, end) in zip(notes, spans, strict=True):
        frames[begin : max(begin + 1, end), note.pitch - LOWEST] = 1
    return Roll(frames, steps, music.tempo)


def to_notes(frames: np.ndarray, steps: int) -> list[Note]:
    """The notes of a piano roll: each run of frames in which a key sounds is one."""
    silence = np.zeros((1, frames.shape[1]), np.int8)
    changes = np.diff(np.concatenate([silence, (frames > 0).astype(np.int8), silence]), axis=0).T  # (88, T + 1)
    begins, ends = np.argwhere(changes > 0), np.argwhere(changes < 0)
    return sorted(
        Note(begin / steps, end / steps, LOWEST + key)
        for (key, begin), (_, end) in zip(begins.tolist(), ends.tolist(), strict=True)
    )


def split(
    read: Callable[[str, str], list[T]],
    content: Callable[[T], bytes],
    files: Mapping[str, Sequence[str] | None],
    shares: Mapping[str, float],
    seed: int,
) -> dict[str, list[T]]:
    """The pieces of each split. read: those of a file, named by a setting. files: those of the splits that have some;
    the others are shares of the different pieces in train, chosen by `seed`. content: what copies have in common."""
    given = {
        name: [piece for file in some for piece in read(file, f"data.{name}")] for name, some in files.items() if some
    }
    shares = {name: share * (name not in given) for name, share in shares.items()}
    if not any(shares.values()):
        return given
    check_shares(**shares)
    digests = (hashlib.blake2b(content(piece), digest_size=8).digest() for piece in given["train"])
    groups = np.array([int.from_bytes(digest) for digest in digests], np.uint64)
    chosen = by_ratio(groups, shares["valid"], shares["test"], seed)
    made = {
        name: [given["train"][i] for i in rows] for name, rows in chosen.items() if name not in given or name == "train"
    }
    if empty := [name for name, pieces in made.items() if not pieces]:
        raise UserError(f"data.train: {len(np.unique(groups)):,} different pieces are too few to make splits of; give "
                        f"more, or {' '.join(f'data.{name}=FILES' for name in empty)}")  # fmt: skip
    return given | made
