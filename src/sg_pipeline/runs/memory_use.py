"""Peak memory of a part of a step, in GiB, for reports only: no result depends on it.

On a GPU it is the peak of torch's allocator (`torch.cuda.max_memory_allocated`, `max_memory_reserved`; written from its
documentation, untested on a GPU). On a CPU it is the largest resident set of this process, including the interpreter
and its libraries. Linux can reset that between two parts (`/proc/self/clear_refs`, man 5 proc); elsewhere a part's peak
is the largest since the process started.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIB = 2**30
_FORGET_PEAK = "5"  # resets the largest resident set to the current one


class PeakMemory:
    """Peak memory of one device since construction; use one at a time."""

    def __init__(self, device: torch.device) -> None:
        """Start measuring `device`; memory already in use counts."""
        self._device = device
        if device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(device)
        else:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text(_FORGET_PEAK, encoding="ascii")

    def gib(self, name: str) -> dict[str, float]:
        """Return the peak so far as `name`; on a GPU also, as "NAME_reserved", what the allocator held."""
        if self._device.type != "cuda":
            return {name: peak_of_process() / GIB}
        import torch

        return {
            name: torch.cuda.max_memory_allocated(self._device) / GIB,
            f"{name}_reserved": torch.cuda.max_memory_reserved(self._device) / GIB,
        }


def peak_of_process(pid: int | None = None) -> int:
    """Return the largest resident set of a process in bytes; None: of this one. 0 if the process has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if pid is not None:
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_of_processes(pids: Iterable[int]) -> float:
    """Return the sum of the largest resident sets of several processes, in GiB; shared pages count in each."""
    return sum(peak_of_process(pid) for pid in pids) / GIB
