"""Parameters -> plan."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.tree import Parameters
from sg_pipeline.pipelines.plan.nodes import make_planner, write_plan


def create_pipeline(given: Parameters) -> Pipeline:
    """Return the pipeline that plans the run with the parameters in force."""
    return Pipeline(
        [
            Node(make_planner(given), ["project_folder", "data_folder"], "plan", name="plan_run"),
            Node(write_plan, "plan", "plan_report", name="write_plan"),
        ]
    )
