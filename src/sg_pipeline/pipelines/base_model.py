"""The policies that a run starts from: the base policy, and the frozen guide where `rollout.guide` names one."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import CheckpointError
from sg_pipeline.pipelines.tasks import PREPARED
from sg_pipeline.runs.steps import BASE_POLICY, GUIDE

LOADED = ["params:base_model", "params:environment", "params:tasks", "params:run", *PREPARED]
"""Inputs of `load_base_policy`."""


def create_pipeline() -> Pipeline:
    """Return the pipeline that writes the base policy."""
    return Pipeline([Node(load_base_policy, LOADED, BASE_POLICY, name="load_base_policy")])


def guide_pipeline(guided: bool) -> Pipeline:
    """Return the pipeline that loads the guide; without nodes if there is none."""
    reading = Node(read_guide, ["params:rollout", BASE_POLICY, "project_folder"], GUIDE, name="read_guide")
    return Pipeline([reading] if guided else [])


def load_base_policy(
    config: BaseModelConfig,
    environment: EnvironmentConfig,
    tasks: Any,
    run: RunConfig,
    games: Path,
    compiled_games: Path,
    project: Path,
) -> Any:
    """Load the policy before its first co-evolution step, or make it by a warm start.

    A warm start imitates the benchmark's expert on tasks like those of the section `tasks`, but never on those that
    are evaluated.
    """
    from sg_pipeline.training.base_policy import make_base_policy

    benchmark = load_benchmark(environment.name)
    try:
        return make_base_policy(
            config, benchmark, tasks,
            games=games, compiled=compiled_games, project=project, seed=run.seed,
        )  # fmt: skip
    except CheckpointError as error:
        raise CheckpointError(f"base_model.path is {config.path!r}: {error}") from error


def read_guide(rollout: RolloutConfig, base_policy: Any, project: Path) -> Any:
    """Load the guide, which must have the tokens of `base_policy`, once for all steps and evaluations."""
    from sg_pipeline.policies.guide import load_guide

    assert rollout.guide is not None, "the node is in the graph only with a guide"
    try:
        return load_guide(project / rollout.guide, base_policy)
    except CheckpointError as error:
        raise CheckpointError(f"rollout.guide is {rollout.guide!r}: {error}") from error
