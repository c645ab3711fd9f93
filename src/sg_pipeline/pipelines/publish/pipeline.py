"""One node: upload a finished run's policy to the Hub."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.publish.nodes import publish_policy


def create_pipeline() -> Pipeline:
    """Return the pipeline that publishes a policy."""
    return Pipeline(
        [Node(publish_policy, ["policies", "params:publish", "params:run"], "publication", name="publish_policy")]
    )
