"""Several processes that train one model: each works on a part of every batch, and all take the same steps.

The first (rank 0) reads the command, prepares, writes and speaks. It starts the others itself, or torchrun has started
them all; the others wait for its word. They meet once a step, in one sum of all that they have to tell each other.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from subprocess import Popen as Process
from threading import Thread
from typing import Any

import torch
from torch import Tensor, nn

from seqtrain.batch import Batch
from seqtrain.interruption import Interruption, Lost
from seqtrain.products import by_columns
from seqtrain.threads import launched

log = logging.getLogger(__name__)
ARRIVAL = timedelta(minutes=5)  # until all processes have started
PATIENCE = timedelta(days=20)  # for each other's work; gloo would give up after half an hour. Longer overflows
HOME = "127.0.0.1"
COURTESY = 5.0  # seconds in which an error in one process is left to the first one to tell


class Team:
    """One process alone, for which there is nothing to agree upon. size: how many processes; rank: which one."""

    rank = 0
    size = 1
    place: int | None = None  # the rank among the processes of this machine
    neighbours = 1  # how many these are

    def take(self, batch: Batch) -> Batch:
        """This process's part of a batch."""
        return batch

    def add_up(
        self, model: nn.Module, loss: Tensor, count: Tensor, short: bool, interruption: Interruption
    ) -> tuple[Tensor, Tensor, bool]:
        """Adds up the gradients, the loss and the count of all processes; hears, in the same message, whether one ran
        short of memory, and whether one was asked to stop."""
        return loss, count, short

    def signal(self, interruption: Interruption) -> int:
        """The signal that ends the run, 0 where there is none: the same one in all processes."""
        return interruption.signal

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank, in all processes."""
        return [value]

    def share(self, value: Any) -> Any:
        """The first one's value, in all processes."""
        return value

    def lead(self, work: Callable[[], Any]) -> Any:
        """What the first process alone does; what goes wrong goes wrong for all."""
        return work()

    def close(self) -> None:
        """Lets the other processes go."""


class Several(Team):
    """One process of several. store: where they find each other. others: those that this one has started. hint: what
    to do when one of them is lost."""

    def __init__(self, rank: int, size: int, store: Any, hint: str = "", others: Sequence[Process] = ()):
        self.rank, self.size, self.store, self.hint, self.others = rank, size, store, hint, others
        self.place, self.neighbours = int(os.environ.get("LOCAL_RANK", rank)), size
        self.own = bool(others)  # started by the first one of them, not by torchrun
        self.common: Tensor | None = None  # memory for gradients, once they are added up
        self.asked = 0
        self.lost = ""
        self.closing = False

    # -------------------------------------------------------------------------------------- how they come together

    @classmethod
    def started(cls, size: int, hint: str) -> Several:
        """Starts the other processes, which find their way by the variables that torchrun sets, too."""
        from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

        listening = socket.create_server((HOME, 0))  # the store itself would listen to the whole network
        port = listening.getsockname()[1]
        how: dict[str, Any] = {"timeout": PATIENCE, "wait_for_workers": False, "master_listen_fd": listening.detach()}
        store = TCPStore(HOME, port, None, True, **how)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        common = {"MASTER_ADDR": HOME, "MASTER_PORT": port, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        common |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        common |= {"TORCH_CPP_LOG_LEVEL": "ERROR"}  # else a lost connection is told with the frames of C++
        others = []
        for rank in range(1, size):
            own = {name: str(value) for name, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()}
            command = [sys.executable, "-m", "seqtrain"]
            others.append(Process(command, stdin=subprocess.DEVNULL, env=os.environ | own))
        team = cls(0, size, store, hint, others)
        Thread(target=team.watch_others, daemon=True).start()
        return team

    @classmethod
    def met(cls, hint: str = "") -> Several:
        """As one of the processes that torchrun, or the first process, has started."""
        from torch.distributed.rendezvous import rendezvous

        store = next(rendezvous("env://", timeout=ARRIVAL))[0]
        store.set_timeout(PATIENCE)
        team = cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), store, hint)
        team.neighbours = int(os.environ["LOCAL_WORLD_SIZE"])
        if team.rank:
            Thread(target=team.watch_parent, daemon=True).start()
        return team

    def call(self, cfg: dict[str, Any], folder: Path) -> None:
        """The word that the others wait for: to what they shall train."""
        self.store.set("word", json.dumps([cfg, str(folder), self.own, self.hint]))
        self.join()

    def heard(self) -> tuple[dict[str, Any], Path] | int:
        """Waits for the first process's word, or for the exit code with which it ends without one. Python itself sleeps
        in between, and so a signal is heard."""
        while not self.store.check(["word"]):
            if (code := self.last_word()) is not None:
                return code
            time.sleep(0.05)
        cfg, folder, self.own, self.hint = json.loads(self.store.get("word"))
        self.join()
        return cfg, Path(folder)

    def join(self) -> None:
        import torch.distributed as dist

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        place: dict[str, Any] = {"store": self.store, "rank": self.rank, "world_size": self.size}
        self.attempt(lambda: dist.init_process_group(backend, timeout=PATIENCE, **place))

    def last_word(self, patience: float = 0.0) -> int | None:
        """The exit code with which the first process has ended in good order, if it has, or does so soon."""
        end = time.monotonic() + patience
        with suppress(RuntimeError):  # the store has gone
            while not (there := self.store.check(["end"])) and time.monotonic() < end:
                time.sleep(0.05)
            return int(self.store.get("end")) if there else None
        return None

    def close(self) -> None:
        import torch.distributed as dist

        self.closing = True
        if self.others:
            self.store.set("end", "0")
        if joined := dist.is_initialized():
            dist.destroy_process_group()
        for process in self.others:
            with suppress(subprocess.TimeoutExpired):
                process.wait(COURTESY if joined else 0)
            process.kill()  # it has nothing to lose
            process.wait()

    # -------------------------------------------------------------------------------------- what they tell each other

    def take(self, batch: Batch) -> Batch:
        return batch.take(slice(self.rank, None, self.size))

    def add_up(
        self, model: nn.Module, loss: Tensor, count: Tensor, short: bool, interruption: Interruption
    ) -> tuple[Tensor, Tensor, bool]:
        import torch.distributed as dist

        weights = list(model.parameters())
        there = [weight.grad is not None for weight in weights]
        signals = [interruption.signal if rank == self.rank else 0 for rank in range(self.size)]
        told = torch.tensor([short, *signals, *there], dtype=loss.dtype, device=loss.device)
        notes = torch.cat([torch.stack([loss, count]), told])
        gradients = [
            weight.new_zeros(weight.numel()) if weight.grad is None else as_they_lie(weight, weight.grad).flatten()
            for weight in weights
        ]
        sizes = [len(gradient) for gradient in gradients]
        if self.common is None:
            self.common = self.memory(weights[0].new_empty(0), sum(sizes))
        if len(self.common):
            notes, flat = self.add_here(notes, gradients, self.common)
        else:
            both = torch.cat([notes, *gradients])
            self.attempt(lambda: dist.all_reduce(both))
            notes, flat = both.split([len(notes), sum(sizes)])
        loss, count = notes[:2]
        shorts, *rest = map(int, notes[2:].tolist())
        self.asked = next(filter(None, rest[: self.size]), 0)
        for weight, gradient, holders in zip(weights, flat.split(sizes), rest[self.size :], strict=True):
            shaped = as_they_lie(weight, gradient.view_as(as_they_lie(weight, weight)))
            weight.grad = shaped if holders else None  # None as with one: an optimizer leaves it out
        return loss, count, shorts > 0

    def memory(self, like: Tensor, length: int) -> Tensor:
        """(processes + 1, length): memory that all processes see, where they are all of one machine; else it has no
        rows. It has no name in any folder, and is gone with the processes."""
        possible = like.device.type == "cpu" and self.neighbours == self.size and hasattr(os, "memfd_create")
        rows, file, found = self.size + 1, None, like
        if possible and self.rank == 0:
            with suppress(OSError):
                file = os.memfd_create("seqtrain")
                os.ftruncate(file, rows * length * like.element_size())
        place = self.share(None if file is None else f"/proc/{os.getpid()}/fd/{file}")
        if place is not None:
            with suppress(RuntimeError, OSError):
                found = torch.from_file(place, shared=True, size=rows * length, dtype=like.dtype).view(rows, length)
        all_see = all(self.gather(len(found) > 0))
        if file is not None:
            os.close(file)
        return found if all_see else like

    def add_here(self, notes: Tensor, gradients: list[Tensor], common: Tensor) -> tuple[Tensor, Tensor]:
        """Each process lays its gradients down in a row of the common memory, adds up a part of all rows, and reads the
        sum of all parts in the last row. With 46 MB of gradients a step takes 0.82 of the time that it does with gloo's
        socket."""
        import torch.distributed as dist

        length = common.size(1)
        own = slice(length * self.rank // self.size, length * (self.rank + 1) // self.size)
        torch.cat(gradients, out=common[self.rank])
        self.attempt(lambda: dist.all_reduce(notes))  # with it all have laid down theirs
        torch.sum(common[:-1, own], 0, out=common[-1, own])
        self.attempt(dist.barrier)
        return notes, common[-1].clone()  # each process's own: its optimizer changes them

    def signal(self, interruption: Interruption) -> int:
        return self.asked

    def gather(self, value: Any) -> list[Any]:
        import torch.distributed as dist

        found = [None] * self.size
        self.attempt(lambda: dist.all_gather_object(found, value))
        return found

    def share(self, value: Any) -> Any:
        import torch.distributed as dist

        held = [value]
        self.attempt(lambda: dist.broadcast_object_list(held))
        return held[0]

    def lead(self, work: Callable[[], Any]) -> Any:
        found, problem = None, None
        if self.rank == 0:
            try:
                found = work()
            except Exception as error:
                problem = error
        found, problem = self.share((found, problem))
        if problem is not None:
            raise problem
        return found

    # -------------------------------------------------------------------------------------- when one of them dies

    def attempt(self, meet: Callable[[], object]) -> None:
        try:
            meet()
        except RuntimeError as error:
            end = time.monotonic() + COURTESY
            while self.own and not self.lost and self.last_word() is None and time.monotonic() < end:
                time.sleep(0.05)  # who watches finds out which one it was
            raise Lost((self.lost or f"another one of {self.size} processes has ended") + self.hint) from error

    def watch_others(self) -> None:
        """Finds out which of the processes that this one has started ends out of turn, and takes care that all do: on a
        GPU this one may wait for ever for what will not come."""
        while not self.closing and not self.lost:
            time.sleep(0.1)
            for rank, process in enumerate(self.others, 1):
                code = process.poll()
                if code and code > 0:
                    time.sleep(COURTESY / 2)  # all may be about to end
                if code and not self.closing:
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    self.lost = f"process {rank} of {self.size} has ended ({how})"
        if not self.closing:
            for process in self.others:
                process.kill()
            self.end_in(2 * COURTESY)

    def watch_parent(self) -> None:
        """Finds out when the process that has started this one has gone."""
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(0.1)
        self.lost = f"{'torchrun' if 'TORCHELASTIC_RUN_ID' in os.environ else f'process 0 of {self.size}'} has ended"
        self.end_in(1)

    def end_in(self, seconds: float) -> None:
        """Ends this process, unless it has done so by itself by then."""
        time.sleep(seconds)
        if not self.closing:
            log.critical("%s%s", self.lost, self.hint)
            os._exit(1)


@contextmanager
def gathered(processes: int, folder: Path) -> Iterator[Team]:
    """The team that trains into a folder, in its first process: that of torchrun, or one that is started."""
    hint = f"; to go on: seqtrain resume={folder}"
    team = Several.met(hint) if launched() else Several.started(processes, hint) if processes > 1 else Team()
    try:
        yield team
    finally:
        team.close()


def lead(command: Callable[[], int]) -> int:
    """Runs a command in the first process of torchrun, and tells the others its exit code."""
    team, code = Several.met(), 1
    try:
        code = command()
        return code
    finally:
        team.store.set("end", str(code))


def as_they_lie(weight: Tensor, gradient: Tensor) -> Tensor:
    """A gradient with the rows that its weight has in memory; the same once more gives it back."""
    return gradient.t() if by_columns(weight) else gradient
