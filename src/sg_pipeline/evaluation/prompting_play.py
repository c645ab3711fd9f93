"""Plays a prompting method on frozen panels, trial by trial, with the same chance for every method.

    trial 1: every game ─► (failed) reflections ─► trial 2: those games again ─► …

Single-trial methods have the first trial only. An episode's chance is named by (split, trial, group, item) and not by
the method, so that two methods are paired by game, and Reflexion's first trial is ReAct's, token for token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

from sg_pipeline.distributed.world import world
from sg_pipeline.environments.base import StepResult
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.prompting_reflections import Reflection
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.rollouts.collect import RolloutConfig, RolloutResult, collect
from sg_pipeline.rollouts.sharing import play_shared
from sg_pipeline.trajectories.types import Task, Trajectory

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.reflexion import ReflectionFormat
    from sg_pipeline.environments.pool import EnvironmentPool, PoolCounters
    from sg_pipeline.sampling.base import Sampler

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """An episode about to be played.

    Attributes:
        task: the game.
        group: its index in the split.
        item: the repetition.
        memory: text that stands before the first observation; empty: none.
    """

    task: Task
    group: int
    item: int
    memory: str = ""


def play_attempts(
    attempts: Sequence[Attempt],
    trial: int,
    config: RolloutConfig,
    sampler: Sampler,
    agent_format: AgentFormat,
    pool: EnvironmentPool,
    *,
    repetitions: int,
    seed: int,
    policy_step: int,
    batch_rows: int,
) -> tuple[list[Trajectory], Counter[str]]:
    """Play one trial.

    Args:
        attempts: in any number; those of one split and trial are told apart by group and item.
        trial: from 1.
        config: limits.
        sampler, agent_format, pool: see `rollouts.collect`.
        repetitions: episodes of a game; items are below that.
        seed: the run's seed.
        policy_step: how many steps the policy has been trained for.
        batch_rows: episodes played at once by each process that shares the run.

    Returns:
        (trajectories in the order of `attempts`, counters of `rollouts.collect`). A memory that was shown is part of
        the first turn's observation.
    """
    one_each = config.model_copy(update={"group_size": 1})
    trajectories: list[Trajectory] = []
    counters: Counter[str] = Counter()
    for split in dict.fromkeys(attempt.task.split for attempt in attempts):
        own = [attempt for attempt in attempts if attempt.task.split == split]
        for batch in _chunks(own, batch_rows * world().size):
            # Each attempt is a group of its own here, so that any of them may be left out of a later trial.
            by_group = {attempt.group * repetitions + attempt.item: attempt for attempt in batch}

            def play(
                tasks: list[Task], groups: Sequence[int], split: str = split, by_group: dict[int, Attempt] = by_group
            ) -> RolloutResult:
                if not tasks:
                    return RolloutResult([], {}, {})
                return collect(
                    tasks,
                    one_each,
                    sampler,
                    agent_format,
                    cast("EnvironmentPool", _TrialPool(pool, [by_group[group] for group in groups], seed)),
                    seed=seed,
                    step=0,
                    policy_step=policy_step,
                    groups=groups,
                    purpose=f"prompting {split} trial {trial}",
                )

            result = play_shared(play, [attempt.task for attempt in batch], list(by_group))
            counters.update(result.counters)
            trajectories += [
                replace(trajectory, group=attempt.group, item=attempt.item)
                for attempt, trajectory in zip(batch, result.trajectories, strict=True)
            ]
    return trajectories, counters


class _TrialPool:
    """The environments as a trial meets them: the same worlds every time, the memory before the first observation."""

    def __init__(self, pool: EnvironmentPool, attempts: Sequence[Attempt], seed: int) -> None:
        self._pool = pool
        self._attempts = attempts
        self._seed = seed
        self._waiting: set[int] = set()
        """Rows whose first observation has not been received."""

    @property
    def counters(self) -> PoolCounters:
        return self._pool.counters

    def reset(self, tasks: Sequence[Task], seeds: Sequence[int], groups: Sequence[int]) -> list[StepResult]:
        return [self._with_memory(*pair) for pair in enumerate(self._pool.reset(tasks, self._worlds(), self._groups()))]

    def step(self, rows: Sequence[int], actions: Sequence[str]) -> list[StepResult]:
        return self._pool.step(rows, actions)

    def begin(self, tasks: Sequence[Task], seeds: Sequence[int], groups: Sequence[int]) -> None:
        self._waiting = set(range(len(self._attempts)))
        self._pool.begin(tasks, self._worlds(), self._groups())

    def send(self, rows: Sequence[int], actions: Sequence[str]) -> None:
        self._pool.send(rows, actions)

    def receive(self, timeout_s: float | None = None) -> list[tuple[int, StepResult]]:
        answers = [
            (row, self._with_memory(row, result) if row in self._waiting else result)
            for row, result in self._pool.receive(timeout_s)
        ]
        self._waiting -= {row for row, _ in answers}
        return answers

    def _worlds(self) -> list[int]:
        """The seeds of `collect` differ from trial to trial: what a policy has learned about rooms would be wrong."""
        return [
            derive_seed(self._seed, "prompting", attempt.task.split, "environment", attempt.group, bits=31)
            for attempt in self._attempts
        ]

    def _groups(self) -> list[int]:
        return [attempt.group for attempt in self._attempts]

    def _with_memory(self, row: int, first: StepResult) -> StepResult:
        memory = self._attempts[row].memory
        return replace(first, observation=f"{memory}\n\n{first.observation}") if memory else first


def reflect(
    failed: Sequence[Trajectory],
    trial: int,
    sampler: Sampler,
    reflection_format: ReflectionFormat,
    *,
    max_new_tokens: int,
    max_length: int,
    seed: int,
    batch_rows: int,
) -> list[Reflection]:
    """Let the policy write a reflection on each failed trajectory.

    Args:
        failed: trajectories of trial `trial`.
        trial: from 1; with the seed, split, group and item it names the chance.
        sampler, reflection_format: of the policy.
        max_new_tokens: of a reflection.
        max_length: tokens that prompt and reflection may take together.
        seed: the run's seed.
        batch_rows: reflections written at once.
    """
    if max_length <= max_new_tokens:
        raise ConfigurationError(
            f"prompting.reflexion.max_new_tokens is {max_new_tokens}, but rollout.max_length = {max_length} is the "
            f"limit of prompt and reflection together: raise the latter"
        )
    reflections = []
    for batch in _chunks(failed, batch_rows):
        prompts = [reflection_format.prompt(trajectory, max_length - max_new_tokens) for trajectory in batch]
        streams = [stream(seed, "prompting", one.task.split, "reflect", trial, one.group, one.item) for one in batch]
        session = sampler.open(streams, max_length)
        written = session.extend(list(range(len(batch))), prompts, reflection_format.stop_ids, max_new_tokens)
        reflections += [
            Reflection(
                split=trajectory.task.split,
                task_id=trajectory.task.task_id,
                group=trajectory.group,
                item=trajectory.item,
                trial=trial,
                text=reflection_format.text(completion.ids),
                stopped=completion.stopped,
                prompt_ids=prompt,
                completion_ids=completion.ids,
                logprobs=completion.logprobs,
            )
            for trajectory, prompt, completion in zip(batch, prompts, written, strict=True)
        ]
    return reflections


def next_attempts(
    failed: Sequence[Trajectory],
    reflections: Sequence[Reflection],
    memory: int,
    reflection_format: ReflectionFormat,
) -> list[Attempt]:
    """Return the attempts of the next trial: what failed, with the latest `memory` reflections on it."""
    notes: dict[tuple[str, int, int], dict[int, str]] = {}
    for one in sorted(reflections, key=lambda reflection: reflection.trial):
        notes.setdefault((one.split, one.group, one.item), {})[one.trial] = one.text
    return [
        Attempt(
            trajectory.task,
            trajectory.group,
            trajectory.item,
            reflection_format.memory(
                _latest(notes.get((trajectory.task.split, trajectory.group, trajectory.item), {}), memory)
            ),
        )
        for trajectory in failed
    ]


def _latest(notes: Mapping[int, str], number: int) -> dict[int, str]:
    return {trial: notes[trial] for trial in sorted(notes)[-number:]}


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
