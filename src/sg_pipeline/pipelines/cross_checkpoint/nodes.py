"""Node of the cross_checkpoint pipeline; the episodes are played by `evaluate`."""

import logging
from typing import Any

import polars as pl

from sg_pipeline.config.evaluation import CrossCheckpointConfig, EvaluationConfig
from sg_pipeline.config.run import CoevolveConfig, RunConfig
from sg_pipeline.evaluation.metrics import cross_table
from sg_pipeline.reporting.progress import cross_checkpoint_lines

logger = logging.getLogger(__name__)


def compare_guides(
    panel: dict[str, Any],
    cross: CrossCheckpointConfig,
    coevolve: CoevolveConfig,
    config: EvaluationConfig,
    run: RunConfig,
    *episodes: pl.DataFrame,
) -> list[dict[str, Any]]:
    """Score the guides.

    Args:
        panel: for its digest.
        cross, coevolve, config, run: parameters.
        episodes: of each guide, in the order of their steps.

    Returns:
        The table: one row for each split and guide.
    """
    policy, guides = cross.steps(coevolve)
    table = cross_table(
        dict(zip(guides, episodes, strict=True)),
        policy,
        panel_sha256=panel["sha256"],
        config=config,
        seed=run.seed,
    )
    for line in cross_checkpoint_lines(table):
        logger.info("%s", line)
    return table
