"""Base policy."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.base_model.nodes import load_base_policy
from sg_pipeline.runs.steps import BASE_POLICY


def create_pipeline() -> Pipeline:
    """Return the pipeline that writes the base policy."""
    return Pipeline(
        [
            Node(
                load_base_policy,
                [
                    "params:base_model",
                    "params:environment",
                    "params:tasks",
                    "games",
                    "compiled_games",
                    "project_folder",
                    "params:run",
                ],
                BASE_POLICY,
                name="load_base_policy",
            )
        ]
    )
