"""Nodes of the base_model pipeline."""

import logging
from pathlib import Path
from typing import Any

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import CheckpointError
from sg_pipeline.training.base_policy import make_base_policy, teach

logger = logging.getLogger(__name__)


def load_base_policy(config: BaseModelConfig, environment: EnvironmentConfig, project: Path, run: RunConfig) -> Any:
    """Load the base policy, or what a warm start begins with.

    Args:
        config: which policy.
        environment: names the benchmark, whose words a new tiny policy knows.
        project: what relative paths in the configuration start from.
        run: for the seed.

    Returns:
        The policy before its first co-evolution step, or before its warm start.
    """
    benchmark = load_benchmark(environment.name)
    try:
        return make_base_policy(config, benchmark, project=project, seed=run.seed)
    except CheckpointError as error:
        raise CheckpointError(f"base_model.path is {config.path!r}: {error}") from error


def imitate(
    policy: Any,
    config: BaseModelConfig,
    environment: EnvironmentConfig,
    tasks: Any,
    rollout: RolloutConfig,
    games: Path,
    compiled_games: Path,
    project: Path,
    run: RunConfig,
) -> tuple[dict[str, Any], Any]:
    """Teach the policy the next part of its warm start.

    Args:
        policy: the live policy, trained in place; it knows which part is next.
        config: the stages.
        environment: names the benchmark, whose expert is imitated.
        tasks: its section; the demonstrated tasks are like these, but never those that are evaluated.
        rollout: the prompts that the policy will play with.
        games, compiled_games: folders.
        project: base of relative paths in the configuration.
        run: for the seed.

    Returns:
        (losses, counts and seconds of this part, see `training.base_policy.teach`; the policy).
    """
    benchmark = load_benchmark(environment.name)
    demonstrator = benchmark.demonstrator(tasks, games, compiled_games, project)
    try:
        report = teach(policy, config, benchmark, demonstrator, rollout, run.seed)
    finally:
        demonstrator.close()
    stage = config.warm_start[report["stage"] - 1]
    logger.info(
        "warm start, stage %d of %d, part %d of %d: %s tokens, held-out loss %.4f, %.0f tokens/s",
        report["stage"],
        len(config.warm_start),
        report["part"],
        stage.parts,
        f"{report['tokens']:,}",
        report["held_out_loss"],
        report["tokens_per_second"],
    )
    return report, policy
