"""The record of one episode: enough to play it again, and to see that it went as before."""

import textwrap
from dataclasses import dataclass, field, replace

from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.worker import Order
from sg_pipeline.trajectories.types import Task


@dataclass(slots=True)
class Episode:
    """One row of a pool.

    Attributes:
        task: what is played.
        seed: the environment's seed.
        worker: index of the worker that plays it.
        slot: which of that worker's environments.
        actions: those that have been answered.
        results: the answers: of the reset, then of each action.
        asked: the action under way, not yet in `actions`.
        live: the slot holds this episode in its present state.
        over: it takes no more actions: it has ended, or failed for good.
        deaths: how often its worker died or hung while busy with it.
        exceptions: how often the environment raised what it should not.
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
        """What its slot shall play now: the action asked for, and before it all that the slot has lost."""
        asked = () if self.asked is None else (self.asked,)
        if self.live:
            return Order(self.slot, None, asked)
        return Order(self.slot, (self.task, self.seed), (*self.actions, *asked))

    def take(self, results: tuple[StepResult, ...]) -> str | None:
        """Record what came of the order. Returns what is wrong where a replay did not go as recorded."""
        *replayed, newest = results
        for turn, (seen, recorded) in enumerate(zip(replayed, self.results, strict=not self.live)):
            if _comparable(seen) != _comparable(recorded):
                return (
                    f"it is not deterministic, played again it showed {_short(seen)} after {turn} action(s) "
                    f"instead of {_short(recorded)}"
                )
        if self.asked is not None:
            self.actions.append(self.asked)
            self.asked = None
        self.results.append(newest)
        self.live, self.over = True, newest.done
        return None

    def describe(self) -> str:
        """Say where it is, for messages."""
        if self.asked is None:
            return f"task {self.task.task_id} at its start"
        return f"task {self.task.task_id} at action {len(self.actions) + 1} ({self.asked!r})"


def _comparable(result: StepResult) -> StepResult:
    """What a replay must show again; the admissible commands are a set, their order promises nothing."""
    return replace(result, admissible=None)


def _short(result: StepResult) -> str:
    return repr(textwrap.shorten(result.observation, 120))
