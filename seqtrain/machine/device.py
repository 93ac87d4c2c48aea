"""The device that computes, how many processes share it, and its type of arithmetic."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from seqtrain.config import UserError
from seqtrain.machine import processor
from seqtrain.machine.threads import allotted

THREADS = torch.get_num_threads()  # as the machine and OMP_NUM_THREADS have it
log = logging.getLogger(__name__)


def open_device(settings: Mapping[str, Any], rank: int | None = None, processes: int = 1) -> torch.device:
    """The device of an option of `device`; sets the threads of torch. rank: of this process among the `processes` of
    this machine that train together."""
    name, threads = settings["name"], settings["threads"]
    torch.set_num_threads(threads or min(THREADS, allotted(processes)))
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available[name]:
        raise UserError(f"device={name}: torch finds no such device here; device=cpu or device=auto will do")
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(name, processes)
    if processes > most:
        raise UserError(f"device={name}: {processes} processes need as many devices, and there are {most}; "
                        f"device.processes={most} will do")  # fmt: skip
    if name == "cuda" and rank is not None:
        torch.cuda.set_device(rank)
        return torch.device(name, rank)
    return torch.device(name)


def settle_precision(key: str, wanted: str, device: torch.device) -> str:
    """The type of arithmetic that a key asks for: `auto` becomes bfloat16 where the processor itself has it."""
    if device.type == "cpu":
        able, fast = processor.runs_bfloat16(), processor.has_bfloat16()
    else:
        able = fast = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bfloat16" and not able:
        limit = processor.limit()
        limited = f" (oneDNN may use {limit} at most)" if limit else ""
        what = "GPU" if device.type == "cuda" else f"CPU{limited}"
        raise UserError(f"{key}=bfloat16: this {what} has no such arithmetic; {key}=auto will do")
    if wanted == "bfloat16" and not fast:
        warn_of_emulation(key)
    if wanted != "auto":
        return wanted
    return "bfloat16" if fast else "float32"


@cache
def warn_of_emulation(key: str) -> None:
    if (ratio := processor.slowdown()) > 1:
        log.warning("%s=bfloat16: this CPU emulates it, and a product takes %.1f times as long as in float32; "
                    "%s=auto takes float32 here", key, ratio, key)  # fmt: skip
