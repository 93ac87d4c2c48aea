"""Strokes of a pen in files: InkML, UNIPEN, and lists of strokes in JSON."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.parsers import expat

import numpy as np
from jaxtyping import Float

from seqtrain.config import UserError
from seqtrain.data.kinds import Ink
from seqtrain.reading.files import find_file

MOST = 1 << 24  # bytes of a file
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
EXPECTED = "expected InkML, UNIPEN, or in JSON a list of strokes, each a list of [x, y]"
CURE = "save it again, or leave it out"
# Of a channel in a trace: how it is written (! as it is, ' as a difference, " as a difference of differences), a value.
VALUE = re.compile(r"([!'\"]?)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[TF*?])")
Strokes = Iterable[Any]  # of (N, 2) points, or lists of them


class NotInk(Exception):
    """What is wrong with a file."""


def read_ink(name: str, setting: str = "input") -> Ink:
    """The strokes in a file, of at most 16 MiB. Raises `UserError` with the name of the file and what to do."""
    try:
        with find_file(name, setting).open("rb") as file:
            data = file.read(MOST + 1)
    except OSError as error:
        raise UserError(f"{name}: the file cannot be read ({error.strerror or error})") from None
    return decode(data, name)


def decode(data: bytes, name: str) -> Ink:
    """The strokes in the content of a file."""
    try:
        if len(data) > MOST:
            raise NotInk(f"more than {MOST >> 20} MiB; cut it into lines of writing")
        if not data.strip():
            raise NotInk("the file is empty; leave it out, or write it again")
        return Ink(name, tuple(checked(parsed(data))))
    except NotInk as problem:
        raise UserError(f"{name}: {problem}") from None


def parsed(data: bytes) -> Strokes:
    if data.startswith(PICTURES):
        raise NotInk("this is a picture, not strokes: data=line_images reads it")
    start = data.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if start == b"<" or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return inkml(data)
    if start == b"[":
        return from_json(data)
    text = data.decode("latin-1")  # of UNIPEN only comments may hold other letters than those of ASCII
    if re.search(r"^\s*\.PEN_DOWN", text, re.M):
        return unipen(text)
    raise NotInk(f"these are no strokes; {EXPECTED}")


def checked(strokes: Strokes) -> Iterator[Float[np.ndarray, "N 2"]]:
    """The strokes that have points; raises `NotInk` where there is none, or a point is no pair of finite numbers."""
    found = [np.asarray(stroke, np.float64) for stroke in strokes if len(stroke)]
    if not found:
        raise NotInk("there is no stroke in it; leave it out, or write it again")
    for stroke in found:
        if not (np.abs(stroke) < 1e9).all():  # which NaN is not, either
            raise NotInk(f"a point is beyond all bounds, or no number; {CURE}")
        yield stroke


# ------------------------------------------------------------------------------------------------ JSON


def from_json(data: bytes) -> Iterator[Float[np.ndarray, "N 2"]]:
    try:
        strokes = json.loads(data)
    except RecursionError:
        raise NotInk(f"lists inside lists, too deep; {EXPECTED}") from None
    except ValueError as error:
        raise NotInk(f"the JSON is damaged or cut off ({error}); {CURE}") from None
    for number, stroke in enumerate(strokes, 1):
        try:
            points = np.array([point[:2] for point in stroke], float)
            if len(points) and points.shape[1:] != (2,):
                raise ValueError
        except (ValueError, TypeError, KeyError, OverflowError):
            raise NotInk(f"stroke {number} is no list of points; {EXPECTED}") from None
        yield points


# ------------------------------------------------------------------------------------------------ UNIPEN


def unipen(text: str) -> Iterator[Float[np.ndarray, "N 2"]]:
    """The strokes of UNIPEN (Guyon et al. 1994), in which a higher y is higher on the paper. What the pen does above
    it is left out."""
    columns, points, number = (0, 1), None, 0
    for number, line in enumerate(text.splitlines(), 1):
        word, *values = line.split() or [""]
        if word.startswith("."):
            if word == ".COORD":
                if not {"X", "Y"} <= set(values):
                    raise NotInk(f"line {number}: .COORD names no X and Y; {CURE}")
                columns = values.index("X"), values.index("Y")
            elif points is not None:
                yield np.array(points).reshape(-1, 2)
                points = None
            if word == ".PEN_DOWN":
                points = list[tuple[float, float]]()
        elif points is not None and word:
            cells = line.split()
            try:
                points.append((float(cells[columns[0]]), -float(cells[columns[1]])))
            except (ValueError, IndexError):
                raise NotInk(f"line {number}: {line.strip()[:40]!r} is no point; {CURE}") from None
    if points is not None:
        raise NotInk(f"cut off: the pen is still down at its end, line {number}; {CURE}")


# ------------------------------------------------------------------------------------------------ InkML


def inkml(data: bytes) -> Strokes:
    """The traces of InkML (W3C 2011), but those of a raised pen. Entities are not expanded but refused."""
    parser, reader = expat.ParserCreate(), Traces()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = reader.text, reader.entity
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, UnicodeError, ValueError) as error:  # ValueError: an encoding of several bytes
        raise NotInk(f"the XML is damaged or cut off ({error}); {CURE}") from None
    return reader.strokes


class Traces:
    """Collects the strokes while the XML is parsed."""

    def __init__(self) -> None:
        self.strokes: list[Float[np.ndarray, "N 2"]] = []
        self.channels: list[tuple[str, float]] = []  # names, and -1 where values grow the other way
        self.depth = 0
        self.pieces: list[str] | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if self.depth == 0 and local not in ("ink", "trace", "traceGroup"):
            raise NotInk(f"this XML is no InkML: it begins with <{name[:40]}>; {EXPECTED}")
        self.depth += 1
        if local == "channel" and not self.strokes:
            self.channels.append((attributes.get("name", ""), -1.0 if attributes.get("orientation") == "-ve" else 1.0))
        elif local == "trace" and attributes.get("type", "penDown") == "penDown":
            self.pieces = []

    def text(self, text: str) -> None:
        if self.pieces is not None:
            self.pieces.append(text)

    def end(self, name: str) -> None:
        if self.pieces is not None and name.rpartition(":")[2] == "trace":
            self.strokes.append(self.points("".join(self.pieces)))
            self.pieces = None

    def entity(self, *declared: Any) -> None:
        raise NotInk("its XML declares entities, which could grow without bounds; take its <!DOCTYPE …> out")

    def points(self, text: str) -> Float[np.ndarray, "N 2"]:
        channels = dict(self.channels) or {"X": 1.0, "Y": 1.0}
        if not {"X", "Y"} <= channels.keys():
            raise NotInk(f"its traceFormat has no channels X and Y; {CURE}")
        names = list(channels)
        columns = names.index("X"), names.index("Y")
        ways, last, steps, found = [""] * len(names), [0.0] * len(names), [0.0] * len(names), []
        for point in filter(str.strip, text.split(",")):
            values = VALUE.findall(point)
            if len(values) <= max(columns) or VALUE.sub("", point).strip():
                raise NotInk(f"trace {len(self.strokes) + 1}: {point.strip()[:40]!r} is no point; {CURE}")
            for i, (way, value) in enumerate(values[: len(names)]):
                if value in "TF*?":
                    continue
                ways[i] = way or ways[i]
                before, number = last[i], float(value)
                step = number if ways[i] == "'" else steps[i] + number if ways[i] == '"' else number - before
                last[i], steps[i] = before + step, step
            found.append([last[column] for column in columns])
        return np.array(found).reshape(-1, 2) * [channels["X"], channels["Y"]]
