"""One rollout of a live policy: builds the sampler and the format that belong to it, and plays."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.environments.config import EnvironmentConfig
from sg_pipeline.rollouts.collect import RolloutConfig, RolloutResult, collect
from sg_pipeline.trajectories.types import Task

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy


def panel_tasks(panel: dict[str, Any], split: str) -> list[Task]:
    """Return the tasks of one split of a prepared panel (see `environments.alfworld.tasks`)."""
    return [Task(**task) for task in panel["splits"][split]]


def play(
    policy: "Policy",
    tasks: list[Task],
    environment: EnvironmentConfig,
    config: RolloutConfig,
    *,
    data_root: Path,
    cache_dir: Path,
    seed: int,
    step: int,
    purpose: str = "rollout",
    groups: Sequence[int] | None = None,
) -> RolloutResult:
    """Play `config.group_size` episodes of each task with `policy`.

    Args:
        policy: samples; its weights are not changed.
        tasks: one per group.
        environment: where to play.
        config: group size, limits, temperature, guidance, prompts.
        data_root, cache_dir: where the tasks' games and their compiled forms lie.
        seed, step, purpose: name the rollout's chance.
        groups: index of each task's group; None: 0, 1, ...
    """
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import load_prompts
    from sg_pipeline.sampling.transformers_sampler import TransformersSampler

    return collect(
        tasks,
        config,
        TransformersSampler(policy.model, temperature=config.temperature),
        AgentFormat(policy.tokenizer, load_prompts(config.prompts), guidance=config.guidance),
        environment.open_pool(data_root, cache_dir),
        seed=seed,
        step=step,
        policy_step=policy.step,
        purpose=purpose,
        groups=groups,
    )
