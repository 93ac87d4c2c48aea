"""Public files: used where they lie, fetched where they do not, refused where they are not what they should be."""

import gzip
import hashlib
import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seqtrain.config import UserError
from seqtrain.storage import cache, downloads

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
    monkeypatch.setattr(downloads, "registry", lambda: {"set/file.txt": (checksum, address)})


def test_a_file_is_fetched_once(place: Path, address: str, monkeypatch: pytest.MonkeyPatch):
    assert downloads.fetch("set/file.txt") == place
    assert place.read_bytes() == CONTENT
    register(monkeypatch, "http://127.0.0.1:9/nobody")
    assert downloads.fetch("set/file.txt") == place


def test_without_a_network_address_and_folder_are_told(place: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, "http://127.0.0.1:9/file.txt")
    with pytest.raises(UserError, match=rf"could not be fetched from http://127.*put the file into {place.parent}"):
        downloads.fetch("set/file.txt")
    assert not place.exists()


def test_what_is_fetched_with_a_wrong_checksum_is_not_kept(place: Path, address: str, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, address, b"something else")
    with pytest.raises(UserError, match="has the wrong checksum, and was not kept"):
        downloads.fetch("set/file.txt")
    assert list(place.parent.iterdir()) == []


def test_a_file_with_a_wrong_checksum_is_neither_used_nor_replaced(place: Path, address: str):
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=r"file\.txt: wrong checksum .*delete the file to fetch it again"):
        downloads.fetch("set/file.txt")
    assert place.read_bytes() == CONTENT[:-1]


def test_a_folder_that_cannot_be_made_is_told(place: Path, address: str):
    place.parents[1].write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be written there.*SEQTRAIN_DATA names another folder"):
        downloads.fetch("set/file.txt")


def test_the_registry_is_well_formed():
    assert len(downloads.registry()) > 30
    for name, (checksum, address) in downloads.registry().items():
        assert len(checksum) == 64
        assert address.startswith("https://")
        assert name.endswith(address.rsplit("/", 1)[1]) or name.endswith((".tar.gz", ".unp"))


def test_without_settings_files_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch):
    for name in ("SEQTRAIN_DATA", "SEQTRAIN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert downloads.downloads() == cache.cache() / "data"
    monkeypatch.setenv("SEQTRAIN_CACHE", "/somewhere")
    assert downloads.downloads() == Path("/somewhere/data")


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch):
    import platformdirs

    def homeless(name: str) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SEQTRAIN_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_path", homeless)
    with pytest.raises(UserError, match="no home folder for a cache: SEQTRAIN_CACHE names another folder"):
        cache.cache()


def test_a_text_may_lie_there_gzipped_and_is_checked(place: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, "http://127.0.0.1:9/nobody")
    place.parent.mkdir(parents=True)
    packed = place.with_name("file.txt.gz")
    packed.write_bytes(gzip.compress(CONTENT))
    assert downloads.fetch_text("set/file.txt") == CONTENT.decode()
    packed.write_bytes(gzip.compress(CONTENT[1:]))
    with pytest.raises(UserError, match=r"file\.txt\.gz: wrong checksum"):
        downloads.fetch_text("set/file.txt")
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"file\.txt\.gz: the gzipped file is damaged"):
        downloads.fetch_text("set/file.txt")
    packed.unlink()
    place.write_bytes(CONTENT)
    assert downloads.fetch_text("set/file.txt") == CONTENT.decode()


def archive(place: Path, top: str = "set-1/") -> bytes:
    """A .tar.gz as a forge makes it; what its files' listing is."""
    texts = {"b.txt": b"two\n", "a/c.txt": b"one\n"}
    place.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place, "w:gz") as file:
        for name, text in [*((f"{top}texts/{name}", text) for name, text in texts.items()), (f"{top}LICENSE", b"x")]:
            member = tarfile.TarInfo(name)
            member.size = len(text)
            file.addfile(member, io.BytesIO(text))
    return b"".join(f"{hashlib.sha256(texts[name]).hexdigest()}  {name}\n".encode() for name in ("a/c.txt", "b.txt"))


@pytest.mark.parametrize("top", ["set-1/", ""])
def test_an_archive_is_checked_by_its_content(place: Path, monkeypatch: pytest.MonkeyPatch, top: str):
    register(monkeypatch, "http://127.0.0.1:9/nobody", archive(place, top))
    assert downloads.fetch_folder("set/file.txt", "texts") == {"a/c.txt": b"one\n", "b.txt": b"two\n"}
    register(monkeypatch, "http://127.0.0.1:9/nobody", archive(place, top).splitlines(keepends=True)[0])
    assert downloads.fetch_folder("set/file.txt", "texts", "c.txt") == {"a/c.txt": b"one\n"}
    register(monkeypatch, "http://127.0.0.1:9/nobody", b"another listing")
    with pytest.raises(UserError, match="wrong checksum"):
        downloads.fetch_folder("set/file.txt", "texts")


def test_a_damaged_archive_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, "http://127.0.0.1:9/nobody", archive(place))
    place.write_bytes(place.read_bytes()[:60])
    with pytest.raises(UserError, match="no archive, or a damaged one"):
        downloads.fetch_folder("set/file.txt", "texts")
