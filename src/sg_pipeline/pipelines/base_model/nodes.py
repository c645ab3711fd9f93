"""Node of the base_model pipeline."""

from pathlib import Path
from typing import Any

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import CheckpointError
from sg_pipeline.training.base_policy import make_base_policy


def load_base_policy(
    config: BaseModelConfig,
    environment: EnvironmentConfig,
    tasks: Any,
    games: Path,
    compiled_games: Path,
    project: Path,
    run: RunConfig,
) -> Any:
    """Load the base policy, or make it.

    Args:
        config: which policy.
        environment: names the benchmark, whose expert is imitated by a warm start.
        tasks: its section; the demonstrated tasks are like these, but never those that are evaluated.
        games, compiled_games: folders.
        project: what relative paths in the configuration start from.
        run: for the seed.

    Returns:
        The policy before its first co-evolution step.
    """
    benchmark = load_benchmark(environment.name)
    try:
        return make_base_policy(
            config, benchmark, tasks,
            games=games, compiled=compiled_games, project=project, seed=run.seed,
        )  # fmt: skip
    except CheckpointError as error:
        raise CheckpointError(f"base_model.path is {config.path!r}: {error}") from error
