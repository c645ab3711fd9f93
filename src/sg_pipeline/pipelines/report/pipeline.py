"""Report: everything that the run has measured, on one page."""

from itertools import groupby

from kedro.pipeline import Node, Pipeline

from sg_pipeline.coevolution import CoevolveConfig, unroll
from sg_pipeline.evaluation.metrics import EvaluationConfig
from sg_pipeline.pipelines.report.nodes import gather_metrics, write_report
from sg_pipeline.rewards.schedule import Constant, Off, Trapezoid


def create_pipeline(
    config: CoevolveConfig, schedule: Trapezoid | Constant | Off, evaluation: EvaluationConfig
) -> Pipeline:
    """Return the pipeline that reports on a whole run."""
    steps = unroll(config, schedule)
    # Gathered within their phase: in kedro viz a phase then leads to the report by one dataset instead of forty.
    phases = {
        phase: [f"{step.namespace}.metrics" for step in group]
        for phase, group in groupby(steps, key=lambda step: step.namespace.partition(".")[0])
    }
    gathering = [
        Node(gather_metrics, metrics, f"{phase}.gathered_metrics", name="gather_metrics", namespace=phase)
        for phase, metrics in phases.items()
    ]
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
        *(f"{phase}.gathered_metrics" for phase in phases),
    ]
    outputs = ["summary", "learning_curve", "report"]
    return Pipeline([*gathering, Node(write_report, inputs, outputs, name="write_report")])
