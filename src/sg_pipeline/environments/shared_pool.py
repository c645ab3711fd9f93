"""The pools of this process, which live on from one training step to the next."""

import atexit
import json
from pathlib import Path

from sg_pipeline.config.environment import EnvironmentConfig, PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec

_shared: dict[str, EnvironmentPool] = {}


def shared_pool(spec: EnvironmentSpec, config: PoolConfig | None = None) -> EnvironmentPool:
    """Return this process's pool for `spec` and `config`, made at the first call and closed at exit.

    Its workers, and the games that they have compiled, stay alive from one training step to the next.
    """
    config = config or PoolConfig()
    if not _shared:
        atexit.register(_close_shared)
    key = json.dumps([spec.name, dict(spec.arguments), config.model_dump()], sort_keys=True, default=str)
    if key not in _shared or _shared[key].closed:
        _shared[key] = EnvironmentPool(spec, config)
    return _shared[key]


def shared_pids() -> list[int]:
    """Return the processes of all shared pools."""
    return [pid for pool in _shared.values() if not pool.closed for pid in pool.pids()]


def open_pool(config: EnvironmentConfig, data_root: Path, cache_dir: Path) -> EnvironmentPool:
    """Return this process's pool for games under `data_root`."""
    arguments = {**config.arguments, "data_root": data_root, "cache_dir": cache_dir}
    return shared_pool(EnvironmentSpec(config.name, arguments), config.pool)


def _close_shared() -> None:
    for pool in _shared.values():
        pool.close()
    _shared.clear()
