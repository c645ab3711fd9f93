"""Both ends of the pipe between the pool and one worker process.

A worker holds many environments, one per slot. The pool sends a batch of `Order`s in one message; the worker plays
them in turn and sends each `Answer` as soon as it has it, so that the pool always knows which episode a dead
or silent worker was busy with. The first message of a worker is `READY`.

A worker is started as a plain new interpreter rather than by `multiprocessing`, whose spawning runs the caller's main
module again: a script needs no `if __name__ == "__main__"` guard, and a worker never imports Kedro or torch.
"""

import contextlib
import logging
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from sg_pipeline import errors
from sg_pipeline.environments import channel
from sg_pipeline.environments.base import Environment, StepResult
from sg_pipeline.environments.registry import EnvironmentSpec, build
from sg_pipeline.errors import SgPipelineError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)

READY = "ready"
CLOSE_GRACE_S = 5.0
"""Seconds that a worker has to close its environments."""

_BOOT = "import sys; from sg_pipeline.environments.worker import serve; serve(int(sys.argv[1]), sys.argv[2])"
_SETTINGS = {
    # One thread per worker: the pool's width is its number of processes, and spinning OpenMP teams starve each other.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # A replayed episode meets the order of sets and dicts that the first one met.
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What one slot shall play.

    Attributes:
        slot: which of the worker's environments.
        start: (task, seed) of an episode to begin; None to go on with the one that is open.
        actions: played in order after that.
    """

    slot: int
    start: tuple[Task, int] | None
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an `Order`.

    Attributes:
        results: one per reset and action; empty where it did not come to an end.
        error: what the environment says to the user (a game that does not load), to be raised as it is.
        failure: any other exception, in words: a defect of the environment.
        cpu_s: processor seconds that the worker spent on the order.
    """

    results: tuple[StepResult, ...] = ()
    error: SgPipelineError | None = None
    failure: str | None = None
    cpu_s: float = 0.0


class Host:
    """The environments of one worker, built when first needed and reused from episode to episode."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._spec = spec
        self._environments: dict[int, Environment] = {}

    def prepare(self) -> None:
        """Build the first environment ahead of time, so that its imports overlap with what the caller does."""
        with contextlib.suppress(Exception):  # it is met again, and told, at the first order
            self._environment(0)

    def play(self, order: Order) -> Answer:
        """Carry out one order. After an exception the slot's environment is thrown away: its state is unknown."""
        began = time.process_time()
        results: list[StepResult] = []
        error: SgPipelineError | None = None
        failure: str | None = None
        try:
            environment = self._environment(order.slot)
            if order.start is not None:
                results.append(environment.reset(*order.start))
            results.extend(environment.step(action) for action in order.actions)
        except SgPipelineError as told:
            error = _plain(told)
        except (Exception, SystemExit) as raised:
            logger.debug("environment in slot %d failed", order.slot, exc_info=True)
            failure = f"{type(raised).__name__}: {raised}"
        if error is not None or failure is not None:
            results.clear()
            self._discard(order.slot)
        return Answer(tuple(results), error, failure, time.process_time() - began)

    def close(self) -> None:
        """Close every environment."""
        for slot in list(self._environments):
            self._discard(slot)

    def _environment(self, slot: int) -> Environment:
        if slot not in self._environments:
            self._environments[slot] = build(self._spec)
        return self._environments[slot]

    def _discard(self, slot: int) -> None:
        if slot in self._environments:
            with contextlib.suppress(Exception):
                self._environments.pop(slot).close()


def _plain(error: SgPipelineError) -> SgPipelineError:
    """Return `error` as the class of `errors` that it is, with its text alone: that always survives a pipe."""
    kind = next(base for base in type(error).__mro__ if base.__module__ == errors.__name__)
    plain: SgPipelineError = kind(str(error))
    return plain


def serve(descriptor: int, scratch: str) -> None:
    """Be a worker: answer orders from the socket `descriptor` until told to stop, or until the caller is gone.

    Args:
        descriptor: number of an inherited socket.
        scratch: the temporary folder that belongs to this worker alone.
    """
    connection = socket.socket(fileno=descriptor)
    incoming = connection.makefile("rb")
    orders: queue.SimpleQueue[Sequence[Order] | None] = queue.SimpleQueue()
    try:
        host = Host(channel.read(incoming))
        # Reading in a thread of its own notices the caller's death in the middle of a step that hangs, too.
        threading.Thread(target=_receive, args=(incoming, orders, scratch), daemon=True).start()
        host.prepare()
        connection.sendall(channel.pack(READY))
        while (batch := orders.get()) is not None:
            for order in batch:
                connection.sendall(channel.pack(host.play(order)))
        host.close()
    except (EOFError, ConnectionError):
        _vanish(scratch)


def _receive(incoming: BinaryIO, orders: "queue.SimpleQueue[Sequence[Order] | None]", scratch: str) -> None:
    try:
        while True:
            orders.put(channel.read(incoming))
    except (EOFError, OSError):
        _vanish(scratch)


def _vanish(scratch: str) -> None:
    """The caller is gone: leave no file and no process behind."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


class WorkerProcess:
    """The pool's end: one running worker, its pipe and its temporary folder."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        # A folder of its own, so that what a killed worker leaves can be removed: game engines unpack large libraries.
        self._scratch = tempfile.mkdtemp(prefix="sg_pipeline_worker_")
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), self._scratch],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_SETTINGS, "TMPDIR": self._scratch, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=2,  # an environment that prints must not mix with the caller's output
                process_group=0,  # it dies with what it started, and Ctrl-C is the caller's to handle
            )
        self.channel = channel.Channel(ours)
        self.channel.send(spec)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def stop(self) -> None:
        """Let the worker close its environments and end; `bury` it afterwards."""
        self.channel.send(None)

    def bury(self, grace_s: float) -> str:
        """Wait `grace_s` for the end of the process, kill it otherwise, and free everything. Returns how it ended."""
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            logger.debug("worker %d is killed", self._process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.channel.close()
        try:
            code = self._process.wait(timeout=CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:  # it waits for a disk or device, where no signal reaches it
            return "its worker process does not end"
        shutil.rmtree(self._scratch, ignore_errors=True)
        if code < 0:
            return f"its worker process was killed by signal {-code}"
        return f"its worker process ended with code {code}"
