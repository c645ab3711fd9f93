"""What is lost where LoRA adapters are merged into bfloat16 weights, and what where they are sent separately?

    python benchmarks/merged_adapters.py [--model FOLDER] [--learning-rate 1e-5] [--steps 1 10 100]

Wants PEFT, not vLLM. The base is a causal language model with weights that are bfloat16 numbers: that of a folder, or a
Qwen3 of random weights. AdamW trains its adapters to imitate fixed random tokens. After so many steps: the share of the
adapted weights that a merge leaves as they were, and mean differences of the log-probabilities of other tokens, all
computed in float32 so that they show nothing but how weights are stored: policy - base (what training has changed),
merged - policy, separate (both matrices rounded to bfloat16) - policy.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.weights import named_weights, plain_model


def make_base(arguments: argparse.Namespace) -> Any:
    """Return a model in float32 whose weights are bfloat16 numbers."""
    torch.manual_seed(0)
    if arguments.model:
        return AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16).float()
    config = Qwen3Config(
        vocab_size=2048, hidden_size=384, intermediate_size=1152, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=2, head_dim=64, tie_word_embeddings=True, bos_token_id=None,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).bfloat16().float()


def logprobs(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each token but the first."""
    scores = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[:, :-1].float(), -1)
    return scores.gather(-1, ids[:, 1:, None])[..., 0]


@torch.no_grad()
def losses(policy: Policy, ids: torch.Tensor) -> tuple[float, float, float, float]:
    """Return the share of weights that a merge leaves as they were, and the three differences."""
    model: Any = policy.model
    own = logprobs(model, ids)
    with model.disable_adapter():
        before = logprobs(model, ids)
    base, same, count = dict(named_weights(policy, adapters=False)), 0, 0
    plain = plain_model(policy)
    merged = type(plain)(plain.config).eval()
    rounded = {name: weight.bfloat16().float() for name, weight in named_weights(policy)}
    exact = dict(named_weights(policy))
    for name, weight in rounded.items():
        changed = exact[name] != base[name]
        same += int((weight == base[name])[changed].sum())
        count += int(changed.sum())
    merged.load_state_dict(rounded, strict=False)
    kept = {name: weight.clone() for name, weight in model.named_parameters() if ".lora_" in name}
    theirs = logprobs(merged, ids)
    for name, weight in model.named_parameters():
        if name in kept:
            weight.copy_(weight.bfloat16())
    separate = logprobs(model, ids)
    for name, weight in model.named_parameters():
        if name in kept:
            weight.copy_(kept[name])
    change, of_merged, of_separate = (
        float((one - other).abs().mean()) for one, other in ((own, before), (theirs, own), (separate, own))
    )
    return same / count, change, of_merged, of_separate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--rank", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    policy = Policy(make_base(arguments).eval(), range(2))  # type: ignore[arg-type]
    add_adapters(policy, LoraConfig(rank=arguments.rank, alpha=2 * arguments.rank), "base", None, seed=0)
    model: Any = policy.model
    draw = torch.Generator().manual_seed(0)
    words = int(model.get_input_embeddings().weight.shape[0])
    train, test = (torch.randint(words, (rows, 64), generator=draw) for rows in (4, 8))
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=arguments.learning_rate)
    print("| steps | weights unchanged by the merge | policy - base | merged - policy | separate - policy |")
    print("|---:|---:|---:|---:|---:|")
    for step in range(1, max(arguments.steps) + 1):
        optimizer.zero_grad()
        (-logprobs(model, train).mean()).backward()
        optimizer.step()
        if step in arguments.steps:
            share, *gaps = losses(policy, test)
            print(f"| {step} | {share:.1%} | " + " | ".join(f"{gap:.2e}" for gap in gaps) + " |", flush=True)


if __name__ == "__main__":
    main()
