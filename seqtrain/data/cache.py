"""The cache: public files, fetched once and checked, and what was prepared from data, made once and mapped."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

import numpy as np

from seqtrain.config import UserError

FORMAT = 1  # of prepared data: a change of what is written makes it anew


def cache() -> Path:
    """The user's cache folder of seqtrain, or $SEQTRAIN_CACHE: what can be made again."""
    if chosen := os.environ.get("SEQTRAIN_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("seqtrain")


def downloads() -> Path:
    """Where public files lie: $SEQTRAIN_DATA, or `data` in the cache."""
    chosen = os.environ.get("SEQTRAIN_DATA")
    return Path(chosen).expanduser() if chosen else cache() / "data"


def fetch(name: str) -> Path:
    """The path of a public file, by its name in `registry.txt`. It is downloaded if it is not there yet.

    Raises `UserError` where it is there with another checksum, cannot be fetched, or its folder cannot be written.
    """
    file = downloads() / name
    expected, address = registry()[name]
    if file.is_file():
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != expected:
            raise UserError(
                f"{file}: wrong checksum (SHA-256 {found[:12]}…, expected {expected[:12]}…); "
                f"delete the file to fetch it anew from {address}"
            )
        return file
    return download(name, file, expected, address)


def registry() -> dict[str, tuple[str, str]]:
    """Checksum and address of every public file."""
    lines = files("seqtrain.data").joinpath("registry.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return {name: (checksum.removeprefix("sha256:"), address) for name, checksum, address in rows}


def download(name: str, file: Path, checksum: str, address: str) -> Path:
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            address,
            known_hash=f"sha256:{checksum}",
            fname=file.name,
            path=file.parent,
            progressbar=True,
        )
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
    return file


def prepared(key: str, make: Callable[[Path], None]) -> Path:
    """A folder in the cache for what was made once from the same content and settings, which `key` stands for.

    `make` fills a folder of its own, which takes its final name when it is complete: an interrupted run leaves nothing
    that looks finished, and of two runs that prepare the same at once the first one's is used by both.
    """
    place = cache() / "prepared" / hashlib.sha256(f"{FORMAT}\0{key}".encode()).hexdigest()[:32]
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with (
            shared(place.parent),
            tempfile.TemporaryDirectory(prefix=".making-", dir=place.parent, ignore_cleanup_errors=True) as folder,
        ):
            made = Path(folder, "made")
            made.mkdir()
            make(made)
            made.rename(place)
    except OSError as error:
        if place.is_dir():  # another run was first
            return place
        raise UserError(
            f"{place.parent}: prepared data cannot be written there ({error.strerror or error}), about "
            f"{shutil.disk_usage(existing(place)).free / 2**20:,.0f} MiB are free; SEQTRAIN_CACHE names another folder"
        ) from None
    return place


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Says to other processes that something is being made in a folder, for as long as this one lives; if nothing is,
    what killed ones left is removed first."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in folder.glob(".making-*"):
                shutil.rmtree(left, ignore_errors=True)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def existing(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next(parent for parent in path.parents if parent.is_dir())


def remembered(key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that `make` made once, mapped from the cache from then on."""

    def save(folder: Path) -> None:
        for name, array in make().items():
            np.save(folder / f"{name}.npy", array)

    folder = prepared(key, save)
    return {file.stem: np.lib.format.open_memmap(file, mode="r") for file in folder.glob("*.npy")}
