"""The environment that a run plays in, and its worker processes."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sg_pipeline.config.extensions import ENVIRONMENT, locate
from sg_pipeline.errors import ConfigurationError


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

    workers: int = Field(ge=0)
    step_timeout_s: float = Field(default=60.0, gt=0)
    reset_timeout_s: float = Field(default=180.0, gt=0)
    start_timeout_s: float = Field(default=180.0, gt=0)
    max_restarts: int = Field(default=2, ge=0)


class EnvironmentConfig(BaseModel):
    """A benchmark by name.

    Attributes:
        name: see `extensions.KNOWN`, or "package.module:Class" for one of your own.
        arguments: keyword arguments of the class that plays it, beside `data_root` and `cache_dir`, which every run
            adds.
        pool: worker processes; does not change results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)  # the value in conf/base is ALFWorld's
    pool: PoolConfig

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            locate(ENVIRONMENT, name)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return name
