"""Outputs of what is about to be made again: two makings of a run never mix.

Without `--only-missing-outputs` Kedro makes a run again from its beginning, while everything of the earlier making is
still on disk: a start that is killed and resumed would take that for its own. So it is deleted when the first output
that could differ from it is about to be saved: a start that fails before has lost nothing.

With `--only-missing-outputs` Kedro makes what is missing and what that needs, not what is made of it: a report, a page
or a model card of an evaluation that was made again would still tell of the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sg_pipeline.runs.lineage import in_order, made_from
from sg_pipeline.runs.steps import BASE_POLICY

logger = logging.getLogger(__name__)

DECIDED = {"panel", BASE_POLICY}
"""Outputs that parameters and inputs decide alone. These are compared (`identity.py`), so they come out the same, and
what was made from them stays when a pipeline such as `prompting` makes them again."""

_TELLING = ("write_report", "write_cards", "write_page")
"""Nodes that only tell what others have made: to run them again costs seconds."""


def earlier_outputs(pipeline: Any, graph: Collection[Any], catalog: Any) -> list[str]:
    """Return what an earlier making has left of the outputs of `pipeline`, and of all that is made from them.

    Args:
        pipeline: that is about to run, all of it.
        graph: nodes of all pipelines.
        catalog: their datasets.

    Returns:
        Names of datasets, what is made last first: whatever is left when the process is killed between two of them is
        of the earlier making, and whole.
    """
    own = {name for node in pipeline.nodes if not starts_runs(node) for name in node.outputs}
    # A pipeline that was cut out of a larger one needs what it does not make itself.
    gone = (own | made_from(own - DECIDED, graph)) - DECIDED - pipeline.inputs()
    order = [name for node in in_order(graph) for name in node.outputs if name in gone]
    return [name for name in reversed(order) if hasattr(catalog.get(name), "delete") and catalog.exists(name)]


OF_RUNS = "of-runs"
"""Tag of the nodes of pipelines that are not a run, but start runs and report on them: study, sweep, plan."""


def starts_runs(node: Any) -> bool:
    """Whether a node starts runs in processes, which look after their outputs themselves."""
    return "command_line" in node.inputs


def forget_stale_reports(pipeline: Any, catalog: Any) -> None:
    """Delete the reports of `pipeline` that tell of something that is missing, so that they count as missing too.

    Args:
        pipeline: that is about to run with `--only-missing-outputs`.
        catalog: its datasets; those on the disk have a `path`.
    """
    makers = {name: node for node in pipeline.nodes for name in node.outputs}
    again: set[str] = set()

    def made_again(name: str) -> bool:
        if name in again:
            return True
        if name not in makers:
            return False
        if _path(catalog, name) is not None:
            return not catalog.get(name).exists()
        return any(made_again(needed) for needed in makers[name].inputs)  # in memory: as old as what it is made of

    for node in pipeline.nodes:  # in the order in which they run
        if node.name.rpartition(".")[2] not in _TELLING or not any(map(made_again, [*node.inputs, *node.outputs])):
            continue
        again.update(node.outputs)
        for path in filter(None, (_path(catalog, name) for name in node.outputs)):
            if path.exists():
                logger.info("%s is made again: something that it reports is missing", path.name)
                path.unlink()


def _path(catalog: Any, name: str) -> Path | None:
    path = getattr(catalog.get(name), "path", None)
    return None if path is None else Path(path)
