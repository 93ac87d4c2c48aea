"""Data-parallel training: each process works on its own rows of every batch, and all make the same updates.

`launch` starts the processes of one machine and watches over them; torchrun does so on several machines. The first
process (rank 0) runs the command: it prepares the data, writes and logs. The others `follow`: they wait until the first
one calls them to train.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from subprocess import Popen
from threading import Thread
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from seqtrain.config import UserError
from seqtrain.engine import rendezvous
from seqtrain.engine.objective import Parallel
from seqtrain.engine.rendezvous import PATIENCE
from seqtrain.engine.sharding import Sharded
from seqtrain.machine.signals import SIGNALS, Interrupted, Interruption, Lost, Pruned
from seqtrain.machine.threads import STORE, launched
from seqtrain.terminal.streams import say

log = logging.getLogger(__name__)
PERIOD = 0.1  # seconds between two checks of the other processes
GRACE = 3.0  # seconds to wait after a failure: when one process fails the others do, perhaps before it has ended
LEFT_ALONE = 75  # the exit code of a process that failed because another one has ended


class Shared(UserError):
    """What none of the processes can go on with; the first one reports it."""


class Team:
    """The processes that train together, as one of them sees them.

    rank: the number of this process. size: how many there are; with size 1 every method works without communication.
    again: the command that resumes the run, shown when a process is lost.
    """

    def __init__(self) -> None:
        """Makes a team of one process; see `join`."""
        self.rank, self.size = 0, 1
        self.local_rank: int | None = None  # among the processes of this machine
        self.local_size = 1
        self.store: Any = None
        self.private = False
        self.again = ""
        self.agreed_signal = 0  # a signal that any of the processes has received

    # -------------------------------------------------------------------------------------- how they come together

    def join(self) -> None:
        """Makes this process a member of the team that torchrun or `launch` has started."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        self.rank, self.size, self.local_rank, self.local_size = (int(os.environ[name]) for name in names)
        self.private = STORE in os.environ
        if self.private:
            self.store = rendezvous.join_private(Path(os.environ[STORE]))
        else:
            self.store = rendezvous.join_torchrun(self.rank, self.size)
        Thread(target=self.end_with_launcher, daemon=True).start()

    def end_with_launcher(self) -> None:
        """Ends this process when the process that has started it ends."""
        launcher = os.getppid()
        while os.getppid() == launcher:
            time.sleep(PERIOD)
        if not (self.private and self.rank):  # one line is enough
            say(f"seqtrain: the process that started the training has ended{self.cure}")
        os._exit(1)

    @property
    def cure(self) -> str:
        """The end of a message, with the command that resumes the run."""
        return f"; to go on: {self.again}" if self.again else ""

    def call(self, cfg: dict[str, Any], folder: Path) -> None:
        """Makes the other processes, which `wait_for_call`, train with this one."""
        self.store.set("call", json.dumps([cfg, str(folder), self.again]))
        self.connect()

    def wait_for_call(self) -> tuple[dict[str, Any], Path] | None:
        """Waits for the first process to call; returns the configuration and the run folder, or None where it has ended
        without a call. It polls, since a signal could not interrupt a wait in C++."""
        with self.raising_lost():
            while not self.store.check(["call"]):
                time.sleep(PERIOD / 2)
            call = self.store.get("call")
        if not call:
            return None
        cfg, folder, self.again = json.loads(call)
        self.connect()
        return cfg, Path(folder)

    def connect(self) -> None:
        """Sets up torch.distributed; returns when all processes have done so."""
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with self.raising_lost():
            dist.init_process_group(backend, timeout=PATIENCE, store=self.store, rank=self.rank, world_size=self.size)
            if self.private:
                rendezvous.prove(self.store, self.rank, self.size)

    def close(self) -> None:
        """Ends the communication with the other processes."""
        if dist.is_initialized():
            dist.destroy_process_group()

    @contextmanager
    def raising_lost(self) -> Iterator[None]:
        """Raises `Lost` in place of the error with which communication fails when another process has ended."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            raise Lost(f"another one of {self.size} processes has ended{self.cure}") from error

    # -------------------------------------------------------------------------------------- what they agree upon

    @property
    def part(self) -> slice:
        """The rows of a batch that this process works on."""
        return slice(self.rank, None, self.size)

    def agree(
        self, loss: Tensor, count: Tensor, numbers: list[int], interruption: Interruption, objective: nn.Module
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Sums the loss, the count and the numbers over all processes; called after the gradients of each update.

        In the same exchange all processes learn which signal has come, and which weights have no gradient anywhere.
        """
        if not isinstance(objective, Parallel | Sharded):
            return loss, count, numbers
        with self.raising_lost():
            had_gradient = objective.complete()
            signals = [interruption.signal == number for number in SIGNALS]
            integers = torch.tensor([*numbers, *signals, *had_gradient], dtype=loss.dtype, device=loss.device)
            sums = torch.cat([torch.stack([loss, count]), integers])
            dist.all_reduce(sums)
        flags = [int(number) for number in sums[2 + len(numbers) :].tolist()]
        self.agreed_signal = next((number for number, came in zip(SIGNALS, flags, strict=False) if came), 0)
        for weight, had_any_gradient in zip(objective.weights, flags[len(SIGNALS) :], strict=True):
            if not had_any_gradient:
                weight.grad = None  # the optimizer skips it, as with one process
        return sums[0], sums[1], [int(number) for number in sums[2 : 2 + len(numbers)].tolist()]

    def signal(self, interruption: Interruption) -> int:
        """Returns the signal that ends the run after this step, the same in all processes; 0 where none has come."""
        return interruption.signal if self.size == 1 else self.agreed_signal

    def gather(self, value: Any) -> list[Any]:
        """Returns the values of all processes, by rank, in all processes."""
        values = [value] * self.size
        if self.size > 1:
            with self.raising_lost():
                dist.all_gather_object(values, value)
        return values

    def share(self, value: Any) -> Any:
        """Returns the value of the first process, in all processes."""
        values = [value]
        if self.size > 1:
            with self.raising_lost():
                dist.broadcast_object_list(values)
        return values[0]

    def lead(self, work: Callable[[], Any]) -> Any:
        """Calls `work` in the first process only; returns its result, or raises its error, in all processes."""
        value, problem = None, None
        if self.rank == 0:
            try:
                value = work()
            except Exception as error:
                problem = error
        value, problem = self.share((value, problem))
        if problem is not None:
            raise problem
        return value


@cache
def joined() -> Team:
    """Returns the team of this process, which it joins at the first call."""
    team = Team()
    if launched():
        team.join()
    return team


# -------------------------------------------------------------------------------- one process that watches over others


def launch(size: int, work: Callable[[], Any], again: str) -> Any:
    """Calls `work`, which is pickled, in the first of `size` new processes of this machine; the others `follow` it.

    Returns what `work` returns, and raises what it raises. Meanwhile this process passes signals on. Where one of the
    processes is lost it ends the others and raises `Lost`. again: the command that resumes the run, for messages.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it reports each signal that it sends
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "none"  # they are handled here
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    folder, store = rendezvous.open_private()
    store.set("work", pickle.dumps(work))
    loopback = os.environ.get("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    path = os.pathsep.join(filter(None, sys.path))
    shared = {STORE: str(folder), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "PYTHONPATH": path}
    shared |= {"GLOO_SOCKET_IFNAME": loopback, "TORCH_CPP_LOG_LEVEL": "ERROR"}  # else the frames of C++ are printed
    ranks = {rank: {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)}
    command = ("-P", "-m", "seqtrain")  # -P: do not import modules from the current folder
    sys.stdout.flush()
    started: Any = None
    try:
        with Interruption() as interruption, interruption.held():
            args, logs = dict.fromkeys(ranks, command), DefaultLogsSpecs(os.devnull)
            started = start_processes("seqtrain", sys.executable, args, ranks, logs)
            processes = [started.subprocess_handlers[rank].proc for rank in ranks]
            return watch(processes, store, interruption, again)
    finally:
        if started:
            started.close(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def watch(processes: list[Popen[bytes]], store: Any, interruption: Interruption, again: str) -> Any:
    """Waits until the first process has ended, and returns its result or raises its error; passes signals on. Raises
    `Lost` where any process has ended without a result."""
    passed_on = False
    last_without_loss = time.monotonic()
    while True:
        codes = [process.poll() for process in processes]
        if codes[0] is not None and store.check(["result"]):
            value, error = pickle.loads(store.get("result"))
            if isinstance(error, Interrupted):
                interruption.check()
            if error is not None:
                raise error
            return value
        lost = {rank: code for rank, code in enumerate(codes) if code or (rank == 0 and code is not None)}
        if not lost:
            last_without_loss = time.monotonic()
        elif interruption.signal and 0 in lost:
            log.warning("interrupted before it began; to go on: %s", again)
            interruption.check()
        elif min(lost.values()) < 0 or time.monotonic() > last_without_loss + GRACE:
            rank = min(lost, key=lambda rank: (lost[rank] == LEFT_ALONE, rank))
            how = f"signal {-lost[rank]}" if lost[rank] < 0 else f"exit code {lost[rank]}"
            raise Lost(f"process {rank} of {len(processes)} has ended ({how}); to go on: {again}")
        if interruption.signal and not passed_on:
            passed_on = True
            for process in processes:
                process.send_signal(signal.SIGCONT)  # a stopped process could not complete its step
            processes[0].send_signal(signal.SIGTERM)
        time.sleep(PERIOD)


def work() -> int:
    """Runs in the first process that `launch` has started: does the work, and hands the result to `watch`."""
    team = joined()
    value, problem = None, None
    try:
        value = pickle.loads(team.store.get("work"))()
    except Lost:
        time.sleep(10 * PERIOD)  # where the launcher has ended, too, `end_with_launcher` is to say so
        return LEFT_ALONE
    except BaseException as error:
        error.add_note(traceback.format_exc())
        problem = error
    team.store.set("result", pickle.dumps((value, problem)))
    return 0


def lead(command: Callable[[], int]) -> int:
    """Runs in the first process of torchrun: runs a command, and ends the others if it has not called them to train."""
    team = joined()
    try:
        return command()
    finally:
        with suppress(RuntimeError):  # the store no longer exists
            team.store.set("call", "")


def follow(train_along: Callable[[Team, Interruption, dict[str, Any], Path], None]) -> int:
    """Runs in all processes but the first: trains when the first one calls, without output. Returns the exit code. An
    end that all processes share is reported by the first one."""
    logging.basicConfig(level=logging.CRITICAL, format="seqtrain: %(message)s", force=True)
    logging.captureWarnings(True)
    team = joined()
    with Interruption() as interruption, interruption.held():
        try:
            if call := team.wait_for_call():
                train_along(team, interruption, *call)
        except (SystemExit, FloatingPointError, Pruned, Shared):  # an end that all processes share
            pass
        except Lost as error:
            if not team.private:
                log.critical("%s", error)
            return LEFT_ALONE
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            plain = isinstance(error, UserError)
            log.critical("process %d of %d: %s", team.rank, team.size, error if plain else traceback.format_exc())
            return 2 if plain else 1
        finally:
            team.close()
    return 0
