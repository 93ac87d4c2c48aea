"""Files of data sets of the Hugging Face hub, named as its file system names them: hf://datasets/OWNER/NAME/PATH.

No other address is fetched: a stored configuration must not be able to name an arbitrary one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from seqtrain.config import UserError, in_brief, retold
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.reading.archives import TAR
from seqtrain.reading.files import ending
from seqtrain.storage.cache import prepared

SCHEME = "hf://"
SHAPE = re.compile(r"hf://(datasets/[^/@]+/[^/@]+(?:@(?:refs/\w+/[^/]+|[^/]+))?)(?:/.*)?")  # group 1: the repository
BLOCK = 1 << 20  # bytes that are fetched at a time


def is_hub(name: str) -> bool:
    return name.startswith(SCHEME)


def filesystem() -> Any:
    """The file system of the hub, by paths without the scheme; a token is found where `hf auth login` has put it."""
    try:
        from huggingface_hub import HfFileSystem
    except ImportError:
        raise UserError("hf:// needs huggingface_hub: pip install 'seqtrain[hub]'") from None
    return HfFileSystem()


def hub_files(place: str, setting: str, endings: Sequence[str]) -> list[str]:
    """The files that a pattern, a folder or a name stands for; of a folder, those with one of the endings."""
    with raising(place, f"{setting}={place}"):
        files, path = filesystem(), path_of(place, setting)
        found = files.info(repository(place))  # tells what is wrong with the repository, as `glob` does not
        if any(sign in path for sign in "*?["):
            found = files.glob(path, detail=True)
        elif files.info(path)["type"] == "directory":
            found = {name: info for name, info in files.find(path, detail=True).items() if ending(name) in endings}
        else:
            found = {path: files.info(path)}
        names = sorted(name for name, info in found.items() if info["type"] == "file" and info["size"])
        if not names:
            raise FileNotFoundError(path)
        return [SCHEME + name for name in names]


def path_of(name: str, setting: str) -> str:
    """The path of a name without its scheme. Raises `UserError` where it names no data set of the hub."""
    if not SHAPE.fullmatch(name):
        raise UserError(f"{setting}={name}: expected a data set of the hub, as hf://datasets/OWNER/NAME/data/*.parquet")
    if name.lower().endswith(TAR):
        raise UserError(f"{setting}={name}: archives are read on the disk, not from the hub; fetch them: "
                        "hf download --repo-type dataset OWNER/NAME")  # fmt: skip
    return name.removeprefix(SCHEME)


def repository(name: str) -> str:
    match = SHAPE.fullmatch(name)
    return match[1] if match else ""


def hub_size(name: str) -> int:
    with raising(name, name):
        return filesystem().size(name.removeprefix(SCHEME))


def open_hub(name: str) -> io.BufferedReader:
    """A file, of which a part after the other is fetched while it is read."""
    return io.BufferedReader(Remote(name), BLOCK)


def fetched(name: str, setting: str) -> str:
    """The path of a file in the cache, into which it is fetched once."""
    path = path_of(name, setting)

    def fetch(folder: Path) -> None:
        with raising(name, f"{setting}={name}"):
            filesystem().get_file(path, str(folder / Path(path).name))

    return str(prepared(f"hub {path}", fetch) / Path(path).name)


class Remote(io.RawIOBase):
    """Bytes of the hub. Whatever goes wrong while they are read is raised as a `UserError`."""

    def __init__(self, name: str):
        self.raising = partial(raising, name, name)
        self.file: Any = io.BytesIO()  # to be closed, where the other cannot be opened
        with self.raising():
            self.file = filesystem().open(name.removeprefix(SCHEME), "rb", block_size=BLOCK)

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        with self.raising():
            data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def raising(name: str, label: str) -> AbstractContextManager[None]:
    """Raises what the hub or the way to it says as a `UserError`."""
    return retold(lambda error: f"{label}: {problem(name, error)}")


def problem(name: str, error: Exception) -> str:
    kinds = {type(cause).__name__ for cause in (error, error.__cause__)}
    if "GatedRepoError" in kinds:
        return "the data set is for those who have accepted its terms: do so on its page, then hf auth login"
    if "RepositoryNotFoundError" in kinds:
        return "the hub has no such data set, or a private one: hf auth login says who you are"
    if "RevisionNotFoundError" in kinds:
        return "the data set has no such revision, which the name after @ is"
    if "OfflineModeIsEnabled" in kinds:
        return "HF_HUB_OFFLINE is set, and this has to be fetched: unset it"
    if isinstance(error, FileNotFoundError):
        try:
            known = [SCHEME + path for path in filesystem().find(repository(name), withdirs=True)]
        except Exception:  # the message is about the file
            known = []
        return f"there is no such file in the data set{did_you_mean(near(name, known))}"
    return (
        f"the hub cannot be reached, or does not answer ({type(error).__name__}: {in_brief(error)}); try it again later"
    )
