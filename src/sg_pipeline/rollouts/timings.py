"""Where the wall time of a step went, in columns that add up."""

from collections.abc import Mapping

_ROLLOUT = {"environment": "env_s", "sampling": "sampling_s", "format": "format_s", "sync": "sync_s"}
"""Column -> what a rollout calls it."""


def time_split(timings: Mapping[str, float], training_s: float, resting_s: float = 0.0) -> dict[str, float]:
    """Return the seconds of a step by what its process did or waited for; each moment is in one column.

    Args:
        timings: of `collect.RolloutResult`.
        training_s: of the train step.
        resting_s: in which a sampling engine gave its memory up for it.

    Returns:
        environment: waiting for environments, while no sampling engine had work;
        sampling: the engine worked (in streaming, environments may have worked beside it);
        format: text to tokens and back;
        sync: an engine was started, brought up to date with the policy's weights, or put to sleep; with several
            processes also waiting for the slower ones and exchanging trajectories;
        training: the update, the way of the gradients included;
        idle: none of these, such as opening a session;
        total: all of them.
    """
    split = {column: timings.get(name, 0.0) for column, name in _ROLLOUT.items()}
    idle = max(0.0, timings["total_s"] - sum(split.values()))
    split |= {"sync": split["sync"] + resting_s, "training": training_s, "idle": idle}
    return {**split, "total": sum(split.values())}


def shares(seconds: Mapping[str, float | None]) -> dict[str, float]:
    """Return each column's share of the total, largest first; nothing where there is no total.

    Steps of earlier versions have fewer columns, and their total may be more than these.
    """
    total = seconds.get("total") or 0.0
    parts = {column: (value or 0.0) / total for column, value in seconds.items() if column != "total" and total > 0}
    return dict(sorted(parts.items(), key=lambda part: -part[1]))
