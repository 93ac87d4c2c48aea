"""How many threads a process gets, how they wait for each other, and whether it is one of several processes."""

from __future__ import annotations

import os
from pathlib import Path

from seqtrain.config import UserError

CGROUPS = Path("/sys/fs/cgroup")
STORE = "SEQTRAIN_STORE"  # in the environment: the folder in which the processes of a training meet
SHARE = "SEQTRAIN_CORES"  # in the environment: how many cores a sweep leaves to each of the jobs that it runs together


def granted(groups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The cores that this process may use: those that its affinity names, or fewer where a container's quota of CPU
    time is smaller, or its share of them as a job of a sweep. Machines without cgroups have no quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = [read_number(SHARE)] if SHARE in os.environ else []
    return max(1, min([cores, *quotas(groups, own), *share]))


def read_number(variable: str) -> int:
    """Reads a whole number from a variable of the environment; raises `UserError` for anything else."""
    value = os.environ.get(variable, "")
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise UserError(f"{variable}={value}: expected a whole number in this variable of the environment")
    return int(value)


def allotted(processes: int) -> int:
    """The threads that each of several processes may have."""
    return max(1, granted() // processes)


def environment(share: int) -> dict[str, str]:
    """What a process that is to use so many cores must find in its environment before it imports torch."""
    typed = os.environ.get("OMP_NUM_THREADS", "")
    return {SHARE: str(share), "OMP_NUM_THREADS": str(min(share, int(typed)) if typed.isdecimal() else share)}


def quotas(groups: Path, own: Path) -> list[int]:
    """Whole cores of every quota on the way up from this process's cgroup, of version 2 (cpu.max) or 1."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    found = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers if controllers else groups
        place = root / path.lstrip("/")
        for folder in (place, *place.parents):
            if folder.is_relative_to(root):
                found += quota(folder)
    return found


def quota(folder: Path) -> list[int]:
    """The quota of one cgroup as whole cores, rounded up, if it has one."""
    try:
        if (folder / "cpu.max").exists():
            share, period = (folder / "cpu.max").read_text().split()
        else:
            share, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return [-(-int(share) // int(period))] if int(share) > 0 else []
    except (OSError, ValueError):  # "max": no quota
        return []


def launched() -> bool:
    """Whether this is one of the processes that seqtrain's own launcher, or torchrun, has started."""
    torchrun = {"MASTER_ADDR", "MASTER_PORT", "RANK"} <= os.environ.keys() and os.environ.get("WORLD_SIZE", "1") != "1"
    return STORE in os.environ or torchrun


def restarted() -> bool:
    """Whether torchrun has started this process anew, after one of its processes was lost."""
    return launched() and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def limit_spinning() -> None:
    """Makes threads that wait give up their core after some microseconds. Has to be called before torch is imported.

    By default OpenMP (libgomp) lets a waiting thread spin for milliseconds and so keeps another thread off the core.
    With both cores of a machine busy, two threads trained at a fifteenth of the speed of one; with this limit, at the
    same speed. On a quiet machine the limit costs nothing.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
