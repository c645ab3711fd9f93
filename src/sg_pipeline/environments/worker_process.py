"""The pool's handle on one worker process: its socket, its orders, its deadlines, its end.

Nothing here blocks for long: a worker may freeze in the middle of a message, or stop reading.
"""

import contextlib
import logging
import os
import pickle
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from selectors import EVENT_READ, EVENT_WRITE

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.worker import LENGTH, READY, Answer, Order

logger = logging.getLogger(__name__)

CLOSE_GRACE_S = 5.0
"""Seconds that a worker has to close its environments."""

_CHUNK = 2**20
_BOOT = "import sys; from sg_pipeline.environments.worker import serve; serve(int(sys.argv[1]), sys.argv[2])"
_SETTINGS = {
    # One thread per worker: the pool's width is its number of processes, and spinning OpenMP teams starve each other.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Sets and dicts have the same order in a replayed episode.
    "PYTHONHASHSEED": "0",
}


class WorkerLostError(Exception):
    """A worker died or hung; the text says how."""


class WorkerProcess:
    """One running worker.

    It is a plain new interpreter: `multiprocessing` would run the caller's main module again, so a script would need an
    `if __name__ == "__main__"` guard.

    Attributes:
        pending: rows and orders under way; it is busy with the first.
        unsent: bytes that its socket did not take yet.
        ready: it has started.
        starts: attempts to start a worker in this place since one was last ready.
    """

    def __init__(self, spec: EnvironmentSpec, config: PoolConfig, starts: int = 1) -> None:
        """Start it without waiting until it is ready."""
        self.pending: deque[tuple[int, Order]] = deque()
        self.ready, self.starts = False, starts
        self._config = config
        self._since = time.monotonic()  # when it last began something, or bytes moved
        # A separate folder, so that the files of a killed worker can be removed: game engines unpack large libraries.
        self._scratch = tempfile.mkdtemp(prefix="sg_pipeline_worker_")
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), self._scratch],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_SETTINGS, "TMPDIR": self._scratch, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=2,  # an environment that prints must not mix with the caller's output
                process_group=0,  # it dies with its children, and Ctrl-C is for the caller to handle
            )
        self._socket.setblocking(False)
        self._unread, self.unsent = bytearray(), bytearray()
        self.send(spec)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the socket's descriptor, for selectors."""
        return self._socket.fileno()

    @property
    def deadline(self) -> float:
        """When it counts as hung unless bytes move, on the monotonic clock."""
        return self._since + self._limit_s

    def play(self, batch: Sequence[tuple[int, Order]]) -> None:
        """Send the orders of some rows, in one message."""
        if not self.pending and self.ready:
            self._since = time.monotonic()
        self.pending.extend(batch)
        self.send([order for _, order in batch])

    def hear(self) -> list[tuple[int, Answer]] | None:
        """Send and receive what goes through now; return the row and answer of each order that has been played.

        None: no byte moved, and there is time left. Raises `WorkerLostError` if it was dead or overdue, and is buried.
        """
        sent = self._flush()
        chunk: bytes | None = None
        try:
            chunk = self._socket.recv(_CHUNK)
        except BlockingIOError:
            if not sent and time.monotonic() <= self.deadline:
                return None
        except OSError:
            chunk = b""
        if chunk == b"":
            raise WorkerLostError(self.bury(grace_s=1.0))
        if chunk is None and not sent:
            limit_s = self._limit_s
            self.bury(grace_s=0.0)
            raise WorkerLostError(f"its worker process did not answer within {limit_s:g} s")
        self._since = time.monotonic()
        self._unread += chunk or b""
        answers = []
        while len(self._unread) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._unread)[0]
            if len(self._unread) < end:
                break
            message = pickle.loads(self._unread[LENGTH.size : end])
            del self._unread[:end]
            if message == READY:
                self.ready, self.starts = True, 0
            else:
                answers.append((self.pending.popleft()[0], message))
        return answers

    def bury(self, grace_s: float) -> str:
        """Wait `grace_s` for the end of the process, kill it otherwise, and free everything. Returns how it ended."""
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            logger.debug("worker %d is killed", self._process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._socket.close()
        try:
            code = self._process.wait(timeout=CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:  # it waits for a disk or device, where no signal reaches it
            return "its worker process does not end"
        shutil.rmtree(self._scratch, ignore_errors=True)
        if code < 0:
            return f"its worker process was killed by signal {-code}"
        return f"its worker process ended with code {code}"

    @property
    def _limit_s(self) -> float:
        """Seconds that it may take for what it is doing now."""
        if not self.ready:
            return self._config.start_timeout_s
        order = self.pending[0][1]
        begin = self._config.reset_timeout_s if order.start is not None else 0.0
        return begin + self._config.step_timeout_s * len(order.actions)

    def send(self, message: object) -> None:
        """Send orders, or None to end it; `hear` sends what the socket does not take now, and reports a dead worker."""
        self.unsent += pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._flush()

    def _flush(self) -> bool:
        """Send more; return whether a byte went through."""
        before = len(self.unsent)
        with contextlib.suppress(OSError):  # full, or the other end is gone
            while self.unsent:
                del self.unsent[: self._socket.send(self.unsent)]
        return len(self.unsent) < before


def wait(workers: Sequence[WorkerProcess]) -> None:
    """Wait until one of `workers` can be heard or is overdue."""
    patience = min(worker.deadline for worker in workers) - time.monotonic()
    with selectors.PollSelector() as selector:
        for worker in workers:
            selector.register(worker, EVENT_READ | EVENT_WRITE if worker.unsent else EVENT_READ)
        selector.select(max(0.0, patience))


def close(workers: Sequence[WorkerProcess]) -> None:
    """End all workers, those that are still starting or playing without waiting for them."""
    for worker in workers:
        worker.send(None)
    until = time.monotonic() + CLOSE_GRACE_S
    for worker in workers:
        idle = worker.ready and not worker.pending
        worker.bury(max(0.0, until - time.monotonic()) if idle else 0.0)
