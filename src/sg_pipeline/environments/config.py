"""Which environment a run plays in, and how its workers are run."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sg_pipeline.environments.benchmark import Benchmark
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.pool_config import PoolConfig
from sg_pipeline.environments.registry import DEFAULT, EnvironmentSpec, load_benchmark, locate
from sg_pipeline.environments.shared_pool import shared_pool
from sg_pipeline.errors import ConfigurationError


class EnvironmentConfig(BaseModel):
    """A benchmark by name.

    Attributes:
        name: of `registry.BENCHMARKS`, or "package.module:Class" for one of your own.
        arguments: keyword arguments of the class that plays it, beside `data_root` and `cache_dir`, which every run
            adds.
        pool: worker processes; does not change results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = DEFAULT
    arguments: dict[str, Any] = Field(default_factory=dict)
    pool: PoolConfig = Field(default_factory=PoolConfig)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            locate(name)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return name

    @property
    def benchmark(self) -> Benchmark:
        """What the name stands for. Raises `ConfigurationError` where it cannot be imported."""
        return load_benchmark(self.name)

    def open_pool(self, data_root: Path, cache_dir: Path) -> EnvironmentPool:
        """Return this process's pool for games under `data_root`; its workers live on from step to step."""
        arguments = {**self.arguments, "data_root": data_root, "cache_dir": cache_dir}
        return shared_pool(EnvironmentSpec(self.name, arguments), self.pool)
