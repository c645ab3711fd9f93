"""Node of the tasks pipeline."""

from pathlib import Path
from typing import Any

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.evaluation.play import evaluated_splits


def prepare_panel(
    environment: EnvironmentConfig,
    config: Any,
    evaluation: EvaluationConfig,
    games: Path,
    compiled_games: Path,
    project: Path,
) -> dict[str, Any]:
    """Make sure that every task of the panel can be played, and that it is the right one.

    Args:
        environment: names the benchmark.
        config: its section `tasks`, a `Benchmark.tasks_config`: where the tasks come from.
        evaluation: names splits that must be there.
        games, compiled_games: folders.
        project: what relative paths in the configuration start from.

    Returns:
        The prepared panel.
    """
    benchmark = load_benchmark(environment.name)
    panel: dict[str, Any] = world().on_first(lambda: benchmark.prepare(config, games, compiled_games, project))
    evaluated_splits(panel, evaluation)  # rather refused now than when the policy is trained
    return panel
