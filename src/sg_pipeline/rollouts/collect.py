"""Rollouts: agents x environments x sampling.

How the episodes take turns is in `loops.py`, what is recorded of each turn in `bookkeeping.py`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.rollouts.bookkeeping import COUNTED, Episode, Ledger
from sg_pipeline.rollouts.loops import play_in_step, play_streaming
from sg_pipeline.sampling.base import Sampler, StreamingSession
from sg_pipeline.trajectories.types import Task, Trajectory

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What a rollout brought home.

    Attributes:
        trajectories: by group, then item; every group is complete.
        timings: wall seconds, see `loops`: "env_s" (waiting for environments), "sampling_s", "format_s" (tokens to text
            and back), "sync_s" (bringing an engine's weights up to date, see `play`) and "total_s", which is not less
            than their sum; and "env_cpu_s", processor seconds in the workers.
        counters: "turns", "sampled_tokens", "invalid_actions", "unparsed_guidance", "unparsed_actions",
            "cut_completions", "cut_observations", "truncated_by_turns", "truncated_by_tokens", "worker_restarts",
            "replayed_episodes".
        parts: what each trajectory's score is made of, in their order; empty for one where the benchmark does not say.
    """

    trajectories: list[Trajectory]
    timings: dict[str, float]
    counters: dict[str, int]
    parts: list[tuple[tuple[str, float], ...]] = field(default_factory=list)


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
        Episode(task, group, item)
        for task, group in zip(tasks, groups, strict=True)
        for item in range(config.group_size)
    ]
    # One seed per group: its episodes start from the same world and differ by what the policy samples alone.
    seeds = [derive_seed(seed, step, purpose, "environment", episode.group, bits=31) for episode in episodes]
    streams = [stream(seed, step, purpose, episode.group, episode.item) for episode in episodes]
    ledger = Ledger(config, agent_format)
    session = sampler.open(streams, config.max_length)
    if isinstance(session, StreamingSession):
        play_streaming(episodes, seeds, session, pool, ledger)
    else:
        play_in_step(episodes, seeds, session, pool, ledger)
    after = pool.counters
    return RolloutResult(
        [episode.trajectory(step if policy_step is None else policy_step) for episode in episodes],
        ledger.timings
        | {"sync_s": 0.0, "total_s": time.perf_counter() - began, "env_cpu_s": after.cpu_s - before.cpu_s},
        {name: ledger.counters[name] for name in COUNTED}
        | {
            "worker_restarts": after.restarts - before.restarts,
            "replayed_episodes": after.replays - before.replays,
        },
        [episode.seen.parts for episode in episodes],
    )
