r"""Compare a vLLM server with the transformers sampler on the same episodes, on a CPU.

    python benchmarks/vllm_sampling.py --executable .venv-vllm/bin/python [--rows 8 32] [--dtypes float32 bfloat16] \
        [--turns 4] [--new 24] [--context 40]

Needs an environment with vLLM (docs/vllm.md). The model is a Qwen3 with random weights; rows grow as in an episode: a
first context of `--first` tokens, then turns and observations in alternation. All turns have the same length, and there
are no environments to wait for. One warm-up, then alternating repeats. Time is wall-clock time, since the server is
another process: the best of each engine, and the ratio with its range over the pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.config.loader import section
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.base import Sampler, close_engines, make_sampler


def make_policy(arguments: argparse.Namespace, dtype: str) -> Policy:
    """Return a policy of random weights."""
    width, layers, words = arguments.width, arguments.layers, arguments.vocabulary
    config = Qwen3Config(
        vocab_size=words, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers, head_dim=64,
        num_attention_heads=width // 64, num_key_value_heads=max(1, width // 192), max_position_embeddings=8192,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=2, pad_token_id=0, dtype=dtype,
    )  # fmt: skip
    torch.manual_seed(0)
    return Policy(Qwen3ForCausalLM(config).to(getattr(torch, dtype)).eval(), build_tokenizer(alfworld_vocabulary()))


def play(sampler: Sampler, arguments: argparse.Namespace, rows: int, length: int) -> float:
    """Sample every turn of `rows` episodes; return the seconds."""
    began = time.perf_counter()
    session = sampler.open([stream(1, row) for row in range(rows)], length)
    for turn in range(arguments.turns):
        size = arguments.first if turn == 0 else arguments.context
        contexts = [stream(0, turn, row).integers(10, arguments.vocabulary, size).tolist() for row in range(rows)]
        written = session.extend(range(rows), contexts, [], arguments.new)
        assert all(len(completion.ids) == arguments.new for completion in written)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"turns": 4, "new": 24, "context": 40, "first": 160, "repeats": 3, "threads": 1}
    for name, default in {**numbers, "width": 384, "layers": 8, "vocabulary": 32768}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--executable", required=True)
    arguments = parser.parse_args()
    server = section("sampling", engine="vllm", server={"executable": arguments.executable})  # type: ignore[arg-type]
    torch.set_num_threads(arguments.threads)
    length = arguments.first + arguments.turns * (arguments.context + arguments.new)
    for dtype in arguments.dtypes:
        policy = make_policy(arguments, dtype)
        size = policy.parameter_count() / 1e6
        samplers = {
            "transformers": make_sampler(policy, section("sampling", engine="transformers"), 1.0, length),
            "vllm": make_sampler(policy, server, 1.0, length),
        }
        for rows in arguments.rows:
            runs: dict[str, Callable[[], float]] = {
                name: lambda sampler=sampler, rows=rows: play(sampler, arguments, rows, length)  # type: ignore[misc]
                for name, sampler in samplers.items()
            }
            spent = [{name: run() for name, run in runs.items()} for _ in range(arguments.repeats + 1)][1:]
            best = {name: min(pair[name] for pair in spent) for name in runs}
            ratios = sorted(pair["transformers"] / pair["vllm"] for pair in spent)
            sampled = rows * arguments.turns * arguments.new
            speeds = ", ".join(f"{name} {sampled / one:.0f}" for name, one in best.items())
            print(
                f"{size:.1f} M parameters, {dtype}, {rows} rows: sampled tokens per second: {speeds}; vLLM is "
                f"{best['transformers'] / best['vllm']:.2f} x as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                flush=True,
            )
        close_engines()


if __name__ == "__main__":
    main()
