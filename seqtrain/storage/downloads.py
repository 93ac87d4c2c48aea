"""Public data files: downloaded once, and checked against their checksums."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
import zlib
from importlib.resources import files
from pathlib import Path

from seqtrain.config import UserError, expanded
from seqtrain.storage.cache import cache


def downloads() -> Path:
    """Returns the folder of public files: $SEQTRAIN_DATA, or `data` in the cache."""
    chosen = os.environ.get("SEQTRAIN_DATA")
    return expanded(chosen) if chosen else cache() / "data"


def fetch(name: str) -> Path:
    """Returns the path of a public file, and downloads the file if it is not there yet. name: its name in registry.txt.

    Raises `UserError` where the file has the wrong checksum or cannot be fetched, or its folder cannot be written.
    """
    file = downloads() / name
    expected, address = registry()[name]
    if not file.is_file():
        download(name, file, expected, address)
    else:
        check(file, file.read_bytes(), expected, address)
    return file


def fetch_text(name: str) -> str:
    """The text of a public file, which may also lie in the cache gzipped, as name.gz; then its content is checked."""
    packed = downloads() / f"{name}.gz"
    if not packed.is_file():
        return fetch(name).read_text(encoding="utf-8")
    try:
        content = gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{packed}: the gzipped file is damaged ({error}); delete it to fetch {name} again") from None
    check(packed, content, *registry()[name])
    return content.decode()


def check(file: Path, content: bytes, expected: str, address: str) -> None:
    """Raises `UserError` where the content of a file has another checksum."""
    if (digest := hashlib.sha256(content).hexdigest()) != expected:
        raise UserError(
            f"{file}: wrong checksum (SHA-256 {digest[:12]}…, expected {expected[:12]}…); "
            f"delete the file to fetch it again from {address}"
        )


def fetch_folder(name: str, folder: str, ending: str = "") -> dict[str, bytes]:
    """The files of a folder in a public archive (.tar.gz) whose names end so, by their paths in the folder, in order.
    Archives that are made when they are asked for differ in their bytes: the checksum is that of `listing`.

    Raises `UserError` as `fetch` does, and where it is no such archive.
    """
    file = downloads() / name
    expected, address = registry()[name]
    if not file.is_file():
        download(name, file, None, address)
    inside, read = re.compile(rf"(?:[^/]+/)?{re.escape(folder)}/(.+{re.escape(ending)})"), dict[str, bytes]()
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                if (path := inside.fullmatch(member.name)) and (content := archive.extractfile(member)):
                    read[path[1]] = content.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{file}: no archive, or a damaged one ({error}); delete it to fetch it again") from None
    read = dict(sorted(read.items()))
    check(file, listing(read), expected, address)
    return read


def listing(files: dict[str, bytes]) -> bytes:
    """The lines that `sha256sum` prints of files."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files.items()).encode()


def registry() -> dict[str, tuple[str, str]]:
    """Returns checksum and address of every public file, by its name."""
    lines = files("seqtrain.data").joinpath("registry.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return {name: (checksum.partition(":")[2], address) for name, checksum, address in rows}


def download(name: str, file: Path, checksum: str | None, address: str) -> None:
    """Downloads a file, and checks it where its checksum is known. Raises `UserError` where either fails."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(address, checksum and f"sha256:{checksum}", fname=file.name, path=file.parent, progressbar=True)
    except RequestException as error:
        raise UserError(
            f"{name} could not be fetched from {address} ({type(error).__name__}); with a network it is fetched by "
            f"itself, without one put the file into {file.parent}"
        ) from None
    except ValueError:
        raise UserError(
            f"{name} as fetched from {address} has the wrong checksum, and was not kept; "
            f"try again, or put the right file into {file.parent}"
        ) from None
    except OSError as error:
        raise UserError(
            f"{file.parent}: {name} cannot be written there ({error.strerror or error}); "
            "SEQTRAIN_DATA names another folder for public files"
        ) from None
