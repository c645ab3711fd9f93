"""A benchmark by name, and the smallest one."""

import pytest

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec, load_benchmark
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Task


def test_smallest_benchmark_is_prepared_and_played(tmp_path):
    benchmark = load_benchmark("guessing:Guessing")
    config = benchmark.tasks_config(limit=7)
    panel = benchmark.prepare(config, tmp_path, tmp_path, tmp_path)
    assert {split: len(tasks) for split, tasks in panel["splits"].items()} == {"train": 7, "test": 5}
    assert benchmark.inputs(config, tmp_path) == {}
    tasks = [Task(**task) for task in panel["splits"]["train"][:2]]
    spec = EnvironmentSpec("guessing:Guessing", {"data_root": panel["data_root"], "cache_dir": tmp_path})
    with EnvironmentPool(spec, PoolConfig(workers=1)) as pool:
        assert [result.forms for result in pool.reset(tasks, [0, 0])] == [("(number)",)] * 2
        wrong, right = pool.step([0, 1], ["2", "2"])
        assert (wrong.observation, wrong.done, right.won, right.reward) == ("Wrong.", False, True, 1.0)
    with pytest.raises(ConfigurationError, match="guessing has no expert for a warm start"):
        benchmark.demonstrator(config, tmp_path, tmp_path, tmp_path)
    with pytest.raises(ConfigurationError, match="guessing has no vocabulary"):
        benchmark.vocabulary()
