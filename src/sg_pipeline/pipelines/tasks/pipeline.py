"""Tasks -> panel."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.tasks.nodes import prepare_panel


def create_pipeline() -> Pipeline:
    """Return the pipeline that prepares the panel."""
    return Pipeline(
        [
            Node(
                prepare_panel,
                [
                    "params:environment",
                    "params:tasks",
                    "params:evaluate",
                    "games",
                    "compiled_games",
                    "project_folder",
                ],
                "panel",
                name="prepare_panel",
            )
        ]
    )
