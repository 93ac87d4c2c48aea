"""A folder leads nowhere else: not by links, not by pipes, and not while it is changed."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seqtrain.storage.disk import Folder, Foreign, LogFile, locked

NAMES = ("file", "inner/file")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run folder beside a folder with what it must not reach."""
    (tmp_path / "run" / "inner").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_bytes(b"secret")
    return tmp_path


def link(place: Path, name: str) -> None:
    (place / "run" / name).symlink_to(place / "out" / "file")


def link_of_folder(place: Path, name: str) -> None:
    if "/" not in name:
        link(place, name)
        return
    (place / "run" / "inner").rmdir()
    (place / "run" / "inner").symlink_to(place / "out")


def link_to_itself(place: Path, name: str) -> None:
    (place / "run" / name).symlink_to(place / "run" / name)


def pipe(place: Path, name: str) -> None:
    os.mkfifo(place / "run" / name)


def device(place: Path, name: str) -> None:
    (place / "run" / name).symlink_to("/dev/zero")


def folder(place: Path, name: str) -> None:
    (place / "run" / name).mkdir()


def second_name(place: Path, name: str) -> None:
    os.link(place / "out" / "file", place / "run" / name)


STRANGE = [link, link_of_folder, link_to_itself, pipe, device, folder]


def outside(place: Path) -> list[tuple[str, bytes]]:
    return [(file.name, file.read_bytes()) for file in sorted((place / "out").iterdir())]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", STRANGE)
def test_nothing_but_a_regular_file_is_read(place: Path, kind: Callable[[Path, str], None], name: str) -> None:
    kind(place, name)
    with pytest.raises(Foreign):
        Folder(place / "run").read(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [*STRANGE, second_name])
def test_what_is_appended_goes_nowhere_else(place: Path, kind: Callable[[Path, str], None], name: str) -> None:
    kind(place, name)
    with pytest.raises(Foreign):
        Folder(place / "run").open(name, "ab")
    assert outside(place) == [("file", b"secret")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("kind", [*STRANGE, second_name])
def test_a_new_file_takes_the_place_of_what_is_there(
    place: Path, kind: Callable[[Path, str], None], beside: bool, name: str
) -> None:
    """And so does the file that is written beside it."""
    kind(place, f"{name.removesuffix('file')}.file" if beside else name)
    files = Folder(place / "run")
    try:
        files.replace(name, b"new")
        assert files.read(name) == b"new"
    except Foreign:
        assert kind in (folder, link_of_folder)
    assert outside(place) == [("file", b"secret")]


@pytest.mark.parametrize("kind", [link, link_of_folder, pipe, folder])
def test_what_is_removed_lies_inside(place: Path, kind: Callable[[Path, str], None]) -> None:
    kind(place, "inner/file")
    files = Folder(place / "run")
    if kind is link_of_folder:
        with pytest.raises(Foreign):
            files.remove("inner/file")
    files.remove("inner")
    files.remove("inner")
    assert files.names() == []
    assert outside(place) == [("file", b"secret")]


def test_no_folder_is_made_or_listed_through_a_link(place: Path) -> None:
    link_of_folder(place, "inner/file")
    files = Folder(place / "run")
    for reach in (files.names, files.make, files.sync, lambda name: files.has(f"{name}/file")):
        with pytest.raises(Foreign, match="inner: a link"):
            reach("inner")
    assert files.has("inner")
    assert not files.has("other")


def test_a_socket_is_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "run")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("file")
        with pytest.raises(Foreign):
            Folder(place / "run").read("file")


def test_the_folder_itself_may_be_a_link(place: Path) -> None:
    (place / "short").symlink_to(place / "run")
    files = Folder(place / "short")
    files.make("figures")
    files.write("figures/a", b"1")
    files.replace("b", b"2")
    files.rename("b", "c")
    assert sorted(files.names()) == ["c", "figures", "inner"]
    assert (place / "run" / "figures" / "a").read_bytes() == b"1"


@pytest.mark.parametrize("kind", [link, pipe, folder, second_name])
def test_the_log_goes_nowhere_else(place: Path, kind: Callable[[Path, str], None]) -> None:
    kind(place, "train.log")
    with pytest.raises(Foreign):
        LogFile(place / "run" / "train.log")
    with pytest.raises(Foreign), locked(place / "run"):
        pass
    assert outside(place) == [("file", b"secret")]


def test_what_is_swapped_meanwhile_leads_nowhere(place: Path) -> None:
    """Another thread turns a file, and a folder, into links out and back again."""
    run, files, end = place / "run", Folder(place / "run"), threading.Event()
    (run / "file").write_bytes(b"mine")
    (run / "link of file").symlink_to(place / "out" / "file")
    (run / "link of inner").symlink_to(place / "out")

    def swap() -> None:
        while not end.is_set():
            for name in ("inner", "file"):
                (run / name).rename(run / "hidden")
                (run / f"link of {name}").rename(run / name)
                (run / "hidden").rename(run / f"link of {name}")

    thread = threading.Thread(target=swap)
    thread.start()
    found, refused = [], 0
    try:
        for i in range(500):
            try:
                found.append(files.read("file"))
                files.write(f"inner/{i}", b"mine")
                files.remove(f"inner/{i}")
            except (Foreign, OSError):
                refused += 1
    finally:
        end.set()
        thread.join()
    assert refused
    assert set(found) <= {b"mine"}
    assert outside(place) == [("file", b"secret")]
