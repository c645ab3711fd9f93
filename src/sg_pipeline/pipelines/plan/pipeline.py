"""Parameters -> trial -> plan."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.plan.nodes import plan_run
from sg_pipeline.runs.stale import OF_RUNS


def create_pipeline() -> Pipeline:
    """Return the pipeline that plans the run with the parameters in force."""
    inputs = ["parameters", "command_line", "project_folder", "data_folder"]
    return Pipeline([Node(plan_run, inputs, ["plan", "plan_report"], name="plan_run")], tags=OF_RUNS)
