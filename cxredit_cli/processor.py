"""What the processor is and can do. Nothing heavy is imported, so that `doctor` can ask before anything works."""

import functools
import os
import platform
import re
from pathlib import Path

from cxredit_cli.torchrun import Place


def processors() -> int:
    """How many processors this process may use; of several processes that torchrun started here, its share."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(here // Place.of(os.environ).count_here, 1)


def cpu_model() -> str:
    """The processor as its maker calls it."""
    return _of_cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively; without that bf16 is emulated and slower than fp32."""
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})


def cpu_has_matrix_tiles() -> bool:
    """Whether the processor multiplies bfloat16 by tiles (AMX), many times faster than by vectors."""
    return "amx_bf16" in cpu_flags()


@functools.cache
def cpu_flags() -> frozenset[str]:
    """What the processor can do, in Linux's names; empty on other systems."""
    return frozenset(_of_cpuinfo("flags").split())


def _of_cpuinfo(field: str) -> str:
    """What Linux says of the first processor under a name; "" where it says nothing, and on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(rf"^{field}\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    return found[1] if found else ""
