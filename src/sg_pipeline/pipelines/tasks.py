"""Tasks: the frozen panel, its games on disk and compiled."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.evaluation.play import evaluated_splits

PREPARED = ["games", "compiled_games", "project_folder"]
"""Folders of games and compiled games, and the base of relative paths in the configuration."""


def create_pipeline() -> Pipeline:
    """Return the pipeline that prepares the panel."""
    inputs = ["params:environment", "params:tasks", "params:evaluate", *PREPARED]
    return Pipeline([Node(prepare_panel, inputs, "panel", name="prepare_panel")])


def prepare_panel(
    environment: EnvironmentConfig, config: Any, evaluation: EvaluationConfig, *folders: Path
) -> dict[str, Any]:
    """Make sure that every task of the panel can be played, and that it is the right one; return the panel.

    Args:
        environment: names the benchmark.
        config: its section `tasks`, a `Benchmark.tasks_config`: where the tasks come from.
        evaluation: names splits that must exist: a missing one is reported now, not when the policy is trained.
        folders: `PREPARED`.
    """
    benchmark = load_benchmark(environment.name)
    panel: dict[str, Any] = world().on_first(lambda: benchmark.prepare(config, *folders))
    evaluated_splits(panel, evaluation)
    return panel
