"""The cache of prepared data: made once, checked against checksums at each use, and mapped into memory."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.config import UserError, expanded
from seqtrain.storage.disk import Folder, free_space

log = logging.getLogger(__name__)
FORMAT = 2  # version of the prepared data; after a change all data is prepared again
MANIFEST = "manifest.json"  # size and SHA-256 of each file of a folder
MAX_MANIFEST = 2**20  # bytes


def cache() -> Path:
    """Returns the cache folder: $SEQTRAIN_CACHE, or that of the user. Whatever is in it can be made again."""
    if chosen := os.environ.get("SEQTRAIN_CACHE"):
        return expanded(chosen)
    from platformdirs import user_cache_path

    try:
        return user_cache_path("seqtrain")
    except RuntimeError:
        raise UserError("this user has no home folder for a cache: SEQTRAIN_CACHE names another folder") from None


def prepared(key: str, make: Callable[[Path], None]) -> Path:
    """Returns the folder of the cache that holds what `make` wrote; calls `make` only if there is no such folder yet.

    key: names the data and the settings that the content depends on. `make` fills a temporary folder, which is renamed
    when it is complete and on the disk: an interrupted run leaves nothing that looks finished, and two runs that
    prepare the same at once both use the folder of the first. A folder that differs from its manifest is made again.
    """
    name = hashlib.sha256(f"{FORMAT}\0{key}".encode()).hexdigest()[:32]
    place = cache() / "prepared" / name
    try:
        make_private(place.parent)
        if is_whole(place):
            return place
        with announced(place.parent), temporary(place.parent) as folder:
            made = folder / "made"
            made.mkdir(mode=0o700)
            make(made)
            seal(made, name)
            made.rename(place)
            Folder(place.parent).sync()
    except OSError as error:
        if is_whole(place):  # another run was first
            return place
        raise UserError(
            f"{place.parent}: prepared data cannot be written there ({error.strerror or error}), about "
            f"{free_space(place)}; SEQTRAIN_CACHE names another folder"
        ) from None
    return place


def cached_arrays(key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the arrays that `make` returns, mapped from the cache; calls `make` only the first time."""

    def save(folder: Path) -> None:
        for name, array in make().items():
            np.save(folder / f"{name}.npy", array)

    folder = prepared(key, save)
    return {file.stem: np.lib.format.open_memmap(file, mode="r") for file in folder.glob("*.npy")}


def cached_value(key: str, make: Callable[[], Any]) -> Any:
    """Returns the JSON value that `make` returns, read from the cache; calls `make` only the first time."""

    def save(folder: Path) -> None:
        (folder / "value.json").write_text(json.dumps(make()), encoding="utf-8")

    return json.loads((prepared(key, save) / "value.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ folders of the cache


def make_private(folder: Path) -> None:
    """Makes a folder that only this user can open; raises `UserError` where it is a link or belongs to another user."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    parent, status = folder.parent.stat(), folder.lstat()
    parent_is_safe = parent.st_uid in (os.geteuid(), 0)  # of this user, or of root
    if not parent_is_safe or status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
        raise UserError(
            f"{folder}: prepared data are kept in a folder that only this user can open; this one belongs to another "
            "user, or is a link or a file; SEQTRAIN_CACHE names another folder"
        )
    if stat.S_IMODE(status.st_mode) != 0o700:
        with suppress(OSError):  # a read-only disk
            folder.chmod(0o700)


def is_whole(place: Path) -> bool:
    """Whether a prepared folder exists and is complete. Removes a damaged one."""
    if not os.path.lexists(place):
        return False
    try:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        discard(place, error.strerror)
        return False
    try:
        verify(place)
        return True
    except (OSError, ValueError, RecursionError) as error:
        # Another run may have found the same damage and replaced the folder: its new folder must not be removed.
        fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.lexists(place) and os.path.samestat(os.fstat(folder), place.lstat()):
            discard(place, error)
        return False
    finally:
        os.close(folder)


def discard(place: Path, problem: object) -> None:
    """Removes a damaged folder. It is renamed first, so that its name is free at once."""
    log.warning("%s: damaged (%s); it is made again", place, problem)
    with temporary(place.parent) as folder, suppress(FileNotFoundError):  # another run was first
        place.rename(folder / "damaged")


@contextmanager
def temporary(parent: Path) -> Iterator[Path]:
    """Makes a temporary folder in `parent`, and removes it at the end."""
    with tempfile.TemporaryDirectory(prefix=".making-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def announced(folder: Path) -> Iterator[None]:
    """Shows other processes, by a shared lock, that this one is making something in a folder.

    If no other process is, temporary folders that killed processes have left are removed first.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(BlockingIOError):  # another process holds the shared lock
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for abandoned in folder.glob(".making-*"):
                shutil.rmtree(abandoned, ignore_errors=True)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------------------ manifests


def seal(folder: Path, key: str) -> None:
    """Writes the manifest of a folder, and flushes all its files to the disk. key: names what it was made from."""
    sums = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            sums[path.name] = [os.fstat(file.fileno()).st_size, digest]
    files = Folder(folder)
    files.write(MANIFEST, json.dumps({"key": key, "files": sums}).encode())
    files.sync()


def verify(place: Path) -> None:
    """Raises ValueError or OSError where a folder does not hold exactly the files of its manifest. Follows no link."""
    if place.lstat().st_uid != os.geteuid():
        raise ValueError("another user owns it")
    parent, key = Folder(place.parent), place.name
    manifest = json.loads(parent.read(f"{key}/{MANIFEST}", MAX_MANIFEST))
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or manifest.get("key") != key:
        raise ValueError(f"{MANIFEST} does not belong to this content")
    if set(parent.names(key)) != {MANIFEST, *files}:
        raise ValueError(f"its files are not those in {MANIFEST}")
    for name, record in files.items():
        opened: Any = parent.open(f"{key}/{name}")  # hashlib's types do not accept IO
        with opened as file:
            size = os.fstat(file.fileno()).st_size
            same_size = isinstance(record, list) and record[:1] == [size]  # checked first: a huge file is not read
            if not same_size or record[1:] != [hashlib.file_digest(file, "sha256").hexdigest()]:
                raise ValueError(f"{name} differs from its checksum")
