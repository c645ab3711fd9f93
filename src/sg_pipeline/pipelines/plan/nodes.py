"""Node of the plan pipeline."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg_pipeline.config.tree import Parameters
from sg_pipeline.runs.command_line import CommandLine

logger = logging.getLogger(__name__)


def make_planner(given: Parameters) -> Callable[..., tuple[dict[str, Any], str]]:
    """Return the node function that plans the run with the parameters `given`."""

    def plan_run(command_line: CommandLine, project: Path, data: Path) -> tuple[dict[str, Any], str]:
        """Measure the first steps of the run, unless it has steps already, and extrapolate.

        Args:
            command_line: of the plan; a trial is started with its `--env` and `--params`.
            project, data: the project's folder and its data folder.

        Returns:
            (plan.json, see `planning.plan.plan_run`; plan.md).
        """
        from sg_pipeline.planning import plan as planning

        plan = planning.plan_run(given, command_line, project, data)
        text = planning.plan_markdown(plan)
        logger.info("%s", text.rstrip())
        return plan, text

    return plan_run
