"""Common termination: the processes of a run end together when one of them dies.

The launcher (torchrun, accelerate launch) sends SIGTERM to the others when one process has died; processes that wait
for it often see a broken connection first. Both become one error message and a normal exit: environments and their JVMs
are closed, and the run resumes from its last checkpoint when it is started again.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sg_pipeline.distributed.cores import STARTED
from sg_pipeline.distributed.world import World, printed_elsewhere, world
from sg_pipeline.errors import GO_ON, RankError, chain_of

_PRINTED = "sg_pipeline/printed"
"""Key of the launcher's store: the error message has been printed."""

_PRINTING = "sg_pipeline/printing/"
"""Keys of the launcher's store: number of processes that are about to print a message, by message."""

_GRACE_S = 20.0
"""Time for which the other processes wait for that."""

# Messages of gloo, NCCL and torch's store when a peer is gone or silent.
_LOST = re.compile(
    r"gloo|Connection (closed|reset|refused)|Broken pipe|connectFullMesh|NCCL|ncclRemoteError|"
    r"Timed out waiting|Watchdog caught collective|Socket Timeout|recvValue failed",
    re.IGNORECASE,
)


def end_with_the_others(here: World) -> None:
    """Turn the launcher's SIGTERM into an error, so that this process closes its resources."""
    if here.alone:
        return

    def end(number: int, frame: Any) -> None:
        if not here.failing:  # it is already ending with another error
            here.failing = True
            raise RankError(lost(here))

    signal.signal(signal.SIGTERM, end)


def lost(here: World) -> str:
    """Return the error message of a process that has lost the others."""
    return (
        f"rank {here.rank} of {here.size} ends, because another process of this run has died, hangs or was "
        f"terminated; {GO_ON}, with this or another number of processes"
    )


def is_lost(error: BaseException) -> bool:
    """Whether `error` indicates a broken connection or a silent peer."""
    return isinstance(error, (RuntimeError, TimeoutError, OSError)) and _LOST.search(str(error)) is not None


def leave_together(error: BaseException, sentence: str | None = None) -> None:
    """Exit silently if another process prints the error, after it has: the launcher ends all with the first.

    Before the processes are connected, all of them hit the same error, and the first process of each machine prints it.
    Later a computation that all repeat may fail on all of them, and the first process to arrive here prints it.

    Args:
        error: the error that ended the command.
        sentence: the message that this process would print.
    """
    try:
        here = world()
    except RankError:  # the rank is unknown: that is the error
        return
    if here.alone:
        return
    here.failing = True
    if STARTED in os.environ and any(isinstance(link, RankError) or is_lost(link) for link in chain_of(error)):
        sys.exit(1)  # rank 0 was interrupted, or reports the error
    if not here.opened:
        if here.local_rank > 0:
            sys.exit(1)
    # A node may have added details to an error, hence the chain.
    elif any(printed_elsewhere(link) for link in chain_of(error)) or _others_print(sentence):
        with suppress(Exception):
            _store().wait([_PRINTED], timedelta(seconds=_GRACE_S))
        sys.exit(1)


def _others_print(sentence: str | None) -> bool:
    """Whether another process is about to print the same message."""
    if sentence is None:
        return False
    with suppress(Exception):
        count: int = _store().add(_PRINTING + hashlib.sha256(sentence.encode()).hexdigest(), 1)
        return count > 1
    return False


def release_others() -> None:
    """Release the other processes: the error has been printed."""
    with suppress(Exception):
        if world().opened:
            _store().set(_PRINTED, "1")


def _store() -> Any:
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()
