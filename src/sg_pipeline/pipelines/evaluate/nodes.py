"""Nodes of the evaluate pipeline."""

import logging
from pathlib import Path
from typing import Any

import polars as pl

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE, EvaluationConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.evaluation.metrics import evaluate_table
from sg_pipeline.evaluation.play import evaluate
from sg_pipeline.pipelines.player import player_of
from sg_pipeline.reporting.progress import evaluation_lines

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
        policy: loaded from its checkpoint, not the live policy.
        panel, games, compiled: what to play.
        environment, rollout, sampling, config, run: parameters.
        guide: writes the guidance in the policy's place.

    Returns:
        Trajectories, one row a turn; `step` is the policy's.
    """
    with player_of(policy, panel, games, compiled, environment, rollout, sampling, run, guide) as player:
        return evaluate(player, panel, WITH_GUIDANCE, config)


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
    with player_of(policy, panel, games, compiled, environment, rollout, sampling, run) as player:
        return evaluate(player, panel, WITHOUT_GUIDANCE, config)


def score(run: RunConfig, **episodes: pl.DataFrame) -> dict[str, Any]:
    """Score episodes by mode and split.

    Args:
        run: for the seed of bootstrapped intervals.
        episodes: mode -> trajectories.

    Returns:
        mode -> split -> `metrics.score_episodes`.
    """
    scores = {mode: evaluate_table(table, run.seed) for mode, table in episodes.items()}
    for line in evaluation_lines(scores, next(iter(episodes.values()))["step"][0]):
        logger.info("%s", line)
    return scores
