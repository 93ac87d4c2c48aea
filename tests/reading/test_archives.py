"""Samples in tar archives, and rows of Arrow files: from any place on, and what is wrong with them."""

import gzip
import io
import json
import tarfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.config import UserError, build
from seqtrain.data.kinds import Pictured, Recording
from seqtrain.reading.archives import find_member
from seqtrain.reading.pictures import read_picture
from seqtrain.reading.shards import head_of
from seqtrain.reading.sounds import read_sound
from seqtrain.reading.streams import rows_of
from seqtrain.reading.tables import open_table

COLUMNS = {"data.sound": "path", "data.text": "text"}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sound(samples: int) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.arange(samples, dtype="<i2").tobytes())
    return content.getvalue()


def archive(name: str, files: dict[str, bytes]) -> str:
    Path(name).parent.mkdir(exist_ok=True)
    with tarfile.open(name, "w") as tar:
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return name


def recordings(**settings: Any) -> Any:
    target = "seqtrain.data.recordings.Recordings"
    shares = {"valid_share": 0.2, "test_share": 0.2, "seed": 0, "format": None, "encoding": "utf-8"}
    files = {"valid": None, "test": None, "sound": "path", "text": "text", "fit_records": 2, "buffer": 4}
    return build({"_target_": target, **files, **shares, **settings}, trust=False)


def test_the_samples_of_an_archive_from_any_one_on() -> None:
    files = {
        "a/1.wav": sound(1),
        "a/1.txt": b"one\n",
        "a/2.cls": b"two",
        "a/2.wav": sound(2),
        "a/3.wav": sound(3),
        "a/3.json": json.dumps({"text": "three", "other": 3}).encode(),
        "a/4.wav": sound(4),
    }
    name = archive("s.tar", files)
    rows = [(i, (f"s.tar/a/{i}.wav", text)) for i, text in enumerate(["one", "two", "three", ""], 1)]
    for start in range(5):
        assert list(rows_of([name], COLUMNS, "tar", "utf-8", start)) == rows[start:]
    other = list(rows_of([name], {"data.sound": "wav", "data.text": "other"}, "tar", "utf-8"))
    assert [cells[1] for _, cells in other] == ["one", "two", "3", ""]
    assert [len(read_sound(cells[0], 1.0).samples) for _, (cells) in rows] == [1, 2, 3, 4]


def test_a_recording_in_an_archive_is_found_by_its_path() -> None:
    archive("s.tar", {"1.wav": sound(5)})
    assert read_sound("s.tar/1.wav", 1.0).samples.tolist() == [*range(5)]
    assert find_member("1.wav") is None
    with pytest.raises(UserError, match=r"^s\.tar/1\.wave: there is no 1\.wave in s\.tar; did you mean 1\.wav\?"):
        read_sound("s.tar/1.wave", 1.0)


def test_an_archive_is_split_and_many_are_shards() -> None:
    for shard in range(3):
        archive(f"shards/{shard}.tar", {f"{i}.{end}": sound(9) if end == "wav" else b"one"
                                        for i in range(10) for end in ("wav", "txt")})  # fmt: skip
    alone = recordings(train="shards/0.tar")
    assert [len(alone.read(split)) for split in ("train", "valid", "test")] == [6, 2, 2]
    many = recordings(train="shards", valid="shards/0.tar", test="shards/1.tar")
    head = head_of(many.read("train"))
    assert head is not None
    assert (len(head), len(head.shards), head.shards.form) == (2, 3, "tar")
    assert all(isinstance(record, Recording) and record.text == "one" for record in many.read("train"))
    assert alone.read("test").key != many.read("test").key
    with pytest.raises(UserError, match=r"add data\.valid=FILE data\.test=FILE"):
        recordings(train="shards")
    assert len(recordings(train=["shards/0.tar"]).read("train")) == 6
    with pytest.raises(UserError, match=r"b\.csv: expected shards that end in one of \.tar"):
        recordings(train=["a.csv", "b.csv"], valid="shards/0.tar", test="shards/1.tar")


def test_a_picture_in_an_archive_has_its_caption() -> None:
    image = pytest.importorskip("PIL.Image")
    made = io.BytesIO()
    image.new("RGB", (2, 3), (9, 8, 7)).save(made, "PNG")
    named = {"a.png": made.getvalue(), "a.txt": b"a cat\n", "b.png": made.getvalue(), "b.json": b'{"caption": "a dog"}'}
    for name in ("0", "1", "valid", "test"):
        archive(f"{'shards/' if name.isdigit() else ''}{name}.tar", named)
    target, shares = "seqtrain.data.captions.CaptionedPictures", {"valid_share": 0.5, "test_share": 0.5}
    files = {"train": "shards/*.tar", "valid": "valid.tar", "test": "test.tar", "format": None, "encoding": "utf-8"}
    columns = {"picture": "picture", "caption": "caption", "folder": None, "fit_records": 4, "buffer": 2, "seed": 1}
    data = build({"_target_": target, **files, **shares, **columns}, trust=False)
    assert [*data.read("test")] == [Pictured("test.tar/a.png", ("a cat",)), Pictured("test.tar/b.png", ("a dog",))]
    head = head_of(data.read("train"))
    assert head is not None
    assert sorted(record.picture for record in data.read("train"))[0] == "shards/0.tar/a.png"
    assert read_picture("test.tar/b.png").tolist() == [[[9, 8, 7]] * 2] * 3


def test_what_is_wrong_with_an_archive_is_told() -> None:
    whole = Path(archive("whole.tar", {f"{i}.wav": sound(3000) for i in range(5)})).read_bytes()
    Path("cut.tar").write_bytes(whole[:20_000])
    Path("zipped.tar").write_bytes(gzip.compress(whole))
    Path("noise.tar").write_bytes(bytes(range(1, 250)) * 50)
    archive("empty.tar", {})
    archive("two.tar", {"1.wav": sound(1), "1.flac": b""})
    for name, problem in {
        "cut.tar": r"^cut\.tar: the archive is damaged or cut off \(.+\); fetch it again, or leave it out",
        "zipped.tar": r"^zipped\.tar: the archive is gzipped, and nothing in it can be read at its place: gunzip it",
        "noise.tar": r"^noise\.tar: the archive is damaged",
        "empty.tar": r"^data\.train=empty\.tar: there is no file in the archive",
        "two.tar": r"^two\.tar, sample 1: its files end in \.wav, \.flac; expected one beside \.txt, \.cls and \.json",
    }.items():
        with pytest.raises(UserError, match=problem):
            recordings(train=name)


def test_the_rows_of_arrow_from_any_row_on_with_the_names_of_classes() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    features = {"source": {"dtype": "string", "_type": "Value"}, "target": {"names": ["x", "y"], "_type": "ClassLabel"}}
    table = pyarrow.table({"source": ["a", "b", "c"], "target": [1, None, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    rows = [("a", "y"), ("b", ""), ("c", "x")]
    columns = {"data.source": "source", "data.target": "target"}
    for name, new in (("stream.arrow", pyarrow.ipc.new_stream), ("file.arrow", pyarrow.ipc.new_file)):
        with new(name, table.schema) as file:
            file.write_table(table, max_chunksize=2)
        for start in range(4):
            found = list(rows_of([name], columns, "arrow", "utf-8", start))
            assert found == [*enumerate(rows, 1)][start:]
        assert [*open_table(name, "data.train", columns)] == rows
    Path("bad.arrow").write_bytes(Path("stream.arrow").read_bytes()[:100])
    with pytest.raises(UserError, match=r"^bad\.arrow: this is not a complete Arrow file \(.+\); fetch it again"):
        list(rows_of(["bad.arrow"], columns, "arrow", "utf-8"))
