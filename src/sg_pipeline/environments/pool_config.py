"""How environments are run in parallel, as a user sets it, and what came of it."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


class PoolConfig(BaseModel):
    """How environments are run; nothing here changes a result.

    Attributes:
        workers: processes; 0 plays in the caller's own process, for debugging: a crash or hang is then the caller's.
        step_timeout_s: a worker that takes longer for one action hangs, and is replaced.
        reset_timeout_s: the same for the start of an episode, compiling its game included.
        start_timeout_s: the same for a new worker's start.
        max_restarts: how often one episode may take its worker down before it counts as failed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int = Field(default=2, ge=0)
    step_timeout_s: float = Field(default=60.0, gt=0)
    reset_timeout_s: float = Field(default=180.0, gt=0)
    start_timeout_s: float = Field(default=180.0, gt=0)
    max_restarts: int = Field(default=2, ge=0)


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
