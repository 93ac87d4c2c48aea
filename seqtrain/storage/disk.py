"""Files that are written completely or not at all, in folders that are not trusted: others may have made them."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from seqtrain.config import UserError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: opening a pipe does not wait for its other end
MODES = {"r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_EXCL, "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND}
NOT_REGULAR = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENXIO)  # what links and pipes raise


class Foreign(UserError, ValueError):
    """There is a link, a pipe or the like where a regular file or a folder is expected."""


class Folder:
    """A folder in which no link is followed and only regular files are opened, even while somebody changes it.

    Each part of a name is opened relative to the descriptor of the part before. (The path of the folder itself may
    contain links.) Names are relative, such as checkpoints/last. Methods raise `Foreign` for anything but a regular
    file or folder, or OSError.
    """

    def __init__(self, path: Path):
        self.path = path

    @contextmanager
    def parent_of(self, name: str) -> Iterator[tuple[str, int]]:
        """Opens the folder that holds a file; gives the last part of the name, and the descriptor of that folder."""
        *folders, last = name.split("/")
        try:
            descriptor = os.open(self.path, FOLDER)
            try:
                for folder in folders:
                    outer = descriptor
                    descriptor = os.open(folder, FOLDER | os.O_NOFOLLOW, dir_fd=outer)
                    os.close(outer)
                yield last, descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in NOT_REGULAR:
                raise self.foreign(name) from None
            error.filename = str(self.path / name)
            raise

    def foreign(self, name: str) -> Foreign:
        """Returns the error that names the link on the way to a file, or the file itself."""
        outermost_first = reversed([PurePosixPath(name), *PurePosixPath(name).parents][:-1])
        for part in outermost_first:
            if (self.path / part).is_symlink():
                return Foreign(f"{self.path / part}: a link; links inside a run folder are not followed")
        return Foreign(f"{self.path / name}: this is not a regular file")

    def open(self, name: str, mode: str = "rb") -> IO[Any]:
        """Opens a file. mode: as for Python's `open`, but "w" makes a new file in place of an old one (which may have
        other names), and "a" refuses a file that has several names."""
        with self.parent_of(name) as (last, parent):
            if mode[0] == "w":
                with suppress(FileNotFoundError):
                    os.unlink(last, dir_fd=parent)
            descriptor = os.open(last, MODES[mode[0]] | FILE, 0o666, dir_fd=parent)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or (mode[0] == "a" and status.st_nlink > 1):
                os.close(descriptor)
                raise self.foreign(name)
            return os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8")

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Reads a file of at most `limit` bytes; raises `Foreign` for a larger one."""
        with self.open(name) as file:
            status = os.fstat(file.fileno())
            # A sparse file claims bytes that take no space on the disk. (1 MiB: small files may take no blocks.)
            if status.st_size > 512 * status.st_blocks + 2**20:
                raise Foreign(f"{self.path / name}: only a small part of its {status.st_size:,} bytes is there")
            if limit is not None and status.st_size > limit:
                raise Foreign(f"{self.path / name}: {status.st_size:,} bytes; expected at most {limit:,}")
            return file.read(status.st_size)

    def write(self, name: str, content: bytes) -> None:
        """Writes a new file and flushes it to the disk."""
        with self.open(name, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def replace(self, name: str, content: bytes) -> None:
        """Replaces the content of a file in one step: a reader sees all of the old content or all of the new one."""
        folder, _, last = name.rpartition("/")
        temporary = f"{folder}/.{last}" if folder else f".{last}"
        self.write(temporary, content)
        with self.parent_of(temporary) as (temporary_last, parent):
            os.replace(temporary_last, last, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def rename(self, name: str, new_last: str) -> None:
        """Renames a file or folder within its folder. new_last: the new last part of its name."""
        with self.parent_of(name) as (last, parent):
            os.rename(last, new_last, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def make(self, name: str) -> None:
        """Makes a folder, if it does not exist yet."""
        with self.parent_of(name) as (last, parent):
            with suppress(FileExistsError):
                os.mkdir(last, dir_fd=parent)
            os.close(os.open(last, FOLDER | os.O_NOFOLLOW, dir_fd=parent))  # raises where it is a link or a file

    def sync(self, name: str = ".") -> None:
        """Flushes the list of names in a folder to the disk."""
        with self.parent_of(f"{name}/.") as (_, descriptor):
            os.fsync(descriptor)

    def names(self, name: str = ".") -> list[str]:
        """Returns the names in a folder; none where it does not exist."""
        with suppress(FileNotFoundError), self.parent_of(f"{name}/.") as (_, descriptor):
            return os.listdir(descriptor)
        return []

    def has(self, name: str) -> bool:
        """Whether anything has this name, even a broken link."""
        with suppress(FileNotFoundError), self.parent_of(name) as (last, parent):
            os.stat(last, dir_fd=parent, follow_symlinks=False)
            return True
        return False

    def remove(self, name: str) -> None:
        """Removes a file, a link, or a folder with all its content, if it exists."""
        with suppress(FileNotFoundError), self.parent_of(name) as (last, parent):
            if stat.S_ISDIR(os.stat(last, dir_fd=parent, follow_symlinks=False).st_mode):
                shutil.rmtree(last, dir_fd=parent)
            else:
                os.unlink(last, dir_fd=parent)


class LogFile(logging.FileHandler):
    """Writes the log of a run into a file that must not be a link."""

    def _open(self) -> Any:
        file = Path(self.baseFilename)
        return Folder(file.parent).open(file.name, "a")


def explain(error: OSError) -> str:
    """Returns the message of an error of the system, with the file that it is about."""
    if error.filename:
        return f"{Path(error.filename)}: {error.strerror}"
    return str(error.strerror or error)


def free_space(path: Path) -> str:
    """Says how much space is left on the disk of a file or folder, which need not exist yet."""
    existing = next(folder for folder in (path, *path.parents) if os.path.isdir(folder))
    return f"{shutil.disk_usage(existing).free / 2**20:,.0f} MiB are free"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a run folder for this process. The system releases the lock however the process ends."""
    try:
        with Folder(folder).open("train.log", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            descriptor = os.dup(file.fileno())  # keeps the lock when the file is closed
    except BlockingIOError:
        raise UserError(f"{folder}: another run is writing into this folder; wait for it or stop it") from None
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be written ({error.strerror})") from None
    try:
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process is writing into a run folder: see `locked`. Nothing is created or changed."""
    try:
        with Folder(folder).open("train.log") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go when the file is closed
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
