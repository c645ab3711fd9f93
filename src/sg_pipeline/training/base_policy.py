"""The base policy: read, or made from scratch.

A policy from scratch is warm-started on the demonstrations of the benchmark's expert, with and without guidance. What
is shown is the expert's business (`environments.base.Demonstrator`); tasks that are evaluated never are.
"""

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.base_model import BaseModelConfig, WarmStartStage
from sg_pipeline.distributed.start import unused_gpus
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.base import Benchmark, Demonstrator
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.compute import shorten_frozen
from sg_pipeline.policies.policy import has_adapters
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.training.demonstrations import EncodedDemonstration, encode_demonstration

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy
    from sg_pipeline.training.imitation import WarmStartProgress

logger = logging.getLogger(__name__)

PROMPTS = "tiny"
"""The prompt set that the tiny policy is warm-started with."""


def make_base_policy(
    config: BaseModelConfig,
    benchmark: Benchmark,
    tasks: Any,
    *,
    games: Path,
    compiled: Path,
    project: Path,
    seed: int,
) -> "Policy":
    """Return the policy before its first co-evolution step.

    Args:
        config: which policy.
        benchmark: for a warm start: gives the vocabulary and the expert.
        tasks: the benchmark's `tasks_config`: which tasks must not be demonstrated, and what the others are like.
        games, compiled: folders, as for `Benchmark.prepare`.
        project: what relative paths start from.
        seed: of the run; decides a warm start.

    Raises:
        CheckpointError, ConfigurationError: in one sentence.
    """
    if config.source == "warm_start":
        if not config.warm_start:
            raise ConfigurationError(
                "base_model.source is 'warm_start', but base_model.warm_start lists no stage; conf/base has a recipe"
            )
        demonstrator = benchmark.demonstrator(tasks, games, compiled, project)
        try:
            policy = _warm_start(config, benchmark, demonstrator, seed)
            policy.compute = config.compute
            return policy
        finally:
            demonstrator.close()
    if config.source == "checkpoint":
        from sg_pipeline.policies.checkpoint import load_policy

        path = str(project / config.path)
        policy = load_policy(path, device=world().device(config.device))
    else:
        from sg_pipeline.policies.pretrained import load_pretrained

        local = project / config.path
        path = str(local) if local.exists() else config.path
        policy = load_pretrained(
            path,
            dtype=config.dtype,
            revision=config.revision,
            device=world().device(config.device),
            local_only=config.local_only,
        )
    # Whatever it was trained for before, it is the beginning of this run.
    if has_adapters(policy) and policy.compute != config.compute:
        raise ConfigurationError(
            f"base_model.compute is {config.compute!r}, but the adapters in '{path}' were trained with "
            f"{policy.compute!r}: set it to that, or merge them first (sg_pipeline.policies.checkpoint.merge)"
        )
    policy.step, policy.optimizer_state, policy.compute = 0, None, config.compute
    if config.lora is not None:
        add_adapters(policy, config.lora, path, config.revision, derive_seed(seed, "base_model"))
    if config.compute == "bfloat16":
        shorten_frozen(policy.model)
    hint = unused_gpus(policy.model.device)
    logger.info("base policy: %s, %.2f M parameters%s", policy.name, policy.parameter_count() / 1e6, hint)
    return policy


def _warm_start(config: BaseModelConfig, benchmark: Benchmark, demonstrator: Demonstrator, seed: int) -> "Policy":
    from sg_pipeline.policies.tiny import build_tiny
    from sg_pipeline.policies.tokenizer import build_tokenizer
    from sg_pipeline.training.imitation import warm_start

    policy = build_tiny(config.tiny, build_tokenizer(benchmark.vocabulary()), derive_seed(seed, "base_model"))
    for number, stage in enumerate(config.warm_start):
        examples = _demonstrations(policy, stage, demonstrator, derive_seed(seed, "warm_start", number))
        figures = warm_start(policy, examples, stage, _log_progress)
        logger.info("warm start, stage %d of %d: %s", number + 1, len(config.warm_start), figures)
    return policy


def _demonstrations(
    policy: "Policy", stage: WarmStartStage, demonstrator: Demonstrator, seed: int
) -> Iterator[EncodedDemonstration]:
    """Yield fresh demonstrations without end; number i depends on `seed` and i alone."""
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import load_prompts

    prompts = load_prompts(PROMPTS)
    formats = {guided: AgentFormat(policy.tokenizer, prompts, guidance=guided) for guided in (True, False)}
    for number in count():
        chance = stream(seed, "demonstration", number, "form")
        noise = stage.noise[int(chance.integers(len(stage.noise)))]
        guided = bool(chance.random() < stage.guided_share)
        demonstration = demonstrator.demonstrate(number, stream(seed, "demonstration", number), noise)
        yield encode_demonstration(demonstration, formats[guided], loss_on_noise=stage.loss_on_noise)


def _log_progress(policy: "Policy", progress: "WarmStartProgress") -> None:
    logger.info("warm start: %.2f M tokens, loss %.4f, %.0f s", progress.tokens / 1e6, progress.loss, progress.seconds)
