r"""How fast is a training step, how far from the device's peak, and how much memory does it take? And sampling?

    python benchmarks/train_step.py                                             # small, on a CPU
    python benchmarks/train_step.py --model qwen3-1.7b --device cuda --compute bfloat16 --rows 32 \
        --lengths 4096 6144 8192 --micro-batch-tokens 16384 --sampled-rows 128 --turns 10 --new 40 --context 45

The model is small, Qwen3-1.7B, a tiny policy of `whole_runs.py parameters` (`0.5m`, `1m`, `4m`), or one whose
config.json is in the folder `--model`; its weights are random, so nothing is downloaded. Trajectories are random tokens
of the given lengths, of which the policy has written `--share`. One step warms up, the next `--steps` are measured,
each a whole `train_step`: trainer, forward, backward, AdamW; the median counts. Two utilisations, relative to the peak
of a large matrix product measured on the same device: MFU counts the operations that the model needs for tokens that
are not padding, the other one what was computed, padding and recomputation included. Seconds on a CPU are CPU time, so
that a busy machine does not show. `--parts` says what of more such steps is forward, loss, backward, optimizer, and the
rest: building the trainer, batches, metrics, copies of the optimizer's state. `--profile` adds the operations that took
longest in one more step.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from whole_runs import SIZES, random_policy

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.config.loader import section
from sg_pipeline.config.train import TrainConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.compute import computing, shorten_frozen
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.training.experience import ExperienceRow, plan_updates
from sg_pipeline.training.learner import train_step
from sg_pipeline.training.trl_trainer import ReplayTrainer

SMALL = {
    "model_type": "qwen3", "head_dim": 64, "num_key_value_heads": 2, "vocab_size": 8192, "hidden_size": 256,
    "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4, "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
}  # fmt: skip
QWEN3_1_7B = {
    "model_type": "qwen3", "head_dim": 128, "num_key_value_heads": 8, "vocab_size": 151_936, "hidden_size": 2048,
    "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16, "tie_word_embeddings": True,
    "max_position_embeddings": 40_960,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {"small": SMALL, "qwen3-1.7b": QWEN3_1_7B}


def make_policy(arguments: argparse.Namespace) -> Policy:
    """Return a policy of random weights, in float32 or as `--dtype` says."""
    if arguments.model in MODELS:
        values = dict(MODELS[arguments.model])
        config = AutoConfig.for_model(values.pop("model_type"), **values)
    elif arguments.model in SIZES:
        config = random_policy(arguments.model).model.config
    else:
        config = AutoConfig.from_pretrained(arguments.model, local_files_only=True)
    torch.manual_seed(0)
    with torch.device(arguments.device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, arguments.dtype))
    policy = Policy(model=model.eval(), tokenizer=build_tokenizer(alfworld_vocabulary()), compute=arguments.compute)
    if arguments.lora:
        add_adapters(policy, LoraConfig(rank=arguments.lora), arguments.model, None, seed=0)
    if policy.compute == "bfloat16":
        shorten_frozen(policy.model)
    return policy


def make_experience(arguments: argparse.Namespace, vocabulary: int) -> list[ExperienceRow]:
    """Return trajectories of random tokens: a tenth is prompt, then come turns, each begun by the policy."""
    rows = []
    for number in range(arguments.rows):
        length = arguments.lengths[number % len(arguments.lengths)]
        chance = stream(0, "benchmark", number)
        prompt = max(1, length // 10)
        ids = chance.integers(10, vocabulary, length).tolist()
        turn = max(2, (length - prompt) // 50)
        mask = [int(place % turn < arguments.share * turn) for place in range(length - prompt)]
        # What a random model says of any token, nearly: ratios are about 1, as in a first update.
        logprobs = [-math.log(vocabulary) * own for own in mask]
        rows.append(ExperienceRow(ids[:prompt], ids[prompt:], logprobs, mask, float(chance.normal())))
    return rows


def operations(
    policy: Policy, rows: list[ExperienceRow], arguments: argparse.Namespace, config: TrainConfig
) -> tuple[float, float, float]:
    """Return (operations that the model needs for a step, operations that are computed, share of padding).

    A weight is multiplied and added once a token: 2 operations forward, 4 backward (2 where it is frozen; Kaplan et al.
    2020, section 2.1). Attention takes 4 x width of the query heads for each layer and pair of tokens forward, and 2.5
    times that backward. Recomputation (gradient checkpointing) repeats the forward pass of the layers.
    """
    shape = policy.model.config.get_text_config()
    head = policy.model.get_output_embeddings().weight
    linears = [part for part in policy.model.modules() if isinstance(part, torch.nn.Linear) and part.weight is not head]
    layers = sum(part.weight.numel() for part in linears)
    head_dim = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    attention = 4 * shape.num_hidden_layers * shape.num_attention_heads * head_dim
    backward = 1 if arguments.lora else 2
    own = sum(row.trained_tokens for row in rows)

    def count(tokens: float, pairs: float, again: int) -> float:
        linear = 2 * layers * tokens * (1 + backward + again) + 2 * head.numel() * own * (1 + backward)
        return linear + attention * pairs * (1 + 2.5 + again)

    plan = plan_updates(
        [row.length for row in rows], minibatch=config.minibatch, micro_batch_tokens=config.micro_batch_tokens,
        orders=[stream(0, 0, "train", 0).permutation(len(rows))], overhead=config.micro_batch_overhead,
    )  # fmt: skip
    widths = [(len(micro.rows), max(rows[i].length for i in micro.rows)) for micro in plan.micro_batches]
    padded, tokens = sum(count * width for count, width in widths), sum(row.length for row in rows)
    on_gpu = arguments.device != "cpu"
    again = on_gpu if config.gradient_checkpointing == "auto" else config.gradient_checkpointing
    needed = count(tokens, sum(row.length**2 for row in rows) / 2, 0)
    computed = count(padded, sum(count * width**2 for count, width in widths) / 2, int(again))
    return needed, computed, 1 - tokens / padded


def measure_peak(arguments: argparse.Namespace) -> float:
    """Return the FLOP/s of a large matrix product on the device, in the type that is computed in."""
    short = arguments.compute == "bfloat16" or arguments.dtype == "bfloat16"
    size = 1024 if arguments.device == "cpu" else 8192
    one = torch.randn(size, size, device=arguments.device, dtype=torch.bfloat16 if short else torch.float32)
    with computing(arguments.compute, one.device):
        return 2 * size**3 / min(seconds(lambda: one @ one, arguments.device) for _ in range(8))


def seconds(run: Callable[[], Any], device: str) -> float:
    """Return the seconds that `run` takes: of the processor, or by the clock with the GPU's work included."""
    if device == "cpu":
        start = time.process_time()
        run()
        return (time.process_time() - start) / torch.get_num_threads()
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def memory_gib(arguments: argparse.Namespace) -> float:
    """Return the most memory so far: tensors on a GPU since the last reset, or the whole process."""
    if arguments.device != "cpu":
        return torch.cuda.max_memory_allocated(arguments.device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def sample(policy: Policy, arguments: argparse.Namespace, vocabulary: int) -> None:
    """Play turns of fixed size with the key-value cache kept from turn to turn."""
    rows = range(arguments.sampled_rows)
    longest = arguments.turns * (arguments.context + arguments.new) + 1
    session = TransformersSampler(policy.model, 1.0, policy.compute).open([stream(1, row) for row in rows], longest)
    for turn in range(arguments.turns):
        contexts = [stream(2, turn, row).integers(10, vocabulary, arguments.context).tolist() for row in rows]
        session.extend(rows, contexts, [], arguments.new)


def parts(run: Callable[[], Any], arguments: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of a step's parts, and of the rest, in the mean over `--steps` calls of `run`."""
    spent: dict[str, float] = dict.fromkeys(("forward", "loss", "backward", "optimizer"), 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            results: list[Any] = []
            spent[name] += seconds(lambda: results.append(function(*args, **kwargs)), arguments.device)
            return results[0]

        return measured

    places = [
        (ReplayTrainer, "_get_per_token_logps_and_entropies", "forward"),
        (ReplayTrainer, "_compute_loss", "loss"),
        (torch.Tensor, "backward", "backward"),
        (torch.optim.AdamW, "step", "optimizer"),
    ]
    with ExitStack() as stack:
        for place, method, name in places:
            stack.enter_context(patch.object(place, method, timed(name, getattr(place, method))))
        whole = seconds(lambda: [run() for _ in range(arguments.steps)], arguments.device)
    spent["loss"] -= spent["forward"]  # the policy is evaluated inside the loss
    return {name: value / arguments.steps for name, value in {**spent, "rest": whole - sum(spent.values())}.items()}


def profiled(run: Callable[[], Any], arguments: argparse.Namespace) -> str:
    """Return a table of the operations that took longest while `run` ran."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = arguments.device != "cpu"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        run()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    return str(recorded.key_averages().table(sort_by=order, row_limit=arguments.profile, max_name_column_width=60))


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small", help=f"{', '.join(MODELS)}, or a folder with a config.json")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the weights")
    parser.add_argument("--compute", choices=("weights", "tf32", "bfloat16"), default="weights")
    parser.add_argument("--lora", type=int, default=0, help="rank of adapters; 0: all weights are trained")
    parser.add_argument("--rows", type=int, default=8, help="trajectories of a step, one optimizer step")
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 384, 512], help="tokens, in turn")
    parser.add_argument("--share", type=float, default=0.4, help="of a turn's tokens, the policy's")
    parser.add_argument("--micro-batch-tokens", type=int, default=2048)
    parser.add_argument("--micro-batch-overhead", type=int, default=None)
    parser.add_argument("--logits-chunk-tokens", type=int, default=None)
    parser.add_argument("--checkpointing", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--sampled-rows", type=int, default=16)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--context", type=int, default=45, help="tokens before each answer")
    parser.add_argument("--new", type=int, default=20, help="tokens of each answer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", action="store_true", help="forward, loss, backward, optimizer, rest")
    parser.add_argument("--profile", type=int, nargs="?", const=15, default=0, help="operations to show")
    parser.add_argument("--json", default=None, help="file for the figures")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    policy = make_policy(arguments)
    vocabulary = policy.vocabulary()
    rows = make_experience(arguments, vocabulary)
    config = section(
        "train",
        learning_rate=1e-6,
        minibatch=len(rows),
        micro_batch_tokens=arguments.micro_batch_tokens,
        micro_batch_overhead=arguments.micro_batch_overhead,
        logits_chunk_tokens=arguments.logits_chunk_tokens,
        gradient_checkpointing={"auto": "auto", "on": True, "off": False}[arguments.checkpointing],
    )
    needed, computed, padding = operations(policy, rows, arguments, config)
    peak = measure_peak(arguments)

    def step() -> None:
        train_step(policy, rows, config, seed=0, step=0)

    first = seconds(step, arguments.device)
    if arguments.device != "cpu":
        torch.cuda.reset_peak_memory_stats(arguments.device)
    times = sorted(seconds(step, arguments.device) for _ in range(arguments.steps))
    training_gib = memory_gib(arguments)
    if arguments.device != "cpu":
        torch.cuda.reset_peak_memory_stats(arguments.device)
    middle = times[len(times) // 2]
    sample(policy, argparse.Namespace(**{**vars(arguments), "turns": 1}), vocabulary)
    sampling = seconds(lambda: sample(policy, arguments, vocabulary), arguments.device)
    tokens = sum(row.length for row in rows)
    figures = {
        "model": arguments.model, "parameters": policy.parameter_count(), "device": arguments.device,
        "dtype": arguments.dtype, "compute": arguments.compute, "lora": arguments.lora, "tokens": tokens,
        "longest": max(row.length for row in rows), "policy_tokens": sum(row.trained_tokens for row in rows),
        "padding": padding, "first_seconds": first, "seconds": middle, "tokens_per_second": tokens / middle,
        "mfu": needed / middle / peak, "computed_utilisation": computed / middle / peak, "peak_tflops": peak / 1e12,
        "training_peak_gib": training_gib,
        "sampled_tokens_per_second": arguments.sampled_rows * arguments.turns * arguments.new / sampling,
        "sampling_peak_gib": memory_gib(arguments),
    }  # fmt: skip
    print(f"{arguments.model}, {figures['parameters'] / 1e6:.1f} M weights, {arguments.dtype}, {arguments.compute}")
    print(f"a step    {tokens} tokens, {padding:.1%} padding on top; {middle:.2f} s (the first {first:.2f} s)")
    print(f"training  {figures['tokens_per_second']:.0f} tokens/s, MFU {figures['mfu']:.1%}, with padding and")
    print(
        f"          recomputation {figures['computed_utilisation']:.1%}, of {peak / 1e12:.3g} TFLOP/s (matrix product)"
    )
    print(f"sampling  {figures['sampled_tokens_per_second']:.0f} tokens/s, {arguments.sampled_rows} rows")
    where = "of the process" if arguments.device == "cpu" else "of the device's tensors"
    print(f"memory    {training_gib:.2f} GiB in training, {figures['sampling_peak_gib']:.2f} with sampling, {where}")
    if arguments.parts:
        figures["parts"] = spent = parts(step, arguments)
        shares = (f"{name} {value:.3f} s ({value / sum(spent.values()):.1%})" for name, value in spent.items())
        print(f"parts     {', '.join(shares)}")
    if arguments.profile:
        print("training:\n" + profiled(step, arguments))
        one = argparse.Namespace(**{**vars(arguments), "turns": 1})
        print("sampling:\n" + profiled(lambda: sample(policy, one, vocabulary), arguments))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
