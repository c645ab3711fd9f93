"""The worker processes of a pool: who has which orders, how long each may take, and who is gone.

A crew knows orders and answers, not episodes: what becomes of the orders of a worker that died is its pool's to say.
"""

import selectors
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from selectors import EVENT_READ, EVENT_WRITE

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.worker import CLOSE_GRACE_S, READY, Answer, Host, Order, WorkerProcess


@dataclass(frozen=True, slots=True)
class Answered:
    """A row's order has been played.

    Attributes:
        row: whose.
        answer: what came of it.
    """

    row: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker died or hung. Another one stands in its place already, and knows of no orders.

    Attributes:
        worker: its index.
        reason: for messages.
        rows: those with orders under way there, the one it was busy with first.
        was_ready: it had started, so that the first row is the suspect.
        starts: attempts to start a worker there since one was last ready.
    """

    worker: int
    reason: str
    rows: list[int]
    was_ready: bool
    starts: int


@dataclass(slots=True)
class _Worker:
    process: WorkerProcess
    ready: bool = False
    starts: int = 1  # attempts since one was last ready
    since: float = field(default_factory=time.monotonic)  # when it last began something, or bytes moved
    pending: deque[tuple[int, Order]] = field(default_factory=deque)


class Crew:
    """Workers 0, 1, ... of one kind of environment; without any, orders are played in the caller's own process."""

    def __init__(self, spec: EnvironmentSpec, config: PoolConfig) -> None:
        """Start `config.workers` processes; nobody waits for them to be ready."""
        self._spec = spec
        self._config = config
        self._host = Host(spec) if config.workers == 0 else None
        self._played: list[Answered] = []
        self._workers = [_Worker(WorkerProcess(spec)) for _ in range(config.workers)]

    @property
    def width(self) -> int:
        """How many play at the same time: at least 1."""
        return max(1, len(self._workers))

    @property
    def under_way(self) -> bool:
        """Whether there is an order whose end `listen` has not told."""
        return bool(self._played) or any(worker.pending for worker in self._workers)

    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def send(self, index: int, batch: Sequence[tuple[int, Order]]) -> None:
        """Give worker `index` the orders of some rows, in one message."""
        if self._host is not None:
            self._played += [Answered(row, self._host.play(order)) for row, order in batch]
            return
        worker = self._workers[index]
        if not worker.pending and worker.ready:
            worker.since = time.monotonic()
        worker.pending.extend(batch)
        worker.process.channel.send([order for _, order in batch])

    def listen(self, at_most_s: float | None = None) -> list[Answered | Lost] | None:
        """Wait until a worker answers, dies or is overdue; or for `at_most_s` seconds.

        Returns:
            What has happened, maybe no more than that a worker is ready; None: nothing was heard of anyone.
        """
        if self._played:
            played, self._played = self._played, []
            return [*played]
        busy = [worker for worker in self._workers if worker.pending]
        patience = min(worker.since + self._limit(worker) for worker in busy) - time.monotonic()
        with selectors.PollSelector() as selector:
            for worker in busy:
                unsent = worker.process.channel.unsent
                selector.register(worker.process.channel, EVENT_READ | EVENT_WRITE if unsent else EVENT_READ)
            selector.select(max(0.0, patience if at_most_s is None else min(patience, at_most_s)))
        news = [one for one in map(self._hear, busy) if one is not None]
        return [one for of_worker in news for one in of_worker] if news else None

    def abandon(self) -> None:
        """Give up what is under way: workers that are busy, maybe in the middle of a message, are replaced."""
        self._played.clear()
        for index, worker in enumerate(self._workers):
            if worker.pending:
                worker.process.bury(grace_s=0.0)
                self._workers[index] = _Worker(WorkerProcess(self._spec))

    def close(self) -> None:
        """End every worker; nothing of them is left. One that is still starting is not waited for."""
        if self._host is not None:
            self._host.close()
        for worker in self._workers:
            worker.process.stop()
        until = time.monotonic() + CLOSE_GRACE_S
        for worker in self._workers:
            worker.process.bury(max(0.0, until - time.monotonic()) if worker.ready else 0.0)

    def _hear(self, worker: _Worker) -> list[Answered | Lost] | None:
        """Return the news of a worker; None: there is none, and it has time left."""
        try:
            messages = worker.process.channel.exchange()
        except OSError:
            return [self._lose(worker, worker.process.bury(grace_s=1.0))]
        if messages is None:
            if time.monotonic() <= worker.since + self._limit(worker):
                return None
            worker.process.bury(grace_s=0.0)
            return [self._lose(worker, f"its worker process did not answer within {self._limit(worker):g} s")]
        worker.since = time.monotonic()
        answered: list[Answered | Lost] = []
        for message in messages:
            if message == READY:
                worker.ready, worker.starts = True, 0
            else:
                row, _ = worker.pending.popleft()
                answered.append(Answered(row, message))
        return answered

    def _limit(self, worker: _Worker) -> float:
        """Seconds that `worker` may take for what it is doing now."""
        if not worker.ready:
            return self._config.start_timeout_s
        order = worker.pending[0][1]
        begin = self._config.reset_timeout_s if order.start is not None else 0.0
        return begin + self._config.step_timeout_s * len(order.actions)

    def _lose(self, worker: _Worker, reason: str) -> Lost:
        """Put a new worker in the place of one that is gone."""
        index = self._workers.index(worker)
        self._workers[index] = _Worker(WorkerProcess(self._spec), starts=worker.starts + 1)
        return Lost(index, reason, [row for row, _ in worker.pending], worker.ready, worker.starts)
