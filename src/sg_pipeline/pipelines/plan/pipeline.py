"""Parameters -> trial -> plan."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.tree import Parameters
from sg_pipeline.pipelines.plan.nodes import make_planner
from sg_pipeline.runs.stale import OF_RUNS


def create_pipeline(given: Parameters) -> Pipeline:
    """Return the pipeline that plans the run with the parameters in force."""
    inputs = ["command_line", "project_folder", "data_folder"]
    return Pipeline([Node(make_planner(given), inputs, ["plan", "plan_report"], name="plan_run")], tags=OF_RUNS)
