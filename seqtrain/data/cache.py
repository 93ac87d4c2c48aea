"""Public files by name: fetched once, checked by their checksum, and used from then on."""

from __future__ import annotations

import hashlib
import os
from importlib.resources import files
from pathlib import Path

from seqtrain.config import UserError


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
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
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
