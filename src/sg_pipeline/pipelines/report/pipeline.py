"""Report: everything that the run has measured, on one page."""

from itertools import groupby

from kedro.pipeline import Node, Pipeline

from sg_pipeline.coevolution import CoevolveConfig, unroll
from sg_pipeline.evaluation.metrics import EvaluationConfig
from sg_pipeline.pipelines.evaluate.pipeline import EVALUATED
from sg_pipeline.pipelines.report.nodes import gather_metrics, write_cards, write_page, write_report
from sg_pipeline.reporting.page.source import spread_steps
from sg_pipeline.rewards.schedule import Constant, Off, Trapezoid

STEPS_SHOWN = 21
"""Steps of which the page shows trajectories, spread over the run: all of 80 would make it slow to open."""


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
    chosen = {
        step.index: step.namespace for step in steps if step.index in spread_steps(range(len(steps)), STEPS_SHOWN)
    }
    shown = {
        "run": "params:run",
        "aggregate": "params:aggregate",
        "summary": "summary",
        "curve": "learning_curve",
        **{f"phase_{number}": f"{phase}.gathered_metrics" for number, phase in enumerate(phases)},
        **{f"trajectories_{index}": f"{namespace}.trajectories" for index, namespace in chosen.items()},
        **{f"rewards_{index}": f"{namespace}.rewards" for index, namespace in chosen.items()},
        **{f"gaps_{index}": f"{namespace}.logprob_gaps" for index, namespace in chosen.items()},
        **{
            f"evaluated_{policy}_{mode}": f"evaluate.{policy}.episodes_{mode}"
            for policy in EVALUATED
            for mode in evaluation.modes
        },
    }
    return Pipeline(
        [
            *gathering,
            Node(write_report, inputs, outputs, name="write_report"),
            Node(
                write_cards,
                ["summary", "run_identity", "policies", "params:environment", "params:rollout"],
                "model_card",
                name="write_cards",
            ),
            Node(write_page, shown, "page", name="write_page"),
        ]
    )
