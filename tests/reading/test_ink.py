"""Strokes in files: what is read is what was written, and what is wrong is named with its cure."""

import json
from pathlib import Path

import numpy as np
import pytest

from seqtrain.config import UserError
from seqtrain.reading import ink
from seqtrain.reading.ink import decode, read_ink

STROKES = [np.array([[1.0, -2.5], [3.0, 4.0], [7.0, 4.0]]), np.array([[10.0, 0.0]])]


def inkml(traces: str, head: str = "", before: str = "") -> bytes:
    return f'<?xml version="1.0"?>{before}<ink xmlns="http://www.w3.org/2003/InkML">{head}{traces}</ink>'.encode()


def traces(strokes: list[np.ndarray]) -> str:
    return "".join(f"<trace>{', '.join(f'{x} {y}' for x, y in stroke)}</trace>" for stroke in strokes)


def unipen(strokes: list[np.ndarray]) -> bytes:
    parts = (".PEN_DOWN\n" + "".join(f"{x} {-y}\n" for x, y in stroke) + ".PEN_UP\n0 0\n" for stroke in strokes)
    return f".VERSION 1.0\n.COORD X Y\n.COMMENT a b\n{''.join(parts)}".encode()


def same(found: bytes, expected: list[np.ndarray]) -> None:
    strokes = decode(found, "a").strokes
    assert len(strokes) == len(expected)
    for one, other in zip(strokes, expected, strict=True):
        np.testing.assert_array_equal(one, other)


WRITTEN = {
    "inkml": inkml(traces(STROKES)),
    "unipen": unipen(STROKES),
    "json": json.dumps([stroke.tolist() for stroke in STROKES]).encode(),
    "json with times": json.dumps([[[*point, 5] for point in stroke.tolist()] for stroke in STROKES]).encode(),
    "with a mark": b"\xef\xbb\xbf" + json.dumps([stroke.tolist() for stroke in STROKES]).encode(),
    "utf-16": inkml(traces(STROKES)).decode().replace('"1.0"?', '"1.0" encoding="utf-16"?').encode("utf-16"),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_strokes_are_those_that_were_written(form: str, tmp_path: Path):
    same(WRITTEN[form], STROKES)
    (tmp_path / "any.name").write_bytes(WRITTEN[form])
    assert read_ink(str(tmp_path / "any.name")).name == str(tmp_path / "any.name")


def test_inkml_with_other_channels_differences_and_a_raised_pen():
    head = (
        '<traceFormat><channel name="F" type="integer"/><channel name="Y" orientation="-ve"/><channel name="X"/>'
        "</traceFormat>"
    )
    found = '<trace type="penUp">9 9 9</trace><trace id="t">5 100 20, \'1\'2\'-3, 1 2 -3, 0"1"0</trace>'
    same(inkml(found, head), [np.array([[20, -100], [17, -102], [14, -104], [11, -107.0]])])


def test_unipen_in_another_order_of_columns():
    same(b".COORD T Y X P\n.PEN_DOWN\n0 5 6 1\n1 7 8 1\n.DT 3\n.PEN_UP", [np.array([[6, -5], [8, -7.0]])])


BOMB = "<!DOCTYPE ink [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>"
MISTAKES = {
    b"": "the file is empty; leave it out",
    b"  \n": "the file is empty; leave it out",
    WRITTEN["inkml"][:-20]: r"the XML is damaged or cut off \(.*\); save it again",
    WRITTEN["json"][:-20]: r"the JSON is damaged or cut off \(.*\); save it again",
    unipen(STROKES)[:70]: "cut off: the pen is still down at its end, line 7; save it again",
    inkml("&b;", before=BOMB): "its XML declares entities, which could grow without bounds; take its <!DOCTYPE",
    inkml("", before='<!DOCTYPE ink [<!ENTITY x SYSTEM "file:///etc/passwd">]>'): "its XML declares entities",
    b"<svg></svg>": "this XML is no InkML: it begins with <svg>; expected InkML, UNIPEN, or in JSON a list",
    inkml(""): "there is no stroke in it; leave it out",
    inkml("<trace>1 2, 3</trace>"): "trace 1: '3' is no point",
    inkml("<trace>1 2, x y</trace>"): "trace 1: 'x y' is no point",
    inkml("<trace>1 2</trace>", '<traceFormat><channel name="X"/></traceFormat>'): "its traceFormat has no channels X",
    b"[]": "there is no stroke in it",
    b"[[[1, 2], [3]]]": "stroke 1 is no list of points; expected",
    b"[[[1, 2]], 5]": "stroke 2 is no list of points",
    b"[[1, 2], [3, 4]]": "stroke 1 is no list of points",
    b'[{"x": 1}]': "stroke 1 is no list of points",
    b"[[[1, 1e400]]]": "a point is beyond all bounds, or no number",
    b"[[[NaN, 2]]]": "a point is beyond all bounds, or no number",
    b"[" * 100_000: "lists inside lists, too deep",
    b".COORD T P\n.PEN_DOWN\n": r"line 1: \.COORD names no X and Y",
    b".PEN_DOWN\n1 2\n3\n.PEN_UP\n": "line 3: '3' is no point",
    b"path,text\na,b\n": "these are no strokes; expected InkML",
    b"\x89PNG\r\n\x1a\n": "this is a picture, not strokes: data=line_images reads it",
}


@pytest.mark.parametrize(("content", "said"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_broken_ink_is_named_with_its_cure(content: bytes, said: str, tmp_path: Path):
    (tmp_path / "a.ink").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.ink: {said}") as caught:
        read_ink(str(tmp_path / "a.ink"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ink, "MOST", 1 << 20)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"a\.json: more than 1 MiB; cut it into lines of writing"):
        read_ink(str(tmp_path / "a.json"))


def test_a_missing_file_is_named_with_its_neighbour(tmp_path: Path):
    (tmp_path / "one.json").write_bytes(WRITTEN["json"])
    with pytest.raises(UserError, match=r"there is no such file; did you mean .*one\.json"):
        read_ink(str(tmp_path / "onr.json"))
