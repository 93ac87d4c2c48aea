"""Files in tar archives, each named as if its archive were a folder: shards/000.tar/0001.wav. None is unpacked."""

from __future__ import annotations

import io
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from seqtrain.config import UserError, expanded
from seqtrain.config.spelling import did_you_mean, near

TAR = ".tar"


class Member(NamedTuple):
    """A file in an archive: where its bytes are."""

    archive: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """As `Path.open`, of the bytes in memory."""
        return io.BufferedReader(io.BytesIO(self.read()))


def find_member(name: str) -> Member | None:
    """The file in an archive that a path names; None where no part of it is an archive. Raises `UserError` where the
    archive has no such file."""
    path = expanded(name)
    archive = next((part for part in path.parents if part.suffix.lower() == TAR and part.is_file()), None)
    if archive is None:
        return None
    members, wanted = members_of(archive), path.relative_to(archive).as_posix()
    if wanted not in members:
        raise UserError(f"{name}: there is no {wanted} in {archive}{did_you_mean(near(wanted, members))}")
    return members[wanted]


def members_of(archive: Path) -> dict[str, Member]:
    """The files in an archive by their names in it, in its order."""
    return read_headers(archive, archive.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def read_headers(archive: Path, changed: int) -> dict[str, Member]:
    """See `members_of`. changed: when the archive was last written to."""
    try:
        with tarfile.open(archive, "r:") as tar:
            parts = [part for part in tar if part.isfile()]
            tar.fileobj.seek(tar.offset)  # type: ignore[union-attr]
            if any(tar.fileobj.read(512) or b"?"):  # type: ignore[union-attr]
                raise tarfile.ReadError("unexpected end of headers")
        return {part.name: Member(archive, part.name, part.offset_data, part.size) for part in parts}
    except tarfile.TarError as error:
        with archive.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        problem = f"damaged or cut off ({error}); fetch it again, or leave it out"
        if zipped:
            problem = "gzipped, and nothing in it can be read at its place: gunzip it"
        raise UserError(f"{archive}: the archive is {problem}") from None
    except OSError as error:
        raise UserError(f"{archive}: the file cannot be read ({error.strerror or error})") from None
