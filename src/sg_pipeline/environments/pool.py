"""Many episodes at once, in worker processes that may die.

    rows 0..n-1 ──► workers (one message per worker and turn) ──► slots (one reusable environment each)

Every episode is recorded as (task, seed, actions, answers). When a worker dies or hangs it is replaced, and its
episodes are played again from the record as they are needed; an environment is deterministic, so a replay that
answers anything else is an error. What comes back never depends on the number of workers or on their speed.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.extensions import ENVIRONMENT, locate
from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.counters import PoolCounters
from sg_pipeline.environments.crew import Crew, Lost
from sg_pipeline.environments.episode import Episode
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.worker import Answer, Order
from sg_pipeline.errors import EnvironmentFailure, SgPipelineError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)


class EnvironmentPool:
    """Plays any number of episodes of one kind of environment; use it as a context manager or `close` it."""

    def __init__(self, spec: EnvironmentSpec, config: PoolConfig | None = None) -> None:
        locate(ENVIRONMENT, spec.name)  # an unknown name is told here rather than by a worker
        self._spec = spec
        self._config = config or PoolConfig()
        self._counters = PoolCounters()
        self._episodes: list[Episode] = []
        self._answers: dict[int, StepResult | SgPipelineError] = {}
        self._crew = Crew(spec, self._config)
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counters(self) -> PoolCounters:
        """A snapshot; subtract an earlier one to see what happened in between."""
        return self._counters

    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return self._crew.pids()

    def reset(
        self, tasks: Sequence[Task], seeds: Sequence[int], groups: Sequence[int] | None = None
    ) -> list[StepResult]:
        """Begin `len(tasks)` episodes, rows 0, 1, ..., in place of those before.

        Args:
            tasks: what each row plays.
            seeds: the environment's seed of each row.
            groups: rows with the same number go to the same worker, so that they share a compiled game; None: no bond.

        Returns:
            The first observation of each row.

        Raises:
            SgPipelineError: as for `step`; the other rows can be played on.
        """
        self.begin(tasks, seeds, groups)
        return self._await(range(len(tasks)))

    def step(self, rows: Sequence[int], actions: Sequence[str]) -> list[StepResult]:
        """Play `actions[i]` in row `rows[i]`; the answers come in the order of `rows`.

        Raises:
            SgPipelineError: what the first of `rows` that failed has to say: the environment's own error (`DataError`
                for a game that does not load), or `EnvironmentFailure` where replays did not help. That row is over,
                every other one can be played on.
            ValueError: a row occurs twice or has ended.
        """
        self.send(rows, actions)
        return self._await(rows)

    def begin(self, tasks: Sequence[Task], seeds: Sequence[int], groups: Sequence[int] | None = None) -> None:
        """Do as `reset` does, but wait for nothing: `receive` gives the first observations."""
        self._refuse_if_closed()
        if self._crew.under_way:  # of a caller that has given up
            self._abandon()
        groups = range(len(tasks)) if groups is None else groups
        width = self._crew.width
        load, slots = [0] * width, [0] * width
        sizes = Counter(groups)
        home: dict[int, int] = {}
        self._episodes, self._answers = [], {}
        for task, seed, group in zip(tasks, seeds, groups, strict=True):
            if group not in home:
                home[group] = min(range(width), key=load.__getitem__)
                load[home[group]] += sizes[group]
            self._episodes.append(Episode(task, seed, home[group], slots[home[group]]))
            slots[home[group]] += 1
        self._counters = replace(self._counters, resets=self._counters.resets + len(tasks))
        with self._whole_or_abandoned():
            self._give_out(range(len(tasks)))

    def send(self, rows: Sequence[int], actions: Sequence[str]) -> None:
        """Do as `step` does, but wait for nothing: `receive` gives the answers. A row takes one action at a time."""
        self._refuse_if_closed()
        for row in rows:
            if self._episodes[row].over:
                raise ValueError(f"row {row} takes no action: its episode is over")
            if self._episodes[row].asked is not None or not self._episodes[row].results or row in self._answers:
                raise ValueError(f"row {row} takes no action: its last answer has not been received")
        if len(set(rows)) != len(rows):
            raise ValueError(f"a row occurs twice in {list(rows)}")
        for row, action in zip(rows, actions, strict=True):
            self._episodes[row].asked = action
        self._counters = replace(self._counters, steps=self._counters.steps + len(rows))
        with self._whole_or_abandoned():
            self._give_out(rows)

    def receive(self, timeout_s: float | None = None) -> list[tuple[int, StepResult]]:
        """Return the answers that have come since the last call, as (row, answer) in the order of rows.

        Args:
            timeout_s: wait so long for a first one, 0 for none; None: until there is one.

        Returns:
            Nothing where the time is up, or where nothing is under way.

        Raises:
            SgPipelineError: a row has failed, as for `step`; every other one can be played on, its answer is kept.
        """
        self._refuse_if_closed()
        began = time.monotonic()
        with self._whole_or_abandoned():
            while self._crew.under_way:
                left = 0.0 if self._answers else timeout_s
                if left:
                    left = max(0.0, began + left - time.monotonic())
                if not self._listen(left) and left == 0.0:
                    break
        self._counters = replace(self._counters, wait_s=self._counters.wait_s + time.monotonic() - began)
        for row in sorted(self._answers):
            if isinstance(failed := self._answers[row], SgPipelineError):
                del self._answers[row]
                raise failed
        answers, self._answers = self._answers, {}
        return [(row, answer) for row, answer in sorted(answers.items()) if isinstance(answer, StepResult)]

    def close(self) -> None:
        """End every worker; nothing of them is left. One that is still starting is not waited for."""
        if self.closed:
            return
        self.closed = True
        self._crew.close()

    def _await(self, rows: Sequence[int]) -> list[StepResult]:
        """Wait for the answers of `rows`, which are all that is under way."""
        began = time.monotonic()
        with self._whole_or_abandoned():
            while self._crew.under_way:
                self._listen()
        self._counters = replace(self._counters, wait_s=self._counters.wait_s + time.monotonic() - began)
        answers = [self._answers.pop(row) for row in rows]
        for answer in answers:
            if isinstance(answer, SgPipelineError):
                raise answer
        return [answer for answer in answers if isinstance(answer, StepResult)]

    @contextmanager
    def _whole_or_abandoned(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """End an interrupted call: what is under way, maybe half a message, must not answer the next one."""
        self._crew.abandon()
        for episode in self._episodes:
            episode.over = True
        self._answers.clear()

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ValueError("the environment pool is closed")

    def _give_out(self, rows: Sequence[int]) -> None:
        """Give every worker the orders of its rows, in one message."""
        batches: dict[int, list[tuple[int, Order]]] = {}
        for row in rows:
            episode = self._episodes[row]
            batches.setdefault(episode.worker, []).append((row, episode.order()))
        for index, batch in batches.items():
            self._crew.send(index, batch)

    def _listen(self, at_most_s: float | None = None) -> bool:
        """Wait for news of the workers, or for `at_most_s`, and deal with them.

        Returns:
            Whether a worker was heard of.
        """
        news = self._crew.listen(at_most_s)
        for one in news or ():
            if isinstance(one, Lost):
                self._restore(one)
            else:
                self._take(one.row, one.answer)
        return news is not None

    def _take(self, row: int, answer: Answer) -> None:
        """Record what came of a row's order."""
        episode = self._episodes[row]
        self._counters = replace(self._counters, cpu_s=self._counters.cpu_s + answer.cpu_s)
        if answer.error is not None:
            self._give_up(row, answer.error)
        elif answer.failure is not None:
            episode.live = False
            episode.exceptions += 1
            # The same text twice is a defect, not an accident: an exception gets one more try, whatever a death gets.
            if episode.exceptions > min(1, self._config.max_restarts):
                self._give_up(row, self._failure(row, f"it raised {answer.failure}"))
            else:
                self._replay([row])
        else:
            wrong = episode.take(answer.results)
            if wrong:
                self._give_up(row, self._failure(row, wrong))
            else:
                self._answers[row] = episode.results[-1]

    def _restore(self, lost: Lost) -> None:
        """Play the unanswered episodes of a worker that is gone again, the suspect last."""
        for episode in self._episodes:
            if episode.worker == lost.worker:
                episode.live = False
        rows, reason = lost.rows, lost.reason
        suspect = self._episodes[rows[0]]
        logger.warning("environment worker %d is replaced (%s) in task %s", lost.worker, reason, suspect.task.task_id)
        self._counters = replace(self._counters, restarts=self._counters.restarts + 1)
        if lost.was_ready:
            suspect.deaths += 1
            if suspect.deaths > self._config.max_restarts:
                self._give_up(rows[0], self._failure(rows[0], reason))
                rows = rows[1:]
            else:
                rows = [*rows[1:], rows[0]]
        elif lost.starts > self._config.max_restarts:
            for row in rows:
                self._give_up(row, self._failure(row, f"before it was ready {reason}"))
            return
        self._replay(rows)

    def _replay(self, rows: Sequence[int]) -> None:
        self._counters = replace(self._counters, replays=self._counters.replays + len(rows))
        self._give_out(rows)

    def _give_up(self, row: int, error: SgPipelineError) -> None:
        episode = self._episodes[row]
        episode.live, episode.over = False, True
        self._answers[row] = error

    def _failure(self, row: int, reason: str) -> EnvironmentFailure:
        episode = self._episodes[row]
        tries = max(episode.deaths + episode.exceptions, 1)
        return EnvironmentFailure(
            f"environment {self._spec.name!r} failed in {episode.describe()} {tries} time(s): {reason}"
        )
