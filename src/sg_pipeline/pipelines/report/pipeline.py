"""Report: everything that the run has measured, on one page."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.coevolution import CoevolveConfig, unroll
from sg_pipeline.evaluation.metrics import EvaluationConfig
from sg_pipeline.pipelines.report.nodes import write_report
from sg_pipeline.rewards.schedule import Constant, Off, Trapezoid


def create_pipeline(
    config: CoevolveConfig, schedule: Trapezoid | Constant | Off, evaluation: EvaluationConfig
) -> Pipeline:
    """Return the pipeline that reports on a whole run."""
    steps = unroll(config, schedule)
    inputs = [
        "params:run",
        "params:environment",
        "params:rollout",
        "run_identity",
        "panel",
        "evaluate.base.evaluation",
        "evaluate.final.evaluation",
        f"{steps[0].namespace}.trajectories",
        f"{steps[-1].namespace}.trajectories",
        f"evaluate.final.episodes_{evaluation.modes[0]}",
        *(f"{step.namespace}.metrics" for step in steps),
    ]
    return Pipeline([Node(write_report, inputs, ["summary", "learning_curve", "report"], name="write_report")])
