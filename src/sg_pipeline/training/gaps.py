"""The gap between sampler and trainer, turn by turn.

Before a step's first optimizer step the policy is still the sampler's, so what differs between the log-probabilities
that the two engines find for the same tokens is their own doing (precision, kernels, a stale policy).
"""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import SamplingError
from sg_pipeline.training.experience import ExperienceRow

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

SCHEMA = {"step": pl.Int64, "group": pl.Int64, "item": pl.Int64, "turn": pl.Int64, "gap_mean": pl.Float64,
          "gap_max": pl.Float64}  # fmt: skip


def gap_table(experience: Sequence[ExperienceRow], gaps: Mapping[int, np.ndarray]) -> pl.DataFrame:
    """Aggregate the gaps of tokens by turn.

    Args:
        experience: the rows that were trained on.
        gaps: of `learner.TrainedStep`: index of a row -> |trainer - sampler| of each token but the first of its
            trajectory; NaN where it was not measured.

    Returns:
        One row for each turn with a measured token: `step`, `group`, `item`, `turn`, `gap_mean`, `gap_max`.
    """
    rows: list[tuple[int, int, int, int, float, float]] = []
    for index, values in sorted(gaps.items()):
        row = experience[index]
        for number, (start, end) in enumerate(row.spans):
            measured = values[max(start - 1, 0) : end - 1]  # the first token of the sequence has no log-probability
            measured = measured[~np.isnan(measured)]
            if len(measured):
                rows.append((*row.key, number, float(measured.mean()), float(measured.max())))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


ROUNDINGS = 16
"""Mean gap that rounding explains, in machine epsilons of the shortest type that sampler or trainer computes in.

Each logit passes several roundings in each layer; independent ones add up to the root of their number. Measured in
bfloat16: 0.25 epsilons in two layers, 3.3 (autocast) and 5.5 (weights) in the 30 of SmolLM2-135M: 0.04 nats.
Dropout of 0.1 makes a gap of 0.3 nats, 38 epsilons.
"""
HARMLESS = 1e-3
"""A mean gap that is never an error: it changes a ratio by a thousandth. In float32 rounding is far below it."""


def explained_gap(policy: "Policy", sampling: SamplingConfig, temperature: float) -> float:
    """Return the mean |trainer - sampler| log-probability that rounding explains, in nats.

    Args:
        policy: says what the trainer computes in.
        sampling: says what the sampler computes in.
        temperature: divides the logits, and with them their rounding.
    """
    import torch

    types = {str(policy.model.dtype).removeprefix("torch."), policy.compute} - {"weights"}
    if sampling.engine == "vllm":
        from sg_pipeline.sampling.vllm.weights import dtype_of

        types.add(dtype_of(policy, sampling.vllm))
    epsilon = max(2**-10 if name == "tf32" else torch.finfo(getattr(torch, name)).eps for name in types)
    return max(HARMLESS, ROUNDINGS * epsilon / min(1.0, temperature))


def check_gap(metrics: Mapping[str, float], explained: float, engine: str, step: int, *, fatal: bool) -> None:
    """Report a gap that rounding does not explain.

    Args:
        metrics: of `learner.train_step`; without a gap nothing is checked.
        explained: see `explained_gap`.
        engine: that has sampled.
        step: of the co-evolution.
        fatal: the policy had never been updated, so nothing but the two engines can differ.

    Raises:
        SamplingError: the gap is larger and `fatal`. Where it is not, a warning is logged.
    """
    gap = metrics.get("logp_gap_mean", 0.0)
    if gap <= explained:
        return
    message = (
        f"step {step}: the trainer's log-probabilities of the sampled tokens differ from those that the sampler "
        f"(sampling.engine {engine}) recorded by {gap:.2g} nats on average and {metrics['logp_gap_max']:.2g} at most, "
        f"but rounding explains {explained:.2g}: the policy that is trained is not the one that sampled; check for "
        f"dropout (base_model.lora.dropout, the model's own code), the tokenizer and chat template in base_model.path, "
        f"the types (base_model.dtype, base_model.compute, sampling.vllm.dtype), and the version and arguments of the "
        f"engine"
    )
    if fatal:
        raise SamplingError(message)
    if world().first:
        logger.warning(message)
