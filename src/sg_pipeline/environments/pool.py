"""Many episodes at once, in worker processes that may die.

    rows 0..n-1 ──► workers (one message per worker and turn) ──► slots (one reusable environment each)

Every episode is recorded as (task, seed, actions, answers). A worker that dies or hangs is replaced, and its episodes
are played again from the record as they are needed; an environment is deterministic, so a replay that answers anything
else is an error. Results never depend on the number of workers or on their speed.
"""

import atexit
import json
import logging
import textwrap
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sg_pipeline.config.environment import EnvironmentConfig, PoolConfig
from sg_pipeline.environments import worker_process
from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.worker import Answer, Host, Order
from sg_pipeline.environments.worker_process import WorkerLostError, WorkerProcess
from sg_pipeline.errors import EnvironmentFailure, SgPipelineError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PoolCounters:
    """What a pool has done since it was created.

    Attributes:
        restarts: workers replaced.
        replays: episodes played again after a failure.
        cpu_s: CPU seconds spent in environments.
    """

    restarts: int = 0
    replays: int = 0
    cpu_s: float = 0.0


@dataclass(slots=True)
class _Episode:
    """One row of the pool: enough to play it again, and to see that it went as before.

    Attributes:
        worker, slot: index of the worker that plays it, and which of that worker's environments.
        actions: those that have been answered.
        results: the answers: of the reset, then of each action.
        asked: the action under way, not yet in `actions`.
        live: the slot holds this episode in its present state.
        over: it takes no more actions: it has ended, or failed for good.
        deaths: how often its worker died or hung while busy with it.
        exceptions: how often the environment raised an unexpected exception.
    """

    task: Task
    seed: int
    worker: int
    slot: int
    actions: list[str] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)
    asked: str | None = None
    live: bool = False
    over: bool = False
    deaths: int = 0
    exceptions: int = 0

    def order(self) -> Order:
        """Return what its slot shall play now: the action asked for, after all that the slot has lost."""
        asked = () if self.asked is None else (self.asked,)
        if self.live:
            return Order(self.slot, None, asked)
        return Order(self.slot, (self.task, self.seed), (*self.actions, *asked))

    def record(self, results: tuple[StepResult, ...]) -> str | None:
        """Record the results of the order. Returns an error message if a replay differs from the record."""
        *replayed, newest = results
        for turn, (seen, recorded) in enumerate(zip(replayed, self.results, strict=not self.live)):
            # Admissible commands are a set; their order is not compared.
            if replace(seen, admissible=None) != replace(recorded, admissible=None):
                shown, expected = (repr(textwrap.shorten(one.observation, 120)) for one in (seen, recorded))
                return f"it is not deterministic, played again it showed {shown} after {turn} action(s), not {expected}"
        if self.asked is not None:
            self.actions.append(self.asked)
            self.asked = None
        self.results.append(newest)
        self.live, self.over = True, newest.done
        return None

    def failure(self, environment: str, reason: str) -> EnvironmentFailure:
        """Return the error that ends it."""
        place = "at its start" if self.asked is None else f"at action {len(self.actions) + 1} ({self.asked!r})"
        tries = max(self.deaths + self.exceptions, 1)
        return EnvironmentFailure(
            f"environment {environment!r} failed in task {self.task.task_id} {place} {tries} time(s): {reason}"
        )


class EnvironmentPool(AbstractContextManager["EnvironmentPool"]):
    """Plays any number of episodes of one kind of environment; use it as a context manager or `close` it."""

    def __init__(self, spec: EnvironmentSpec, config: PoolConfig) -> None:
        """Start `config.workers` processes without waiting for them; with 0, episodes are played in this process."""
        self._spec = spec
        self._config = config
        self._counters = PoolCounters()
        self._episodes: list[_Episode] = []
        self._answers: dict[int, StepResult | SgPipelineError] = {}
        self._host = Host(spec) if config.workers == 0 else None
        self._played: list[tuple[int, Answer]] = []  # by `_host`
        self._workers = [WorkerProcess(spec, config) for _ in range(config.workers)]
        self.closed = False

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def counters(self) -> PoolCounters:
        """A snapshot; subtract an earlier one to see what happened in between."""
        return replace(self._counters)

    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in self._workers]

    def reset(
        self, tasks: Sequence[Task], seeds: Sequence[int], groups: Sequence[int] | None = None
    ) -> list[StepResult]:
        """Begin `len(tasks)` episodes, rows 0, 1, ..., which replace the previous ones; return their first answers.

        Args:
            tasks, seeds: what each row plays.
            groups: rows with the same number go to the same worker, so that they share a compiled game; None: any.

        Raises:
            SgPipelineError: as for `step`; the other rows can continue.
        """
        self.begin(tasks, seeds, groups)
        return self._await(range(len(tasks)))

    def step(self, rows: Sequence[int], actions: Sequence[str]) -> list[StepResult]:
        """Play `actions[i]` in row `rows[i]`; answers are in the order of `rows`.

        Raises:
            SgPipelineError: the error of the first of `rows` that failed: the environment's own (`DataError` for a game
                that does not load), or `EnvironmentFailure` if replays did not help. That row is over; all others can
                continue.
            ValueError: a row occurs twice or has ended.
        """
        self.send(rows, actions)
        return self._await(rows)

    def begin(self, tasks: Sequence[Task], seeds: Sequence[int], groups: Sequence[int] | None = None) -> None:
        """Do as `reset` without waiting: `receive` returns the first answers."""
        self._played.clear()
        for index, worker in enumerate(self._workers):
            if worker.pending:  # of a call that was interrupted: these orders, perhaps half sent, must not answer ours
                worker.bury(grace_s=0.0)
                self._workers[index] = WorkerProcess(self._spec, self._config)
        groups = range(len(tasks)) if groups is None else groups
        width = max(1, len(self._workers))
        load, slots = [0] * width, [0] * width
        sizes = Counter(groups)
        home: dict[int, int] = {}
        self._episodes, self._answers = [], {}
        for task, seed, group in zip(tasks, seeds, groups, strict=True):
            if group not in home:
                home[group] = min(range(width), key=load.__getitem__)
                load[home[group]] += sizes[group]
            self._episodes.append(_Episode(task, seed, home[group], slots[home[group]]))
            slots[home[group]] += 1
        self._send_orders(range(len(tasks)))

    def send(self, rows: Sequence[int], actions: Sequence[str]) -> None:
        """Do as `step` without waiting: `receive` returns the answers. A row takes one action at a time."""
        for row in rows:
            episode = self._episodes[row]
            if episode.over:
                raise ValueError(f"row {row} takes no action: its episode is over")
            if episode.asked is not None or not episode.results or row in self._answers:
                raise ValueError(f"row {row} takes no action: its last answer has not been received")
        if len(set(rows)) != len(rows):
            raise ValueError(f"a row occurs twice in {list(rows)}")
        for row, action in zip(rows, actions, strict=True):
            self._episodes[row].asked = action
        self._send_orders(rows)

    def receive(self, *, wait: bool = True) -> list[tuple[int, StepResult]]:
        """Return the answers since the last call, as (row, answer) in the order of rows.

        Args:
            wait: for a first answer, if anything is under way.

        Raises:
            SgPipelineError: a row has failed, as for `step`; all others can continue, their answers are kept.
        """
        while self._under_way:
            waiting = wait and not self._answers
            if not self._listen(waiting) and not waiting:
                break
        answers = []
        for row, answer in sorted(self._answers.items()):
            if isinstance(answer, SgPipelineError):
                del self._answers[row]
                raise answer
            answers.append((row, answer))
        self._answers = {}
        return answers

    def close(self) -> None:
        """End every worker and remove its files."""
        self.closed = True
        if self._host is not None:
            self._host.close()
        workers, self._workers = self._workers, []
        worker_process.close(workers)

    def _await(self, rows: Sequence[int]) -> list[StepResult]:
        """Wait for the answers of `rows`, which are all that is under way."""
        while self._under_way:
            self._listen(True)
        answers = [self._answers.pop(row) for row in rows]
        for answer in answers:
            if isinstance(answer, SgPipelineError):
                raise answer
        return [answer for answer in answers if isinstance(answer, StepResult)]

    @property
    def _under_way(self) -> bool:
        return bool(self._played) or any(worker.pending for worker in self._workers)

    def _send_orders(self, rows: Sequence[int]) -> None:
        """Send every worker the orders of its rows, in one message."""
        if self.closed:
            raise ValueError("the environment pool is closed")
        batches: dict[int, list[tuple[int, Order]]] = {}
        for row in rows:
            episode = self._episodes[row]
            batches.setdefault(episode.worker, []).append((row, episode.order()))
        for index, batch in batches.items():
            if self._host is None:
                self._workers[index].play(batch)
            else:
                self._played += [(row, self._host.play(order)) for row, order in batch]

    def _listen(self, wait: bool) -> bool:
        """Record what workers have done, and return whether that was anything.

        Args:
            wait: until one of them answers, dies or is overdue.
        """
        if self._host is not None:
            played, self._played = self._played, []
            for row, answer in played:
                self._take(row, answer)
            return bool(played)
        busy = [(index, worker) for index, worker in enumerate(self._workers) if worker.pending]
        if wait:
            worker_process.wait([worker for _, worker in busy])
        heard = False
        for index, worker in busy:
            try:
                answers = worker.hear()
            except WorkerLostError as error:
                self._replace(index, str(error))
                answers = []
            heard = heard or answers is not None
            for row, answer in answers or ():
                self._take(row, answer)
        return heard

    def _take(self, row: int, answer: Answer) -> None:
        """Record the answer to a row's order."""
        episode = self._episodes[row]
        self._counters.cpu_s += answer.cpu_s
        if isinstance(answer.error, SgPipelineError):
            self._give_up(row, answer.error)
        elif answer.error is not None:
            episode.live = False
            episode.exceptions += 1
            # The same exception twice is a defect, not an accident: one more try, whatever a death gets.
            if episode.exceptions > min(1, self._config.max_restarts):
                self._give_up(row, f"it raised {answer.error}")
            else:
                self._replay([row])
        elif wrong := episode.record(answer.results):
            self._give_up(row, wrong)
        else:
            self._answers[row] = episode.results[-1]

    def _replace(self, index: int, reason: str) -> None:
        """Start another worker and play the unanswered episodes of the lost one again, the suspect last."""
        lost = self._workers[index]
        self._workers[index] = WorkerProcess(self._spec, self._config, lost.starts + 1)
        for episode in self._episodes:
            if episode.worker == index:
                episode.live = False
        first, *others = [row for row, _ in lost.pending]
        suspect = self._episodes[first]
        logger.warning("environment worker %d is replaced (%s) in task %s", index, reason, suspect.task.task_id)
        self._counters.restarts += 1
        if lost.ready:
            suspect.deaths += 1
            if suspect.deaths > self._config.max_restarts:
                self._give_up(first, reason)
                self._replay(others)
            else:
                self._replay([*others, first])
        elif lost.starts > self._config.max_restarts:
            for row in (first, *others):
                self._give_up(row, f"before it was ready {reason}")
        else:
            self._replay([first, *others])

    def _replay(self, rows: Sequence[int]) -> None:
        self._counters.replays += len(rows)
        self._send_orders(rows)

    def _give_up(self, row: int, error: SgPipelineError | str) -> None:
        episode = self._episodes[row]
        episode.live, episode.over = False, True
        self._answers[row] = error if isinstance(error, SgPipelineError) else episode.failure(self._spec.name, error)


_shared: dict[str, EnvironmentPool] = {}


def open_pool(config: EnvironmentConfig, data_root: Path, cache_dir: Path) -> EnvironmentPool:
    """Return this process's pool for games under `data_root`, created at the first call and closed at exit.

    Its workers and their compiled games stay alive from one training step to the next.
    """
    arguments = {**config.arguments, "data_root": data_root, "cache_dir": cache_dir}
    key = json.dumps([config.name, arguments, config.pool.model_dump()], sort_keys=True, default=str)
    if key not in _shared or _shared[key].closed:
        _shared[key] = EnvironmentPool(EnvironmentSpec(config.name, arguments), config.pool)
        atexit.register(_shared[key].close)
    return _shared[key]


def shared_pids() -> list[int]:
    """Return the processes of all shared pools."""
    return [pid for pool in _shared.values() for pid in pool.pids()]
