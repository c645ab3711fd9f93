"""What a pool of environments has done."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolCounters:
    """What a pool has done since it was made.

    Attributes:
        resets: episodes begun.
        steps: actions played, replayed ones not counted.
        restarts: workers replaced.
        replays: episodes played again after a failure.
        wait_s: wall seconds that the caller waited for answers.
        cpu_s: processor seconds spent in environments.
    """

    resets: int = 0
    steps: int = 0
    restarts: int = 0
    replays: int = 0
    wait_s: float = 0.0
    cpu_s: float = 0.0
