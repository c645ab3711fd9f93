"""Node of the base_model pipeline."""

from pathlib import Path
from typing import Any

from sg_pipeline.coevolution import RunConfig
from sg_pipeline.environments.alfworld.tasks import TasksConfig
from sg_pipeline.errors import CheckpointError
from sg_pipeline.training.base import make_base_policy
from sg_pipeline.training.base_config import BaseModelConfig


def load_base_policy(config: BaseModelConfig, tasks: TasksConfig, project: Path, run: RunConfig) -> Any:
    """Load the base policy, or make it.

    Args:
        config: which policy.
        tasks: a warm start demonstrates on games as difficult as these, but never on their evaluation games.
        project: what relative paths in the configuration start from.
        run: for the seed.

    Returns:
        The policy before its first co-evolution step.
    """
    try:
        return make_base_policy(config, tasks, project, run.seed)
    except CheckpointError as error:
        raise CheckpointError(f"base_model.path is {config.path!r}: {error}") from error
