"""Reports of what is about to be made again.

Kedro's `--only-missing-outputs` makes what is missing and what that needs, not what is made of it: a report, a page or
a model card of an evaluation that was made again would still tell of the one before.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_TELLING = ("write_report", "write_cards", "write_page")
"""Nodes that only tell what others have made: to run them again costs seconds."""


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
                logger.info("%s is made again: something that it tells of is missing", path.name)
                path.unlink()


def _path(catalog: Any, name: str) -> Path | None:
    path = getattr(catalog.get(name), "path", None)
    return None if path is None else Path(path)
