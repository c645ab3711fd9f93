"""Nodes of the plan pipeline."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg_pipeline.config.tree import Parameters

logger = logging.getLogger(__name__)


def make_planner(given: Parameters) -> Callable[..., dict[str, Any]]:
    """Return the node function that plans the run with the parameters `given`."""

    def plan_run(project: Path, data: Path) -> dict[str, Any]:
        """Say what the run needs, and print it.

        Args:
            project: the project's folder.
            data: the data folder, where the run may have steps already.

        Returns:
            The plan, see `planning.plan.build_plan`.
        """
        from sg_pipeline.planning.document import log_table
        from sg_pipeline.planning.inputs import plan_of

        plan = plan_of(given, project, data)
        logger.info("%s", log_table(plan))
        return plan

    return plan_run


def write_plan(plan: dict[str, Any]) -> str:
    """Write the plan in Markdown."""
    from sg_pipeline.planning.document import plan_markdown

    return plan_markdown(plan)
