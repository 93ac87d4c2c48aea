"""Public files: used where they lie, fetched where they do not, refused where they are not what they should be."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seqtrain.config import UserError
from seqtrain.data import cache

CONTENT = b"a line\n" * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQTRAIN_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "set" / "file.txt"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server on this machine, which has the file that the registry names."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "file.txt").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        address = f"http://127.0.0.1:{server.server_port}/file.txt"
        register(monkeypatch, address)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield address
        server.shutdown()
        thread.join()


def register(monkeypatch: pytest.MonkeyPatch, address: str, content: bytes = CONTENT) -> None:
    checksum = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(cache, "registry", lambda: {"set/file.txt": (checksum, address)})


def test_a_file_is_fetched_once(place: Path, address: str, monkeypatch: pytest.MonkeyPatch):
    assert cache.fetch("set/file.txt") == place
    assert place.read_bytes() == CONTENT
    register(monkeypatch, "http://127.0.0.1:9/nobody")
    assert cache.fetch("set/file.txt") == place


def test_without_a_network_address_and_folder_are_told(place: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, "http://127.0.0.1:9/file.txt")
    with pytest.raises(UserError, match=rf"could not be fetched from http://127.*put the file into {place.parent}"):
        cache.fetch("set/file.txt")
    assert not place.exists()


def test_what_is_fetched_with_a_wrong_checksum_is_not_kept(place: Path, address: str, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, address, b"something else")
    with pytest.raises(UserError, match="has the wrong checksum, and was not kept"):
        cache.fetch("set/file.txt")
    assert list(place.parent.iterdir()) == []


def test_a_file_with_a_wrong_checksum_is_neither_used_nor_replaced(place: Path, address: str):
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"file\.txt: wrong checksum .*delete the file to fetch it anew"):
        cache.fetch("set/file.txt")
    assert place.read_bytes() == CONTENT[:-1]


def test_a_folder_that_cannot_be_made_is_told(place: Path, address: str):
    place.parents[1].write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be written there.*SEQTRAIN_DATA names another folder"):
        cache.fetch("set/file.txt")


def test_the_registry_is_well_formed():
    assert len(cache.registry()) > 30
    for name, (checksum, address) in cache.registry().items():
        assert len(checksum) == 64
        assert address.startswith("https://")
        assert name.endswith(address.rsplit("/", 1)[1])


def test_without_settings_files_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch):
    for name in ("SEQTRAIN_DATA", "SEQTRAIN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert cache.downloads() == cache.cache() / "data"
    monkeypatch.setenv("SEQTRAIN_CACHE", "/somewhere")
    assert cache.downloads() == Path("/somewhere/data")
