"""How processes that share a run end together when one of them dies.

The launcher (torchrun, accelerate launch) sends SIGTERM to the others when one process is gone; those that were waiting
for it see their connection break, often before. Both become one sentence, and the usual way out: environments and
their JVMs are closed, and the run goes on from its last checkpoint when it is started again.
"""

from __future__ import annotations

import hashlib
import re
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sg_pipeline.distributed.world import World, is_told, world
from sg_pipeline.errors import GO_ON, RankError, chain_of

_TOLD = "sg_pipeline/told"
"""Key of the launcher's store: the sentence that ends the run has been printed."""

_TELLING = "sg_pipeline/telling/"
"""Keys of the launcher's store: how many processes have come to tell a sentence, by the sentence."""

_GRACE_S = 20.0
"""How long the other processes wait for that."""

# What gloo, NCCL and torch's store say when a peer is gone or silent.
_LOST = re.compile(
    r"gloo|Connection (closed|reset|refused)|Broken pipe|connectFullMesh|NCCL|ncclRemoteError|"
    r"Timed out waiting|Watchdog caught collective|Socket Timeout|recvValue failed",
    re.IGNORECASE,
)


def end_with_the_others(here: World) -> None:
    """Turn the launcher's SIGTERM into an error, so that this process closes what it has opened."""
    if here.alone:
        return

    def end(number: int, frame: Any) -> None:
        if not here.failing:  # it is on its way out, with an error of its own
            here.failing = True
            raise RankError(lost(here))

    signal.signal(signal.SIGTERM, end)


def lost(here: World) -> str:
    """Return the sentence of a process that has lost the others."""
    return (
        f"rank {here.rank} of {here.size} ends, because another process of this run has died, hangs or was told to "
        f"end; {GO_ON}, with this or another number of processes"
    )


def is_lost(error: BaseException) -> bool:
    """Whether `error` is what a broken connection or a silent peer looks like."""
    return isinstance(error, (RuntimeError, TimeoutError, OSError)) and _LOST.search(str(error)) is not None


def leave_together(error: BaseException, sentence: str | None = None) -> None:
    """Exit silently where another process prints the error: once it has, since the launcher ends all with the first.

    Before the processes are connected all of them make the same mistake: the first one of each machine tells it. Later
    what all compute alike may fail alike on all: the first one to come here tells it.

    Args:
        error: what ended the command.
        sentence: that this process would print.
    """
    try:
        here = world()
    except RankError:  # nobody knows who this process is: that is the error
        return
    if here.alone:
        return
    here.failing = True
    if not here.opened:
        if here.local_rank > 0:
            sys.exit(1)
    elif any(is_told(link) for link in chain_of(error)) or _others_tell(sentence):  # a node may have said more about it
        with suppress(Exception):
            _store().wait([_TOLD], timedelta(seconds=_GRACE_S))
        sys.exit(1)


def _others_tell(sentence: str | None) -> bool:
    """Whether another process has come to tell the very sentence."""
    if sentence is None:
        return False
    with suppress(Exception):
        count: int = _store().add(_TELLING + hashlib.sha256(sentence.encode()).hexdigest(), 1)
        return count > 1
    return False


def has_told() -> None:
    """Let the other processes go: the error has been printed."""
    with suppress(Exception):
        if world().opened:
            _store().set(_TOLD, "1")


def _store() -> Any:
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()
