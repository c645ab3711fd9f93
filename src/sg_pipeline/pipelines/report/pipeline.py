"""Report: everything that the run has measured, on one page."""

from collections.abc import Collection, Sequence
from itertools import groupby

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig
from sg_pipeline.pipelines.evaluate.pipeline import EVALUATED
from sg_pipeline.pipelines.report.nodes import gather_metrics, gather_shown, write_cards, write_page, write_report
from sg_pipeline.reporting.page.source import spread_steps
from sg_pipeline.runs.steps import Step, unroll

STEPS_SHOWN = 21
"""Steps of which the page shows trajectories, spread over the run: all of 80 would make it slow to open."""


def create_pipeline(config: CoevolveConfig, schedule: TrustSchedule, evaluation: EvaluationConfig) -> Pipeline:
    """Return the pipeline that reports on a whole run."""
    steps = unroll(config, schedule)
    shown = spread_steps([step.index for step in steps], STEPS_SHOWN)
    # Gathered within their phase: in kedro viz a phase then leads to the report by two datasets instead of fifty.
    phases = {phase: list(group) for phase, group in groupby(steps, key=lambda step: step.namespace.partition(".")[0])}
    gathering = [_gather_metrics(phase, group) for phase, group in phases.items()]
    showing = [_gather_shown(phase, group, shown) for phase, group in phases.items()]
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
    page = {
        "run": "params:run",
        "aggregate": "params:aggregate",
        "summary": "summary",
        "curve": "learning_curve",
        **{f"phase_{number}": f"{phase}.gathered_metrics" for number, phase in enumerate(phases)},
        **{f"shown_{number}": node.outputs[0] for number, node in enumerate(showing)},
        **{
            f"evaluated_{policy}_{mode}": f"evaluate.{policy}.episodes_{mode}"
            for policy in EVALUATED
            for mode in evaluation.modes
        },
    }
    return Pipeline(
        [
            *gathering,
            *showing,
            Node(write_report, inputs, outputs, name="write_report"),
            Node(
                write_cards,
                ["summary", "run_identity", "policies", "params:environment", "params:rollout"],
                "model_card",
                name="write_cards",
            ),
            Node(write_page, page, "page", name="write_page"),
        ]
    )


def _gather_metrics(phase: str, steps: Sequence[Step]) -> Node:
    metrics = [f"{step.namespace}.metrics" for step in steps]
    return Node(gather_metrics, metrics, f"{phase}.gathered_metrics", name="gather_metrics", namespace=phase)


def _gather_shown(phase: str, steps: Sequence[Step], shown: Collection[int]) -> Node:
    # The gaps, which are small, of all steps: kedro viz draws datasets that no node reads outside the phase.
    tables = {f"gaps_{step.index}": f"{step.namespace}.logprob_gaps" for step in steps}
    for step in steps:
        if step.index in shown:
            tables |= {f"{name}_{step.index}": f"{step.namespace}.{name}" for name in ("trajectories", "rewards")}
    return Node(gather_shown, tables, f"{phase}.shown_steps", name="gather_shown", namespace=phase)
