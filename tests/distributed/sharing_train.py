"""Training steps of every kind, under torchrun or in one process: python sharing_train.py FOLDER STRATEGY."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1] / "training"))

from learning_tools import TEMPERATURE, completion_logprobs

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.config.loader import section
from sg_pipeline.config.run import Strategy
from sg_pipeline.distributed.strategy import is_sharded, settle_strategy
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.checkpoint import save_policy
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.training.experience import ExperienceRow
from sg_pipeline.training.learner import train_step
from sg_pipeline.training.sharding import whole_state
from sg_pipeline.training.trl_trainer import ReplayTrainer

CASES: dict[str, dict[str, Any]] = {
    **{loss: {"loss_type": loss} for loss in ("grpo", "dapo", "dr_grpo", "bnpo", "cispo")},
    "passes": {"minibatch": 5, "num_iterations": 2, "micro_batch_tokens": 60},
    "kl": {"beta": 0.1, "minibatch": 7},
    "corrected": {"sampler_correction": "turn_truncate", "num_iterations": 2, "minibatch": 5},
    "gpu": {"gradient_checkpointing": True, "beta": 0.1, "sampler_correction": "token_truncate", "minibatch": 7},
}
"""Parameters of `TrainConfig`; two co-evolution steps each. The last one runs what training runs on a GPU: the output
layer that TRL has fused to the model, and recomputed activations."""

ROWS = 13
"""Not divisible by any number of processes."""


def main(folder: Path, strategy: Strategy = "ddp") -> None:
    """Train each case and save policies and metrics in `folder`; then diverge on a row of one process."""
    torch.set_num_threads(1)
    settle_strategy(strategy)
    world().open(timeout_s=120)
    reference = folder / "reference"
    if world().first:
        save_policy(_policy(), reference)
    world().barrier()
    figures = {}
    assert is_sharded() == (strategy == "fsdp2")
    for name, values in CASES.items():
        policy = _policy()
        steps = []
        for number in range(2):
            rows = _experience(policy, seed=number)
            config = section("train", **values)
            with fused() if name == "gpu" else nullcontext():
                step = train_step(policy, rows, config, 5, number, temperature=TEMPERATURE, reference=reference)
            steps.append(step)
        states = world().gather([policy.model.state_dict(), whole_state(policy.optimizer_state, keep=True)])
        assert all(_same(states[0], state) for state in states), f"{name}: the processes hold different policies"
        figures[name] = [{**step.metrics, "gaps": step.gaps} for step in steps]
        if world().first:
            save_policy(replace(policy, optimizer_state=states[0][1]), folder / name)
    if world().first:
        held = sum(_local(value).numel() for value in (policy.optimizer_state or {}).values())
        whole = sum(value.numel() for value in states[0][1].values())
        torch.save({"size": world().size, "figures": figures, "held": held, "whole": whole}, folder / "figures.pt")
    _diverge(folder)


def fused() -> AbstractContextManager[Any]:
    """Use TRL's fused output layer, as on a GPU."""
    return patch.object(ReplayTrainer, "_lean", lambda self, model: False)


def _diverge(folder: Path) -> None:
    """Give one row an advantage beyond float32: each process must stop with the message of the one that has it."""
    policy = _policy()
    rows = _experience(policy, seed=0)
    before = [value.clone() for value in policy.model.state_dict().values()]
    rows[3] = ExperienceRow(rows[3].prompt_ids, rows[3].completion_ids, rows[3].logprobs, rows[3].loss_mask, 1e308)
    try:
        with np.errstate(over="ignore"):
            train_step(policy, rows, section("train"), 5, 0, temperature=TEMPERATURE)
    except ConfigurationError as error:
        after = policy.model.state_dict().values()
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        (folder / f"diverged_{world().rank}.txt").write_text(str(error))


def _policy() -> Policy:
    config = TinyConfig(hidden_size=32, layers=2, heads=2, head_dim=16, intermediate_size=48, initializer_range=0.1)
    return build_tiny(config, build_tokenizer(alfworld_vocabulary()), seed=3)


def _experience(policy: Policy, seed: int) -> list[ExperienceRow]:
    """Rows of unequal length, some without advantage, sampled by another policy than the trained one."""
    rows = []
    for number in range(ROWS):
        rng = stream(seed, "experience", number)
        prompt = rng.integers(10, 1000, int(rng.integers(3, 9))).tolist()
        parts = [int(rng.integers(2, 9)) for _ in range(4)]
        completion = rng.integers(10, 1000, sum(parts)).tolist()
        mask = [value for part, value in zip(parts, (1, 0, 1, 0), strict=True) for _ in range(part)]
        with torch.no_grad():
            logprobs = completion_logprobs(_policy(), prompt, completion)
        shift = rng.normal(0, 0.4, len(mask))
        recorded = [(float(p) + s) * m for p, s, m in zip(logprobs, shift, mask, strict=True)]
        rows.append(ExperienceRow(prompt, completion, recorded, mask, 0.0 if number % 5 == 4 else float(rng.normal())))
    return rows


def _local(value: Any) -> torch.Tensor:
    return value.to_local() if hasattr(value, "to_local") else value


def _same(one: Any, other: Any) -> bool:
    return all(
        one_part.keys() == other_part.keys() and all(torch.equal(one_part[key], other_part[key]) for key in one_part)
        for one_part, other_part in zip(one, other, strict=True)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), "fsdp2" if sys.argv[2] == "fsdp2" else "ddp")
