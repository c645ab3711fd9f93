"""All cores of a machine without a launcher: `kedro run` starts further ranks of its own run.

The process of the command becomes rank 0. Each other rank is a new interpreter with the same command line, which ends
together with rank 0; Ctrl-C reaches rank 0 only. Only `kedro run` can do this: a session in a script or a notebook has
no command line to start again.
"""

import atexit
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sg_pipeline.distributed.world import world

STARTED = "SG_PIPELINE_STARTED_BY_RANK_0"
"""Environment variable of a rank that was started here."""

_GRACE_S = 5.0
_QUOTA = Path("/sys/fs/cgroup/cpu.max")

_command: list[str] | None = None
_ranks: list[subprocess.Popen[bytes]] = []


def offer(arguments: Sequence[str]) -> None:
    """Store the `arguments` of `kedro`, so that further ranks can be started with them."""
    global _command  # noqa: PLW0603 - one process runs one pipeline at a time
    _command = list(arguments)


def can_start() -> bool:
    """Whether this process may start further ranks: it was started by `kedro run`, and by no launcher."""
    return _command is not None and world().alone and "RANK" not in os.environ and sys.platform == "linux"


def usable_cores(quota: Path = _QUOTA) -> int:
    """Return how many cores this process may use: its affinity (`taskset`), or less by a container's quota."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, int(limit) // int(period)))
    except (OSError, ValueError):  # none
        return cores


def start_ranks(processes: int) -> None:
    """Start ranks 1 to `processes` - 1 and become rank 0; see `can_start`."""
    assert _command is not None
    here = world()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    boot = [sys.executable, "-m", "sg_pipeline.runs.child", str(os.getpid()), *_command]
    for rank in range(1, processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), STARTED: "1"}
        # A separate process group: Ctrl-C reaches rank 0 only, and the others end with it.
        _ranks.append(subprocess.Popen(boot, env={**os.environ, **shared, **own}, start_new_session=True))
    os.environ.update(shared | {"RANK": "0", "LOCAL_RANK": "0"})
    here.rank, here.local_rank, here.size = 0, 0, processes
    atexit.register(_wait_for_ranks)


def _wait_for_ranks() -> None:
    """Wait for the ranks that were started here; terminate, then kill those that do not end."""
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for rank in _ranks:
            try:
                rank.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                end(rank)
