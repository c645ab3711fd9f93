"""Episodes in waves: a rollout's groups are played some after the others where their cache would not fit side by side.

The transformers sampler's cache is a rectangle, episodes x the longest trajectory. Each episode draws from a stream of
its own and each group starts from a world of its own, so the waves change no trajectory, beyond what the shape of a
batch does to the last bits of a float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.rollouts.collect import RolloutResult
from sg_pipeline.trajectories.types import Task

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

Play = Callable[[Sequence[Task], Sequence[int]], RolloutResult]
"""(tasks, index of each one's group) -> their episodes."""


def play_in_waves(
    play: Play, tasks: Sequence[Task], groups: Sequence[int] | None, config: RolloutConfig, rows: int | None
) -> RolloutResult:
    """Play all groups, whole ones, with at most `rows` episodes at once.

    Args:
        play: plays one wave.
        tasks: one per group.
        groups: index of each task's group; None: 0, 1, ...
        config: for the size of a group.
        rows: None: all at once.

    Returns:
        As of one rollout: trajectories in order, timings and counters added up.
    """
    groups = range(len(tasks)) if groups is None else groups
    size = len(tasks) if rows is None else max(1, rows // config.group_size)
    if len(tasks) <= size:
        return play(tasks, groups)
    return together(
        play(tasks[start : start + size], groups[start : start + size]) for start in range(0, len(tasks), size)
    )


def together(results: Iterable[RolloutResult]) -> RolloutResult:
    """Return several rollouts as one."""
    first, *others = results
    for other in others:
        first = RolloutResult(
            first.trajectories + other.trajectories,
            {name: value + other.timings[name] for name, value in first.timings.items()},
            {name: value + other.counters[name] for name, value in first.counters.items()},
            first.parts + other.parts,
        )
    return first


def rows_at_once(config: RolloutConfig, policies: Sequence[Policy]) -> int | None:
    """Return how many episodes are played at once; None: all.

    Args:
        config: `rows`, or `cache_gib`, into which that many trajectories of `max_length` tokens fit.
        policies: that keep a cache of an episode: the policy, and a guide.

    Raises:
        ConfigurationError: not even one group fits into `cache_gib`.
    """
    from sg_pipeline.sampling.kv_cache import row_bytes

    if config.cache_gib is None:
        return config.rows
    one = sum(row_bytes(policy.model, config.max_length, policy.compute) for policy in policies)
    fit = int(config.cache_gib * 2**30 / one)
    if fit < config.group_size:
        group = config.group_size * one / 2**30
        raise ConfigurationError(
            f"rollout.cache_gib is {config.cache_gib:g}, but the keys and values of one group ({config.group_size} "
            f"episodes of up to max_length = {config.max_length} tokens) take {group:.2g} GiB: "
            "raise it, or lower rollout.max_length or the size of a group"
        )
    return fit if config.rows is None else min(fit, config.rows)
