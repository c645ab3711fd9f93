"""Plan: memory, time and disk of a run, before it is started."""

import logging
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.tree import check_parameters
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.stale import OF_RUNS

logger = logging.getLogger(__name__)


def create_pipeline() -> Pipeline:
    """Return the pipeline that plans the run with the parameters in force."""
    inputs = ["parameters", "command_line", "project_folder", "data_folder"]
    return Pipeline([Node(plan_run, inputs, ["plan", "plan_report"], name="plan_run")], tags=OF_RUNS)


def plan_run(
    parameters: dict[str, Any], command_line: CommandLine, project: Path, data: Path
) -> tuple[dict[str, Any], str]:
    """Measure the first steps of the run, unless it has steps already, and extrapolate.

    Returns:
        (plan.json, see `planning.plan.plan_run`; plan.md).
    """
    from sg_pipeline.planning import plan as planning

    plan = planning.plan_run(check_parameters(parameters), command_line, project, data)
    text = planning.plan_markdown(plan)
    logger.info("%s", text.rstrip())
    return plan, text
