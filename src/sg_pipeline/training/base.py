"""The base policy: read, or made from scratch.

A policy from scratch is warm-started on the scripted expert's demonstrations, with and without guidance, on games as
difficult as the panel's. The panel's evaluation games are never demonstrated, nor are its unseen floor plans.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sg_pipeline.environments.alfworld.generation.sampler import Difficulty
from sg_pipeline.environments.alfworld.tasks import TasksConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.training.base_config import BaseModelConfig, WarmStartStage
from sg_pipeline.training.batching import EncodedDemonstration

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy
    from sg_pipeline.training.warm_start import WarmStartProgress

logger = logging.getLogger(__name__)

PROMPTS = "tiny"
"""The prompt set that the tiny policy is warm-started with."""

MAX_TURNS = 30
"""A demonstration that has not won by then ends there."""


def make_base_policy(config: BaseModelConfig, tasks: TasksConfig, project: Path, seed: int) -> "Policy":
    """Return the policy before its first co-evolution step.

    Args:
        config: which policy.
        tasks: for a warm start: the panel's difficulty, and the games that must not be demonstrated.
        project: what relative paths start from.
        seed: of the run; decides a warm start.

    Raises:
        CheckpointError, ConfigurationError: in one sentence.
    """
    if config.source == "warm_start":
        return _warm_start(config, tasks, project, seed)
    if config.source == "checkpoint":
        from sg_pipeline.policies.checkpoint import load_policy

        policy = load_policy(project / config.path, device=config.device)
    else:
        from sg_pipeline.policies.pretrained import load_pretrained

        local = project / config.path
        policy = load_pretrained(
            str(local) if local.exists() else config.path,
            dtype=config.dtype,
            revision=config.revision,
            device=config.device,
            local_only=config.local_only,
        )
    # Whatever it was trained for before, it is the beginning of this run.
    policy.step, policy.optimizer_state = 0, None
    logger.info("base policy: %s, %.2f M parameters", policy.name, policy.parameter_count() / 1e6)
    return policy


def _warm_start(config: BaseModelConfig, tasks: TasksConfig, project: Path, seed: int) -> "Policy":
    from sg_pipeline.environments.alfworld.words import demo_vocabulary
    from sg_pipeline.policies.tiny import build_tiny
    from sg_pipeline.policies.tokenizer import build_tokenizer
    from sg_pipeline.policies.vocabulary import alfworld_vocabulary
    from sg_pipeline.training.warm_start import warm_start

    if not config.warm_start:
        raise ConfigurationError(
            "base_model.source is 'warm_start', but base_model.warm_start lists no stage; conf/base has a recipe"
        )
    difficulty, reserved = _panel_limits(tasks, project)
    tokenizer = build_tokenizer(alfworld_vocabulary(demo_vocabulary()))
    policy = build_tiny(config.tiny, tokenizer, derive_seed(seed, "base_model"))
    for number, stage in enumerate(config.warm_start):
        examples = _demonstrations(policy, stage, difficulty, reserved, derive_seed(seed, "warm_start", number))
        figures = warm_start(policy, examples, stage, _log_progress)
        logger.info("warm start, stage %d of %d: %s", number + 1, len(config.warm_start), figures)
    return policy


def _panel_limits(tasks: TasksConfig, project: Path) -> tuple[Difficulty, set[str]]:
    """The difficulty of the panel, and the signatures of its evaluation games."""
    from sg_pipeline.environments.alfworld.generation.panel import (
        PANELS,
        make_panel,
        panel_scenes,
        read_panel,
        signature,
    )

    if tasks.source == "official":
        raise ConfigurationError(
            "base_model.source 'warm_start' demonstrates on generated games: set tasks.source to 'panel' or 'generate'"
        )
    if tasks.source == "generate":
        panel = make_panel(tasks.seed, tasks.panel_sizes(), tasks.difficulty)
    else:
        shipped = PANELS / f"{tasks.panel}.json"
        panel = read_panel(shipped if shipped.is_file() else project / tasks.panel)
    evaluation = [split for split in panel.splits if split != "train"]
    return panel.difficulty, {signature(scene) for split in evaluation for scene in panel_scenes(panel, split)}


def _demonstrations(
    policy: "Policy", stage: WarmStartStage, difficulty: Difficulty, reserved: set[str], seed: int
) -> Iterator[EncodedDemonstration]:
    """Yield fresh demonstrations without end, task types in turn; number i depends on `seed` and i alone."""
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import load_prompts
    from sg_pipeline.environments.alfworld.demonstrations import demonstrate
    from sg_pipeline.environments.alfworld.generation.goals import floor_plans_of
    from sg_pipeline.environments.alfworld.generation.panel import signature
    from sg_pipeline.environments.alfworld.generation.sampler import sample_scene
    from sg_pipeline.environments.alfworld.generation.scene import TASK_TYPES
    from sg_pipeline.training.demonstrations import encode_demonstration

    prompts = load_prompts(PROMPTS)
    formats = {guided: AgentFormat(policy.tokenizer, prompts, guidance=guided) for guided in (True, False)}
    number = 0
    while True:
        rng = stream(seed, "demonstration", number)
        task_type = TASK_TYPES[number % len(TASK_TYPES)]
        plans = floor_plans_of(task_type, unseen=False)
        number += 1
        scene = sample_scene(rng, plans[int(rng.integers(len(plans)))], task_type, difficulty)
        if signature(scene) in reserved:
            continue
        noise = stage.noise[int(rng.integers(len(stage.noise)))]
        guided = bool(rng.random() < stage.guided_share)
        demonstration = demonstrate(scene, rng, noise=noise, max_turns=MAX_TURNS)
        yield encode_demonstration(demonstration, formats[guided], loss_on_noise=stage.loss_on_noise)


def _log_progress(policy: "Policy", progress: "WarmStartProgress") -> None:
    logger.info("warm start: %.2f M tokens, loss %.4f, %.0f s", progress.tokens / 1e6, progress.loss, progress.seconds)
