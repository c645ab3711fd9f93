"""Rollouts: agents x environments x sampling.

    observations ─► contexts ─► completions ─► actions ─► observations ─► …

All episodes go in step, turn by turn, in one batch; one that has ended leaves it. (Sampling one half while the
environments play the other was tried: on two cores the smaller batches cost a third more sampling time, which is
more than the fast engine takes in all.)
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.rollouts.config import RolloutConfig
from sg_pipeline.sampling.base import Completion, Sampler
from sg_pipeline.trajectories.types import Task, Trajectory, Turn

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What a rollout brought home.

    Attributes:
        trajectories: by group, then item; every group is complete.
        timings: wall seconds: "env_s" (waiting for environments), "sampling_s", "format_s" (tokens to text and back),
            "total_s"; and "env_cpu_s", processor seconds in the workers.
        counters: "turns", "sampled_tokens", "invalid_actions", "unparsed_guidance", "unparsed_actions",
            "cut_completions", "cut_observations", "truncated_by_turns", "truncated_by_tokens", "worker_restarts",
            "replayed_episodes".
        parts: what each trajectory's score is made of, in their order; empty for one where the benchmark does not say.
    """

    trajectories: list[Trajectory]
    timings: dict[str, float]
    counters: dict[str, int]
    parts: list[tuple[tuple[str, float], ...]] = field(default_factory=list)


_COUNTED = (
    "turns",
    "sampled_tokens",
    "invalid_actions",
    "unparsed_guidance",
    "unparsed_actions",
    "cut_completions",
    "cut_observations",
    "truncated_by_turns",
    "truncated_by_tokens",
)


@dataclass(slots=True)
class _Episode:
    """One row on its way to a `Trajectory`."""

    task: Task
    group: int
    item: int
    seen: StepResult = field(default_factory=lambda: StepResult(""))
    context: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    truncated: bool = False


def collect(
    tasks: Sequence[Task],
    config: RolloutConfig,
    sampler: Sampler,
    agent_format: "AgentFormat",
    pool: EnvironmentPool,
    *,
    seed: int,
    step: int,
    policy_step: int | None = None,
    groups: Sequence[int] | None = None,
    purpose: str = "rollout",
) -> RolloutResult:
    """Play `config.group_size` episodes of each task.

    Args:
        tasks: one per group.
        config: limits; what is "for the maker of" something is not read here.
        sampler: samples from the policy at the temperature it was made with.
        agent_format: text <-> tokens of that policy.
        pool: plays the tasks; its open episodes are replaced.
        seed: the run's seed.
        step: names the chance of this rollout, with `purpose`, group and item.
        policy_step: how many steps the policy has been trained for; None: `step`.
        groups: index of each task's group; None: 0, 1, ... Ranks that share a step give their part of all indices.
        purpose: keeps the chance of a rollout apart from that of, say, an evaluation at the same step.

    Raises:
        ConfigurationError: an opening does not fit into `max_length`.
        DataError: a game cannot be loaded, or starts at its end.
        EnvironmentFailure: an environment failed more often than the pool allows.
    """
    began = time.perf_counter()
    before = pool.counters
    groups = range(len(tasks)) if groups is None else groups
    episodes = [
        _Episode(task, group, item)
        for task, group in zip(tasks, groups, strict=True)
        for item in range(config.group_size)
    ]
    # One seed per group: its episodes start from the same world and differ by what the policy samples alone.
    seeds = [derive_seed(seed, step, purpose, "environment", episode.group, bits=31) for episode in episodes]
    streams = [stream(seed, step, purpose, episode.group, episode.item) for episode in episodes]
    rollout = _Rollout(config, sampler, agent_format, pool)
    rollout.play(episodes, seeds, streams)
    after = pool.counters
    return RolloutResult(
        [_trajectory(episode, step if policy_step is None else policy_step) for episode in episodes],
        rollout.timings | {"total_s": time.perf_counter() - began, "env_cpu_s": after.cpu_s - before.cpu_s},
        {name: rollout.counters[name] for name in _COUNTED}
        | {
            "worker_restarts": after.restarts - before.restarts,
            "replayed_episodes": after.replays - before.replays,
        },
        [episode.seen.parts for episode in episodes],
    )


class _Rollout:
    """The loop of one rollout and its bookkeeping."""

    def __init__(
        self, config: RolloutConfig, sampler: Sampler, agent_format: "AgentFormat", pool: EnvironmentPool
    ) -> None:
        self._config = config
        self._sampler = sampler
        self._format = agent_format
        self._pool = pool
        self.timings = {"env_s": 0.0, "sampling_s": 0.0, "format_s": 0.0}
        self.counters: Counter[str] = Counter()
        self._clock = time.perf_counter()

    def play(self, episodes: Sequence[_Episode], seeds: Sequence[int], streams: Sequence[np.random.Generator]) -> None:
        """Play `episodes` to their ends; row i of session and pool is `episodes[i]`."""
        session = self._sampler.open(streams, self._config.max_length)
        active = list(range(len(episodes)))
        self._tick("sampling_s")
        results = self._pool.reset([episode.task for episode in episodes], seeds, [e.group for e in episodes])
        while True:
            self._tick("env_s")
            active = [
                row
                for row, result in zip(active, results, strict=True)
                if self._goes_on(episodes[row], result, session.length(row))
            ]
            if not active:
                return
            contexts = [episodes[row].context for row in active]
            self._tick("format_s")
            completions = session.extend(active, contexts, self._format.stop_ids, self._config.max_new_tokens)
            self._tick("sampling_s")
            actions = [
                self._decide(episodes[row], completion) for row, completion in zip(active, completions, strict=True)
            ]
            self._tick("format_s")
            results = self._pool.step(active, actions)

    def _goes_on(self, episode: _Episode, result: StepResult, length: int) -> bool:
        """Record what the environment answered; make the next context, or end the episode."""
        config = self._config
        if episode.turns:
            last = episode.turns[-1]
            episode.turns[-1] = replace(last, action_valid=result.valid, reward=float(result.reward), done=result.done)
            self.counters["invalid_actions"] += not result.valid
        episode.seen = result
        if result.done:
            if not episode.turns:
                raise DataError(
                    f"task {episode.task.task_id} is over before its first action: take it out of the panel"
                )
            return False
        if len(episode.turns) == config.max_turns:
            self.counters["truncated_by_turns"] += 1
            episode.truncated = True
            return False
        if episode.turns:
            written = episode.turns[-1].completion_ids
            context = self._format.following(written, result.observation, result.admissible)
            limit = config.max_observation_tokens
            if limit is not None and len(context) > limit:
                self.counters["cut_observations"] += 1
                # Both ends stay: they hold the template's tokens.
                context = context[: -(-limit // 2)] + context[len(context) - limit // 2 :]
        else:
            context = self._format.opening(result.observation, result.admissible)
        if length + len(context) + config.max_new_tokens > config.max_length:
            if not episode.turns:
                raise ConfigurationError(
                    f"max_length is {config.max_length}, but the opening of task {episode.task.task_id} takes "
                    f"{len(context)} tokens and a completion up to max_new_tokens = {config.max_new_tokens}: "
                    f"raise max_length to several times {len(context) + config.max_new_tokens}"
                )
            self.counters["truncated_by_tokens"] += 1
            episode.truncated = True
            return False
        episode.context = context
        return True

    def _decide(self, episode: _Episode, completion: Completion) -> str:
        """Record what the policy wrote and return its action."""
        parsed = self._format.parse(completion.ids)
        self.counters["turns"] += 1
        self.counters["sampled_tokens"] += len(completion.ids)
        self.counters["cut_completions"] += not completion.stopped
        self.counters["unparsed_guidance"] += parsed.polarity is not None and not parsed.guidance_parsed
        self.counters["unparsed_actions"] += not parsed.action_parsed
        episode.turns.append(
            Turn(
                observation=episode.seen.observation,
                context_ids=episode.context,
                completion_ids=completion.ids,
                logprobs=completion.logprobs,
                segments=parsed.segments,
                guidance=parsed.guidance,
                polarity=parsed.polarity,
                guidance_parsed=parsed.guidance_parsed,
                action=parsed.action,
                action_parsed=parsed.action_parsed,
                action_valid=False,  # this and the next two are known when the environment has answered
                reward=0.0,
                done=False,
            )
        )
        return parsed.action

    def _tick(self, name: str) -> None:
        """Book the time since the last tick under `name`."""
        now = time.perf_counter()
        self.timings[name] += now - self._clock
        self._clock = now


def _trajectory(episode: _Episode, policy_step: int) -> Trajectory:
    return Trajectory(
        task=episode.task,
        group=episode.group,
        item=episode.item,
        policy_step=policy_step,
        turns=tuple(episode.turns),
        won=episode.seen.won,
        truncated=episode.truncated,
        score=episode.seen.score,
    )
