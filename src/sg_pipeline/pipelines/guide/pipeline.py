"""Guide: one node, in the graph only with `rollout.guide`."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.guide.nodes import read_guide
from sg_pipeline.runs.steps import BASE_POLICY, GUIDE


def create_pipeline() -> Pipeline:
    """Return the pipeline that loads the guide."""
    return Pipeline([Node(read_guide, ["params:rollout", BASE_POLICY, "project_folder"], GUIDE, name="read_guide")])
