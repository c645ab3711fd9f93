"""A guide for offline guidance, distilled from the trajectories of a stronger policy."""

import logging
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.distill import DistillConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.reporting.progress import distillation_line
from sg_pipeline.runs.steps import BASE_POLICY

logger = logging.getLogger(__name__)


def create_pipeline() -> Pipeline:
    """Return the pipeline that makes a guide of the base policy."""
    chosen = ["params:distill", "recorded_trajectories", "params:run"]
    distilled = [BASE_POLICY, "lessons", "params:distill", "params:environment", "params:rollout", "params:run"]
    return Pipeline(
        [
            Node(choose_lessons, chosen, "lessons", name="choose_lessons"),
            Node(distill_guide, distilled, ["distillation", "distilled_guide"], name="distill_guide"),
        ]
    )


def choose_lessons(config: DistillConfig, recorded: Path, run: RunConfig) -> Any:
    """Return what the source's policy wrote at its best, as `Lessons`: some games are set apart to measure agreement.

    `recorded` is the folder of every run's training trajectories.
    """
    from sg_pipeline.training.distill import read_lessons

    return read_lessons(recorded, config, run.seed)


def distill_guide(
    policy: Any,
    lessons: Any,
    config: DistillConfig,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    run: RunConfig,
) -> tuple[dict[str, Any], Any]:
    """Train the base policy on the source's guidance, in place; return the results and the guide.

    `environment` and `rollout` give the prompts that the trajectories were made with.
    """
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import load_prompts
    from sg_pipeline.training.distill import distill

    prompts = load_prompts(rollout.prompts, load_benchmark(environment.name).name)
    agent_format = AgentFormat(policy.tokenizer, prompts, True, policy.stop_ids, rollout.date)
    figures = distill(policy, lessons, agent_format, config, run.seed)
    logger.info("%s", distillation_line(figures))
    return figures, policy
