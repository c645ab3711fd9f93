"""The base policy: read or made, and where it is a warm start's, taught by the benchmark's expert.

    make_base_policy ─► teach ─► teach ─► … ─► the policy before its first co-evolution step
                        (one call for each part of a stage; `Policy.imitation` says which is next)

Demonstrations have the prompts that the policy will play with, some with guidance and some without. What is shown is
the expert's business (`environments.base.Demonstrator`); tasks that are evaluated never are.
"""

import logging
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.handover import Handover
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.config.base_model import BaseModelConfig, WarmStartStage
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.distributed.start import unused_gpus
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.base import Benchmark, Demonstrator
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.adapters import add_adapters, check_rank, round_adapters
from sg_pipeline.policies.compute import shorten_frozen
from sg_pipeline.policies.policy import has_adapters
from sg_pipeline.randomness import derive_seed, stream
from sg_pipeline.sampling.base import check_positions
from sg_pipeline.training.demonstrations import EncodedDemonstration, encode_demonstration

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)


def make_base_policy(config: BaseModelConfig, benchmark: Benchmark, *, project: Path, seed: int) -> "Policy":
    """Return the policy that a run begins with, before a warm start.

    Args:
        config: which policy.
        benchmark: gives the words of a new tiny policy.
        project: what relative paths start from.
        seed: of the run; decides new weights.

    Raises:
        CheckpointError, ConfigurationError: in one sentence.
    """
    path = str(project / config.path)
    if config.loads == "tiny":
        from sg_pipeline.policies.tiny import build_tiny
        from sg_pipeline.policies.tokenizer import build_tokenizer

        policy = build_tiny(config.tiny, build_tokenizer(benchmark.vocabulary()), derive_seed(seed, "base_model"))
    elif config.loads == "checkpoint":
        from sg_pipeline.policies.checkpoint import load_policy

        policy = load_policy(path, world().device(config.device), config.compute)
    else:
        from sg_pipeline.policies.pretrained import load_pretrained

        path = path if Path(path).exists() else config.path
        policy = load_pretrained(
            path,
            dtype=config.dtype,
            revision=config.revision,
            device=world().device(config.device),
            local_only=config.local_only,
        )
    # Whatever it was trained for before, it is the beginning of this run.
    policy.step, policy.optimizer_state, policy.compute = 0, None, config.compute
    policy.imitation = None
    if config.lora is not None and not has_adapters(policy):
        add_adapters(policy, config.lora, path, config.revision, derive_seed(seed, "base_model"))
    elif config.lora is not None:
        check_rank(policy, config.lora, path)
    if config.compute == "bfloat16":
        shorten_frozen(policy.model)
    hint = unused_gpus(policy.model.device)
    logger.info("base policy: %s, %.2f M parameters%s", policy.name, policy.parameter_count() / 1e6, hint)
    return policy


def teach(
    policy: "Policy",
    config: BaseModelConfig,
    benchmark: Benchmark,
    demonstrator: Demonstrator,
    rollout: RolloutConfig,
    seed: int,
) -> dict[str, Any]:
    """Train `policy` in place on the next part of its warm start.

    Args:
        policy: `policy.imitation` says which part is next; it is None again after the last one.
        config: the stages and their parts.
        benchmark: names the words of the prompts.
        demonstrator: the benchmark's expert.
        rollout: the prompts, and the longest trajectory, of the episodes that the policy will play.
        seed: of the run.

    Returns:
        JSON-ready: `stage` and `part` (from 1), `tokens`, `imitated_tokens` and `optimizer_steps` of the stage so far,
        `loss`, `held_out_loss`, `learning_rate`, `seconds` and `tokens_per_second` of this part, and `left_out`, how
        many demonstrations of it were too long.

    Raises:
        ConfigurationError: a demonstration does not fit into a trajectory, or the training diverged.
    """
    from sg_pipeline.training.imitation import WarmStartProgress, held_out_loss, warm_start

    check_positions(policy.model, rollout.max_length)
    progress = WarmStartProgress.from_notes(policy.imitation) if policy.imitation else WarmStartProgress()
    stage = config.warm_start[progress.stage]
    progress.part += 1
    course = _Course(policy, stage, benchmark, demonstrator, rollout)
    own = derive_seed(seed, "warm_start", progress.stage)
    held_out = list(islice(course.demonstrations(derive_seed(own, "held out"), 0), stage.held_out))
    examples = course.demonstrations(own, progress.position.demonstrations)
    began, tokens = time.perf_counter(), progress.tokens
    figures = warm_start(policy, examples, stage, progress, stage.tokens_after(progress.part))
    seconds = time.perf_counter() - began
    report = {
        "stage": progress.stage + 1,
        "part": progress.part,
        **{name: figures[name] for name in ("tokens", "imitated_tokens", "optimizer_steps", "loss")},
        "held_out_loss": held_out_loss(policy, held_out, stage.batch_tokens),
        "learning_rate": progress.learning_rate,
        "seconds": round(seconds, 1),
        "tokens_per_second": round((progress.tokens - tokens) / seconds, 1),
        "left_out": course.left_out,
    }
    if progress.part == stage.parts:
        progress = WarmStartProgress(stage=progress.stage + 1)
    policy.imitation = progress.notes() if progress.stage < len(config.warm_start) else None
    if policy.imitation is None:
        round_adapters(policy)
    return report


class _Course:
    """Demonstrations of one stage as this policy would have written them.

    Attributes:
        left_out: how many were too long so far.
    """

    def __init__(
        self,
        policy: "Policy",
        stage: WarmStartStage,
        benchmark: Benchmark,
        demonstrator: Demonstrator,
        rollout: RolloutConfig,
    ) -> None:
        prompts = load_prompts(rollout.prompts, benchmark.name)
        self._verdict_length = Handover(policy.tokenizer).verdict_length
        self._formats = {
            guided: AgentFormat(policy.tokenizer, prompts, guided, policy.stop_ids, rollout.date)
            for guided in (True, False)
            if (prompts.guided if guided else prompts.plain)
        }
        self._stage, self._demonstrator, self._longest = stage, demonstrator, rollout.max_length
        self.left_out = 0
        if stage.mixed_wording and not hasattr(demonstrator, "reword"):
            raise ConfigurationError(
                f"base_model.warm_start has mixed_wording: true, but {benchmark.name} has one wording only: "
                f"leave it out"
            )

    def demonstrations(self, seed: int, first: int) -> Iterator[EncodedDemonstration]:
        """Yield fresh demonstrations without end, from number `first`; each depends on `seed` and its number alone.

        One that is longer than a trajectory may be is left out and counted; at the beginning it is an error.
        """
        stage = self._stage
        for number in count(first):
            chance = stream(seed, "demonstration", number, "form")
            noise = stage.noise[int(chance.integers(len(stage.noise)))]
            guided = bool(chance.random() < stage.guided_share)
            rng = stream(seed, "demonstration", number)
            demonstration = self._demonstrator.demonstrate(number, rng, noise)
            if stage.mixed_wording and chance.random() < 0.5:
                demonstration = self._demonstrator.reword(demonstration, rng)  # type: ignore[attr-defined]
            encoded = encode_demonstration(
                demonstration,
                self._formats.get(guided) or self._formats[not guided],
                self._verdict_length,
                stage.loss_on_noise,
            )
            if len(encoded.input_ids) <= self._longest:
                yield encoded
            elif number < stage.window:
                raise ConfigurationError(
                    f"rollout.max_length is {self._longest}, but demonstration {number} of the warm start takes "
                    f"{len(encoded.input_ids)} tokens: raise it (with a model of a longer context, if that is the "
                    f"limit), or choose shorter prompts or easier tasks"
                )
            else:
                self.left_out += 1
