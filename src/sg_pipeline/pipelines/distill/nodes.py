"""Nodes of the distill pipeline."""

import logging
from pathlib import Path
from typing import Any

from sg_pipeline.config.distill import DistillConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.reporting.progress import distillation_line
from sg_pipeline.training.distill import Lessons, distill, read_lessons

logger = logging.getLogger(__name__)


def choose_lessons(config: DistillConfig, recorded: Path, run: RunConfig) -> Lessons:
    """Read what the source's policy wrote at its best, and set games apart to measure agreement on.

    Args:
        config: names the source.
        recorded: folder of every run's training trajectories.
        run: for the seed.

    Returns:
        Trajectories to learn from, and others.
    """
    return read_lessons(recorded, config, run.seed)


def distill_guide(
    policy: Any,
    lessons: Lessons,
    config: DistillConfig,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    run: RunConfig,
) -> tuple[dict[str, Any], Any]:
    """Train the base policy on the source's guidance.

    Args:
        policy: a separate base policy, trained in place.
        lessons: what to imitate.
        config: how.
        environment, rollout: for the prompts that the trajectories were made with.
        run: for the seed.

    Returns:
        (results, the guide).
    """
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import load_prompts

    prompts = load_prompts(rollout.prompts, load_benchmark(environment.name).name)
    agent_format = AgentFormat(policy.tokenizer, prompts, True, policy.stop_ids, rollout.date)
    figures = distill(policy, lessons, agent_format, config, run.seed)
    logger.info("%s", distillation_line(figures))
    return figures, policy
