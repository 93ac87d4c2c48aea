"""Connects the processes of one training, and makes sure that nobody else is among them.

Processes that `processes.launch` has started share a file in a folder that only their user can enter. But until all of
them have connected, any user of the machine could connect to gloo's sockets. So each pair of processes proves to each
other that it can read that file, before anything but numbers is sent. torchrun has its own store, which is open to all
who can reach its port.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import FileStore, PrefixStore  # pyright: ignore[reportPrivateImportUsage]

from seqtrain.config import UserError
from seqtrain.machine.threads import STORE
from seqtrain.terminal.progress import run_in_thread
from seqtrain.terminal.streams import say

ARRIVAL = timedelta(minutes=5)  # timeout until all processes have started
PATIENCE = timedelta(days=20)  # timeout of communication; gloo's is half an hour, and more than this overflows
SILENCE = 10.0  # seconds of waiting, after which a line says what for


class Stranger(UserError):
    """Somebody else has connected in place of a process of this training."""


def open_private() -> tuple[Path, Any]:
    """Makes a folder that only this user can enter, and the store in it; returns both."""
    folder = Path(tempfile.mkdtemp(prefix="seqtrain-"))
    store = join_private(folder)
    store.set("secret", secrets.token_hex())
    return folder, store


def join_private(folder: Path) -> Any:
    """Returns the store in a folder of `open_private`. Raises `UserError` where others can enter the folder."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != 0o700:
        raise UserError(f"{STORE}={folder}: expected a folder that only this user can enter")
    store = FileStore(str(folder / "store"))
    store.set_timeout(PATIENCE)
    return store


def join_torchrun(rank: int, size: int) -> Any:
    """Returns the store of torchrun, whose address is in its variables. Raises `UserError` where other processes do not
    connect in time."""
    this_one = f"RANK={rank} WORLD_SIZE={size}"
    others = f"the other processes at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    cure = "torchrun starts them, and unset RANK trains alone"
    since = time.monotonic()
    reported = False

    def connect() -> Any:
        from torch.distributed.rendezvous import rendezvous

        return next(rendezvous("env://", timeout=ARRIVAL))[0]

    def report() -> None:
        nonlocal reported
        if not reported and time.monotonic() > since + SILENCE:
            reported = True
            say(f"seqtrain: {this_one}: waiting for {others}; {cure}")

    try:
        store = run_in_thread(connect, report)
    except Exception as error:
        raise UserError(f"{this_one}: waited in vain for {others}; {cure}") from error
    store.set_timeout(PATIENCE)
    if os.environ["LOCAL_WORLD_SIZE"] == str(size):  # on one machine torchrun keeps its store when it starts anew
        return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    return store


def prove(store: Any, rank: int, size: int) -> None:
    """Raises `Stranger` unless the process behind each of gloo's connections can read the private store."""
    secret = bytes.fromhex(store.get("secret").decode())

    def token(sender: int, receiver: int) -> torch.Tensor:
        digest = hmac.digest(secret, f"{sender} {receiver}".encode(), hashlib.sha256)
        return torch.frombuffer(bytearray(digest), dtype=torch.uint8)

    others = [other for other in range(size) if other != rank]
    received = {other: torch.zeros(32, dtype=torch.uint8) for other in others}
    works = [dist.isend(token(rank, other), other) for other in others]
    works += [dist.irecv(received[other], other) for other in others]
    for work in works:
        assert work is not None
        work.wait()
    for other in others:
        if not hmac.compare_digest(received[other].numpy().tobytes(), token(other, rank).numpy().tobytes()):
            raise Stranger(f"somebody else has connected in the place of process {other}")
