"""Files that must not be torn, and files from strangers."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqtrain.config import UserError


def write(file: Path, content: bytes) -> None:
    """Writes a file through to the disk."""
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def replace(file: Path, content: bytes) -> None:
    """Writes a file that is, at every moment, the old one or the new one, whole."""
    new = file.with_name(f".{file.name}")
    write(new, content)
    new.replace(file)
    sync(file.parent)


def sync(folder: Path) -> None:
    """Writes the names in a folder through to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def contents(file: Path, root: Path, limit: int | None = None) -> bytes:
    """A regular file that lies in the folder `root`, also after all links are followed, and has at most `limit` bytes.
    Raises ValueError or OSError otherwise; opening what is no file (a pipe, a device) neither waits nor reads."""
    if not file.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{file.name} is a link out of the folder")
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{file.name} is no regular file")
        if status.st_size > 512 * status.st_blocks + 2**20:  # some file systems keep small files elsewhere
            raise ValueError(f"{file.name} says it has {status.st_size:,} bytes, of which hardly any are there")
        if limit is not None and status.st_size > limit:
            raise ValueError(f"{file.name} has {status.st_size:,} bytes; expected at most {limit:,}")
        return opened.read()


def told(error: OSError) -> str:
    """What went wrong with which file, and, where the disk is full, that."""
    place = Path(error.filename) if error.filename else None
    return f"{place}: {error.strerror}" if place else str(error.strerror or error)


def free(folder: Path) -> str:
    """How much room is left where a folder lies, or would."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return f"{shutil.disk_usage(there).free / 2**20:,.0f} MiB are free"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a run folder for this process. The system gives the lock back however the process ends."""
    try:
        with (folder / "train.log").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.dup(file.fileno())
    except BlockingIOError:
        raise UserError(f"{folder}: another run is writing into this folder; wait for it or stop it") from None
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        os.close(held)
