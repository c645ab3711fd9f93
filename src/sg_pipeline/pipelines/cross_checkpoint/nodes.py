"""Nodes of the cross_checkpoint pipeline."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import WITH_GUIDANCE, CrossCheckpointConfig, EvaluationConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import CoevolveConfig, RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.evaluation.cross_checkpoint import cross_table
from sg_pipeline.evaluation.play import evaluate
from sg_pipeline.pipelines.games import games_of
from sg_pipeline.reporting.progress import cross_checkpoint_lines

logger = logging.getLogger(__name__)


def play_guided(
    policy: Any,
    guide: Any,
    panel: dict[str, Any],
    games: Path,
    compiled: Path,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    sampling: SamplingConfig,
    config: EvaluationConfig,
    run: RunConfig,
) -> pl.DataFrame:
    """Play the evaluation panels; the guide writes the guidance, the policy the actions.

    Args:
        policy, guide: checkpoints of one run; where they are the same, the turns are those of the ordinary evaluation.
        panel, games, compiled: what to play.
        environment, rollout, sampling, config, run: parameters.

    Returns:
        Trajectories, one row a turn; `step` is the policy's.
    """
    with games_of(panel, games) as data_root:
        return evaluate(
            policy, panel, WITH_GUIDANCE, config, environment, rollout,
            data_root=data_root, cache_dir=compiled, seed=run.seed, guide=guide, sampling=sampling,
        )  # fmt: skip


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
