"""MIDI files: the notes in them, and notes as such a file (Standard MIDI Files 1.0, RP-001)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

DIVISION = 480  # ticks in a quarter note of what is written
DRUMS = 9  # the channel whose notes are no pitches
MOST = 10_000_000  # bytes: a long concert has a tenth of that
NOTE_OFF, NOTE_ON, PROGRAM, META = 0x80, 0x90, 0xC0, 0xFF
TEMPO, END = 0x51, 0x2F  # kinds of meta events
SIZES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}  # bytes of data by the kind of event


class Note(NamedTuple):
    """begin, end: in quarter notes. pitch: its MIDI number, 60 for the middle C."""

    begin: float
    end: float
    pitch: int


class Music(NamedTuple):
    """Notes in the order of their beginnings, and quarter notes in a minute, where they begin."""

    notes: list[Note]
    tempo: float


class Reader:
    """Bytes, one after the other. Raises ValueError where there are no more."""

    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    def take(self, size: int) -> bytes:
        part = self.data[self.place : self.place + size]
        if len(part) < size:
            raise ValueError(
                f"it is cut off: {size} bytes are expected at byte {self.place:,}, and {len(part)} are there"
            )
        self.place += size
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """A number of variable length: seven bits a byte, as long as the eighth is 1."""
        value = 0
        for _ in range(4):
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise ValueError(f"a number at byte {self.place:,} has no end")

    def chunk(self) -> tuple[bytes, bytes]:
        """The name and the content of a part of the file."""
        name, size = self.take(4), int.from_bytes(self.take(4))
        return name, self.take(size)


def read_midi(data: bytes) -> Music:
    """The notes of all tracks but drums. Raises ValueError for what is no whole MIDI file, or has no notes."""
    if data[:4] != b"MThd":
        raise ValueError("it is empty" if not data else "this is no MIDI file: one begins with MThd")
    if len(data) > MOST:
        raise ValueError(f"{len(data):,} bytes; expected at most {MOST:,}")
    reader = Reader(data)
    _, tracks, division = struct.unpack(">HHH", reader.chunk()[1][:6].ljust(6, b"\0"))
    if not 0 < division < 0x8000:
        raise ValueError("its times are seconds, not parts of a quarter note; save it with ticks per beat")
    notes: list[Note] = []
    tempos: list[tuple[int, float]] = []
    while tracks and reader.place < len(data):
        name, content = reader.chunk()
        if name == b"MTrk":
            tracks -= 1
            notes += track(Reader(content), division, tempos)
    if tracks:
        raise ValueError(f"it is cut off: {tracks} of its tracks are missing")
    if not notes:
        raise ValueError("there are no notes in it")
    return Music(sorted(notes), min(tempos, default=(0, 120.0))[1])


def track(reader: Reader, division: int, tempos: list[tuple[int, float]]) -> Iterator[Note]:
    """The notes of a track; its tempos are added to those found before, with their times."""
    time, status = 0, 0
    begun: dict[tuple[int, int], list[int]] = {}  # by channel and pitch
    while reader.place < len(reader.data):
        time += reader.number()
        byte = reader.byte()
        if byte >= 0xF0:
            kind = reader.byte() if byte == META else None
            content = reader.take(reader.number())
            if kind == TEMPO and len(content) == 3:
                tempos.append((time, 60e6 / max(1, int.from_bytes(content))))
            if kind == END:
                break
            continue
        if byte >= 0x80:
            status, byte = byte, reader.byte()
        if status < 0x80:
            raise ValueError(f"byte {reader.place:,} of a track is no event")
        event, channel = status & 0xF0, status & 0x0F
        value = reader.byte() if SIZES[event] == 2 else 0
        if channel == DRUMS or event not in (NOTE_ON, NOTE_OFF):
            continue
        if event == NOTE_ON and value:
            begun.setdefault((channel, byte), []).append(time)
        elif starts := begun.get((channel, byte)):
            yield Note(starts.pop(0) / division, time / division, byte)
    for (_, pitch), starts in begun.items():  # what is never let go of sounds to the end
        for start in starts:
            yield Note(start / division, time / division, pitch)


def write_midi(notes: Iterable[Note], tempo: float) -> bytes:
    """A file with one track."""
    events = [(round(note.begin * DIVISION), 1, note.pitch) for note in notes]
    events += [(round(note.end * DIVISION), 0, note.pitch) for note in notes]
    content, before = bytes([0, META, TEMPO, 3, *round(60e6 / tempo).to_bytes(3)]), 0
    for time, on, pitch in sorted(events):  # an end before a beginning at the same time
        content += variable(time - before) + bytes([NOTE_ON if on else NOTE_OFF, pitch, 80 if on else 0])
        before = time
    content += bytes([0, META, END, 0])
    header = struct.pack(">HHH", 0, 1, DIVISION)
    return b"MThd" + len(header).to_bytes(4) + header + b"MTrk" + len(content).to_bytes(4) + content


def variable(value: int) -> bytes:
    """A number of variable length."""
    found = [value & 0x7F]
    while value := value >> 7:
        found.insert(0, value & 0x7F | 0x80)
    return bytes(found)
