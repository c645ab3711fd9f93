"""Compare the transformers sampler with bare forward passes and `generate()`: rows of many turns.

    python benchmarks/sampling.py [--rows 64] [--turns 10] [--new 10] [--context 12] [--threads 1] [--repeats 3]
    python benchmarks/sampling.py --policy FOLDER --rows 16 --turns 8 --new 32 --context 30

The policy is the tiny one, or the checkpoint in a folder. All sample the same number of tokens: one warm-up, then
alternating repeats, the best of each by wall time. Prints sampled tokens per second and the ratio to bare forward
passes of the same shapes, which neither sample nor check anything; and `generate()` with and without a cache from
earlier turns. These cannot drop rows or serve ragged ones, so here all rows are alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.checkpoint import load_policy
from sg_pipeline.policies.compute import computing
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler


def contexts_of(arguments: argparse.Namespace) -> list[list[list[int]]]:
    """Return the contexts of each turn and row; those of the first turn are longer, like a room's description."""
    return [
        [
            stream(0, turn, row).integers(100, 1000, arguments.context * (3 if turn == 0 else 1)).tolist()
            for row in range(arguments.rows)
        ]
        for turn in range(arguments.turns)
    ]


def with_sampler(policy: Policy, contexts: list[list[list[int]]], new: int) -> None:
    """Sample with `TransformersSampler`."""
    rows = range(len(contexts[0]))
    sampler = TransformersSampler(policy.model, 1.0, policy.compute)
    session = sampler.open([stream(1, row) for row in rows], 2048)
    for turn in contexts:
        session.extend(rows, turn, [], new)


def with_generate(policy: Policy, contexts: list[list[list[int]]], new: int, keep_cache: bool = False) -> None:
    """Sample with `generate()`, with or without the cache of earlier turns."""
    model: Any = policy.model
    options = {
        "do_sample": True,
        "top_k": 0,
        "min_new_tokens": new,
        "max_new_tokens": new,
        "return_dict_in_generate": True,
    }
    tokens = torch.empty(len(contexts[0]), 0, dtype=torch.long)
    cache = None
    for turn in contexts:
        tokens = torch.cat([tokens, torch.tensor(turn)], dim=1)
        past = cache if keep_cache else None
        with computing(policy.compute, model.device):
            result = model.generate(
                input_ids=tokens, attention_mask=torch.ones_like(tokens), past_key_values=past, **options
            )
        tokens, cache = result.sequences, result.past_key_values


@torch.no_grad()
def bare(policy: Policy, contexts: list[list[list[int]]], new: int) -> None:
    """Run the forward passes alone: one over each turn's contexts, then one for each new token, of all rows."""
    model: Any = policy.model
    cache = None
    with computing(policy.compute, model.device):
        for turn in contexts:
            for length in (len(turn[0]), *[1] * (new - 1)):
                tokens = torch.tensor(turn)[:, :length]
                cache = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).past_key_values


def seconds(run: Callable[[], None]) -> float:
    """Return the seconds that `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"rows": 64, "turns": 10, "new": 10, "context": 12, "threads": 1, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--policy", help="folder of a checkpoint; without it: a tiny policy")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.policy:
        policy = load_policy(arguments.policy)
    else:
        policy = build_tiny(TinyConfig(), build_tokenizer(alfworld_vocabulary()), seed=0)
    policy.model.eval()
    contexts = contexts_of(arguments)
    runs: dict[str, Callable[[], None]] = {
        "sampler": lambda: with_sampler(policy, contexts, arguments.new),
        "bare forward": lambda: bare(policy, contexts, arguments.new),
        "generate, cache kept": lambda: with_generate(policy, contexts, arguments.new, keep_cache=True),
        "generate, no cache": lambda: with_generate(policy, contexts, arguments.new),
    }
    best = dict.fromkeys(runs, float("inf"))
    for repeat in range(arguments.repeats + 1):
        for name, run in runs.items():
            spent = seconds(run)
            if repeat:
                best[name] = min(best[name], spent)
    sampled = arguments.rows * arguments.turns * arguments.new
    print(f"{policy.parameter_count() / 1e6:.2f} M parameters, {sampled} sampled tokens, {arguments.threads} thread(s)")
    for name, spent in best.items():
        print(f"{name:22s} {sampled / spent:8.0f} tokens per second, {best['bare forward'] / spent:.2f} x bare forward")


if __name__ == "__main__":
    main()
