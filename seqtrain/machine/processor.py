"""What arithmetic this processor has, by the instructions that it names, and what it only emulates."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import torch
from torch.nn import functional as F

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # products of bfloat16: of Intel and AMD, of Intel, of ARM
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # variables that name the newest instructions oneDNN may use
WITHOUT = {
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
}  # no bfloat16 products
SIZE = 256  # rows and columns of the products that are timed


@cache
def description() -> str:
    """What tells this processor from another one: its name and its instruction sets."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    named = (line for line in cpuinfo() if line.startswith(("model", "CPU part", "flags", "Features")))
    return " ".join(dict.fromkeys(" ".join(named).split())) or platform.machine()


def cpuinfo() -> list[str]:
    """The lines that Linux has about its first processor."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.partition("\n\n")[0].splitlines()


@cache
def instructions() -> frozenset[str]:
    """The names of the instruction sets, as Linux gives them; on a Mac bf16, where it has that; none elsewhere."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "hw.optional.arm.FEAT_BF16"]
        value = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return frozenset({"bf16"} if value.strip() == "1" else ())
    named = (line.partition(":")[2] for line in cpuinfo() if line.startswith(("flags", "Features")))
    return frozenset(next(named, "").split())


def limit() -> str | None:
    """The newest instructions that oneDNN may use, where the environment says so."""
    return next((os.environ[name].upper() for name in LIMITS if os.environ.get(name)), None)


def runs_bfloat16() -> bool:
    """Whether oneDNN, and with it torch's layers, takes bfloat16 here at all: a small product is tried, since torch
    asks the processor only, and not what oneDNN may use of it."""
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    try:
        torch.ops.mkldnn._linear_pointwise(one, one, None, "none", [], "")
    except RuntimeError:
        return False
    return True


def has_bfloat16() -> bool:
    """Whether the processor has instructions for it, and oneDNN may use them: what emulates them takes 4 to 10 times as
    long as float32. MKL_ENABLE_INSTRUCTIONS and ATEN_CPU_CAPABILITY change nothing here: oneDNN makes these products.
    """
    return runs_bfloat16() and not BFLOAT16.isdisjoint(instructions()) and limit() not in WITHOUT


@cache
def slowdown() -> float:
    """The time of a product in bfloat16 as a multiple of that in float32: the best of some, in all some milliseconds
    beside the making of two kernels."""
    with torch.inference_mode():
        times = []
        for dtype in (torch.bfloat16, torch.float32):
            rows = torch.ones(SIZE, SIZE, dtype=dtype)
            seconds = []
            for _ in range(5):
                since = time.perf_counter()
                F.linear(rows, rows)
                seconds.append(time.perf_counter() - since)
            times.append(min(seconds))
    return times[0] / times[1]
