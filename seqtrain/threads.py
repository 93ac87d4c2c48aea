"""How many threads a process gets, how they wait for each other, and whether it is one of several processes."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SHARE = "SEQTRAIN_CORES"  # in the environment: how many cores a sweep leaves to each of the jobs that it runs together


def granted(groups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The cores that this process may use: those that its affinity names, or fewer where a container's quota of CPU
    time is smaller, or its share of them as a job of a sweep. Machines without cgroups have no quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = [int(os.environ[SHARE])] if SHARE in os.environ else []
    return max(1, min([cores, *quotas(groups, own), *share]))


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
    """Whether torchrun, or the first of several processes that train together, has started this one."""
    return {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys() and os.environ.get("WORLD_SIZE", "1") != "1"


def wait_politely() -> None:
    """Makes threads that wait give up their core after some microseconds; to be called before torch is imported.

    OpenMP's (libgomp) own default is to spin for milliseconds, in which a thread that a neighbour has pushed off its
    core cannot come back: with both cores of a machine busy, two threads trained at a fifteenth of the speed of one,
    with this at the same speed; on a quiet machine it costs nothing.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
