"""The result of a rollout: trajectories, where the time went, what was counted; and how several results add up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sg_pipeline.trajectories.types import Trajectory

Parts = tuple[tuple[str, float], ...]
"""Name and value of each part of an episode's score."""


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """Result of a rollout.

    Attributes:
        trajectories: in the order of the attempts.
        timings: wall seconds: "env_s" (waiting for environments), "sampling_s", "format_s" (tokens to text and back),
            "sync_s" (starting an engine or updating its weights) and "total_s", which is at least their sum; and
            "env_cpu_s", CPU seconds in the workers.
        counters: "turns", "sampled_tokens", "invalid_actions", "unparsed_guidance", "unparsed_actions",
            "cut_completions", "cut_observations", "truncated_by_turns", "truncated_by_tokens", "worker_restarts",
            "replayed_episodes"; with a guide also those of `sampling.two_call`.
        parts: of each trajectory's score, in their order; empty where the benchmark does not report any.
    """

    trajectories: list[Trajectory] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    parts: list[Parts] = field(default_factory=list)


def in_sequence(results: Iterable[RolloutResult]) -> RolloutResult:
    """Combine rollouts that one process played one after the other: timings and counters are sums."""
    results = list(results)
    return RolloutResult(
        [trajectory for result in results for trajectory in result.trajectories],
        _sums([result.timings for result in results]),
        _sums([result.counters for result in results]),
        [parts for result in results for parts in result.parts],
    )


def in_parallel(results: Sequence[RolloutResult], waited_s: Sequence[float]) -> RolloutResult:
    """Combine the rollouts of processes that share a run.

    Returns:
        Counters are sums. Timings are means over the processes, so that they still add up to "total_s"; "sync_s" also
        holds `waited_s`, the seconds in which each waited for the others and exchanged trajectories. "env_cpu_s" is a
        sum: it counts what was spent anywhere.
    """
    whole = in_sequence(results)
    timings = {name: seconds / len(results) for name, seconds in whole.timings.items()}
    waited = sum(waited_s) / len(waited_s)
    for name in ("sync_s", "total_s"):
        timings[name] = timings.get(name, 0.0) + waited
    if "env_cpu_s" in whole.timings:
        timings["env_cpu_s"] = whole.timings["env_cpu_s"]
    return RolloutResult(whole.trajectories, timings, whole.counters, whole.parts)


def _sums(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for mapping in mappings for name in mapping)
    return {name: sum(mapping.get(name, 0) for mapping in mappings) for name in names}


def time_split(timings: Mapping[str, float], training_s: float, resting_s: float = 0.0) -> dict[str, float]:
    """Return the seconds of a step by what its process did or waited for; each moment is in one column.

    `training_s` are those of the train step, `resting_s` those in which a sampling engine released its memory for it.

    Returns:
        environment: waiting for environments while no sampling engine had work;
        sampling: the engine worked (in streaming, environments may have worked at the same time);
        format: text to tokens and back;
        sync: an engine was started, updated with the policy's weights, or put to sleep; with several processes also
            waiting for the slower ones and exchanging trajectories;
        training: the update, gradient exchange included;
        idle: none of these, such as opening a session;
        total: the sum.
    """
    columns = {"environment": "env_s", "sampling": "sampling_s", "format": "format_s", "sync": "sync_s"}
    split = {column: timings.get(name, 0.0) for column, name in columns.items()}
    idle = max(0.0, timings["total_s"] - sum(split.values()))
    split |= {"sync": split["sync"] + resting_s, "training": training_s, "idle": idle}
    return {**split, "total": sum(split.values())}


def shares(seconds: Mapping[str, float | None]) -> dict[str, float]:
    """Return each column's share of the total, largest first; empty without a total."""
    total = seconds.get("total") or 0.0
    parts = {column: (value or 0.0) / total for column, value in seconds.items() if column != "total" and total > 0}
    return dict(sorted(parts.items(), key=lambda part: -part[1]))
