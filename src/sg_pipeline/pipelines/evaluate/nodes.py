"""Nodes of the evaluate pipeline."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE, EvaluationConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.evaluation.metrics import evaluate_table
from sg_pipeline.evaluation.play import evaluate
from sg_pipeline.pipelines.games import games_of
from sg_pipeline.reporting.progress import evaluation_lines
from sg_pipeline.rollouts.collect import RolloutConfig

logger = logging.getLogger(__name__)


def play_with_guidance(
    policy: Any,
    panel: dict[str, Any],
    games: Path,
    compiled: Path,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    sampling: SamplingConfig,
    config: EvaluationConfig,
    run: RunConfig,
    guide: Any = None,
) -> pl.DataFrame:
    """Play the evaluation panels; guidance is written before each action.

    Args:
        policy: a checkpoint of its own, not the live policy.
        panel, games, compiled: what to play.
        environment, rollout, sampling, config, run: parameters.
        guide: writes the guidance in the policy's place.

    Returns:
        Trajectories, one row a turn.
    """
    with games_of(panel, games) as data_root:
        return evaluate(
            policy, panel, WITH_GUIDANCE, config, environment, rollout,
            data_root=data_root, cache_dir=compiled, seed=run.seed, guide=guide, sampling=sampling,
        )  # fmt: skip


def play_without_guidance(
    policy: Any,
    panel: dict[str, Any],
    games: Path,
    compiled: Path,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    sampling: SamplingConfig,
    config: EvaluationConfig,
    run: RunConfig,
) -> pl.DataFrame:
    """Play the evaluation panels; the policy writes actions only. Arguments as for `play_with_guidance`."""
    with games_of(panel, games) as data_root:
        return evaluate(
            policy, panel, WITHOUT_GUIDANCE, config, environment, rollout,
            data_root=data_root, cache_dir=compiled, seed=run.seed, sampling=sampling,
        )  # fmt: skip


def score(run: RunConfig, **episodes: pl.DataFrame) -> dict[str, Any]:
    """Score episodes by mode and split.

    Args:
        run: for the seed of bootstrapped intervals.
        episodes: mode -> trajectories.

    Returns:
        mode -> split -> figures.
    """
    scores = {mode: evaluate_table(table, run.seed) for mode, table in episodes.items()}
    for line in evaluation_lines(scores, next(iter(episodes.values()))["step"][0]):
        logger.info("%s", line)
    return scores
