"""Stale outputs: the outputs of an earlier start are deleted before new ones are written, so the two never mix.

Without `--only-missing-outputs` Kedro repeats a run from the beginning while all earlier outputs are still on disk: if
that start is killed and resumed, it would take them for its own. They are deleted when the first output that could
differ from them is about to be saved, so a start that fails earlier loses nothing.

With `--only-missing-outputs` Kedro makes what is missing and its requirements, but not what is made from it: a report,
page or model card of a repeated evaluation would still describe the previous one.
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
"""Outputs that depend only on parameters and inputs. Those are compared (`identity.py`), so the outputs are reproduced
exactly, and what was made from them stays when a pipeline such as `prompting` makes them again."""

_REPORTING = ("write_report", "write_cards", "write_page")
"""Nodes that only report the outputs of others; running them again takes seconds."""


def earlier_outputs(pipeline: Any, graph: Collection[Any], catalog: Any) -> list[str]:
    """Return the names of the existing outputs of `pipeline` from an earlier start, and of all made from them.

    The last made comes first: if the process is killed between two deletions, the remaining outputs are consistent
    outputs of the earlier start.

    Args:
        pipeline: about to run completely.
        graph: nodes of all pipelines.
        catalog: their datasets.
    """
    own = {name for node in pipeline.nodes if not starts_runs(node) for name in node.outputs}
    # A slice of a larger pipeline needs the inputs that it does not make itself.
    gone = (own | made_from(own - DECIDED, graph)) - DECIDED - pipeline.inputs()
    order = [name for node in in_order(graph) for name in node.outputs if name in gone]
    return [name for name in reversed(order) if hasattr(catalog.get(name), "delete") and catalog.exists(name)]


OF_RUNS = "of-runs"
"""Tag of the nodes of pipelines that are not a run, but start runs and report on them: study, sweep, plan."""


def starts_runs(node: Any) -> bool:
    """Whether a node starts runs in processes, which manage their outputs themselves."""
    return "command_line" in node.inputs


def forget_stale_reports(pipeline: Any, catalog: Any) -> None:
    """Delete the reports of `pipeline`, about to run, that describe a missing output: they count as missing, too."""
    makers = {name: node for node in pipeline.nodes for name in node.outputs}
    again: set[str] = set()

    def made_again(name: str) -> bool:
        if name in again:
            return True
        if name not in makers:
            return False
        if _path(catalog, name) is not None:
            return not catalog.get(name).exists()
        return any(made_again(needed) for needed in makers[name].inputs)  # in memory: as old as its inputs

    for node in pipeline.nodes:  # in the order in which they run
        if node.name.rpartition(".")[2] not in _REPORTING or not any(map(made_again, [*node.inputs, *node.outputs])):
            continue
        again.update(node.outputs)
        for path in filter(None, (_path(catalog, name) for name in node.outputs)):
            if path.exists():
                logger.info("%s is made again: something that it reports is missing", path.name)
                path.unlink()


def _path(catalog: Any, name: str) -> Path | None:
    path = getattr(catalog.get(name), "path", None)
    return None if path is None else Path(path)
