"""The environment that a run plays in, and its worker processes."""

from typing import Any

from pydantic import Field

from sg_pipeline.config.section import Section


class PoolConfig(Section):
    """How environments are run; nothing here changes a result.

    Attributes:
        workers: processes; 0 plays in the caller's own process, for debugging: a crash or hang is then the caller's.
        step_timeout_s: a worker that takes longer for one action hangs, and is replaced.
        reset_timeout_s: the same for the start of an episode, compiling its game included.
        start_timeout_s: the same for a new worker's start.
        max_restarts: how often one episode may take its worker down before it counts as failed.
    """

    workers: int = Field(ge=0)
    step_timeout_s: float = Field(default=60.0, gt=0)
    reset_timeout_s: float = Field(default=180.0, gt=0)
    start_timeout_s: float = Field(default=180.0, gt=0)
    max_restarts: int = Field(default=2, ge=0)


class EnvironmentConfig(Section):
    """A benchmark by name.

    Attributes:
        name: see `extensions.KNOWN`, or "package.module:Class" for one of your own.
        arguments: keyword arguments of the class that plays it, beside `data_root` and `cache_dir`, which every run
            adds.
        pool: worker processes; does not change results.
    """

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)  # the value in conf/base is ALFWorld's
    pool: PoolConfig
