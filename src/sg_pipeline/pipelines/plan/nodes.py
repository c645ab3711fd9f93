"""Node of the plan pipeline."""

import logging
from pathlib import Path
from typing import Any

from sg_pipeline.config.tree import check_parameters
from sg_pipeline.runs.command_line import CommandLine

logger = logging.getLogger(__name__)


def plan_run(
    parameters: dict[str, Any], command_line: CommandLine, project: Path, data: Path
) -> tuple[dict[str, Any], str]:
    """Measure the first steps of the run, unless it has steps already, and extrapolate.

    Args:
        parameters: all of them.
        command_line: of the plan; a trial is started with its `--env` and `--params`.
        project, data: the project's folder and its data folder.

    Returns:
        (plan.json, see `planning.plan.plan_run`; plan.md).
    """
    from sg_pipeline.planning import plan as planning

    plan = planning.plan_run(check_parameters(parameters), command_line, project, data)
    text = planning.plan_markdown(plan)
    logger.info("%s", text.rstrip())
    return plan, text
