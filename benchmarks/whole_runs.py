"""How fast are the first steps of whole runs, start included, and how do they grow?

    python benchmarks/whole_runs.py processes             # 1 process, 2, …, one for each core: the default run's steps
    python benchmarks/whole_runs.py episodes parameters   # 16, 64, 256 episodes a step; 0.5, 1, 4 M parameters
    python benchmarks/whole_runs.py memory --steps 80     # resident memory of the main process from step to step

Each is `kedro run --pipeline=coevolve` up to a step, without evaluation, in a separate folder of `data/`, which is
deleted. Runs are repeated `--times` times, the variants in turn, so that what else the machine does meets all; medians
count. "start" is what the command took besides its steps; "80 steps" is start + 80 x the median step. `taskset` gives
a run of n processes n cores. Policies of other sizes have random weights: long episodes, and nothing to train on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.checkpoint import save_policy
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer

DATA = Path("data")
NAME = "benchmark"
SIZES = {"0.5m": (96, 3), "1m": (128, 4), "4m": (256, 4)}
"""About so many million parameters -> hidden size, layers."""


def variants(what: str) -> dict[str, dict[str, Any]]:
    """Return name -> parameters of the runs that are compared."""
    if what == "processes":
        return {f"{n}": {"run.processes": n} for n in range(1, len(os.sched_getaffinity(0)) + 1)}
    if what == "episodes":
        # Two optimizer steps each, as in the default run.
        return {f"{8 * n}": {"rollout.tasks_per_step": n, "train.minibatch": 4 * n} for n in (2, 8, 32)}
    if what == "parameters":
        return {size: {"base_model.path": saved_policy(size)} for size in SIZES}
    return {"default": {}}


def random_policy(size: str) -> Policy:
    """Return a policy of about so many million parameters with random weights."""
    hidden, layers = SIZES[size]
    shape = TinyConfig(hidden_size=hidden, layers=layers, heads=hidden // 32, head_dim=32, intermediate_size=3 * hidden)
    return build_tiny(shape, build_tokenizer(alfworld_vocabulary()), 0)


def saved_policy(size: str) -> str:
    """Write such a policy, and return its folder."""
    folder = DATA / "06_models" / f"{NAME}-{size}"
    save_policy(random_policy(size), folder)
    return str(folder)


def run(parameters: dict[str, Any], steps: int) -> tuple[float, list[dict[str, Any]]]:
    """Run the first `steps` steps; return the seconds of the whole command, and the metrics of the steps."""
    remove()
    given = {"run.name": NAME, "coevolve.steps": 2 * max(steps, 40), **parameters}  # as large a graph as the default's
    text = ",".join(f"{name}={value}" for name, value in given.items())
    last = f"phase_1_warmup.step_{steps - 1:03d}.train"
    command = [sys.executable, "-m", "kedro", "run", "--pipeline=coevolve", f"--params={text}", f"--to-nodes={last}"]
    cores = sorted(os.sched_getaffinity(0))[: parameters.get("run.processes", 10_000)]
    began = time.perf_counter()
    subprocess.run(["taskset", "-c", ",".join(map(str, cores)), *command], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    found = sorted((DATA / "08_reporting" / NAME / "steps").glob("*.json"))
    return seconds, [json.loads(path.read_text(encoding="utf-8")) for path in found]


def remove() -> None:
    """Delete what a run has left."""
    for folder in DATA.glob(f"*/{NAME}"):
        shutil.rmtree(folder)


def measure(what: str, steps: int, times: int) -> dict[str, Any]:
    """Compare the variants; print a table."""
    given = variants(what)
    runs: dict[str, list[tuple[float, list[dict[str, Any]]]]] = {name: [] for name in given}
    run(next(iter(given.values())), 1)  # compiles the games, once for all runs
    for _ in range(times):
        for name, parameters in given.items():
            runs[name].append(run(parameters, steps))
    rows: dict[str, Any] = {}
    print(
        f"| {what} | s a step | sampling | environment | training | other | start, s | 80 steps, s | times the first |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, measured in runs.items():
        seconds = [step["seconds"] for _, metrics in measured for step in metrics[1:]]
        part = {key: statistics.median(one.get(key, 0.0) for one in seconds) for key in seconds[0]}
        start = statistics.median(
            wall - sum(step["seconds"]["total"] for step in metrics) for wall, metrics in measured
        )
        shown = [part["total"], part["sampling"], part["environment"], part["training"]]
        rows[name] = {"seconds": part, "start": start, "whole": start + 80 * part["total"]}
        ratio = next(iter(rows.values()))["whole"] / rows[name]["whole"]
        cells = [*(f"{value:.2f}" for value in shown), f"{shown[0] - sum(shown[1:]):.2f}", f"{start:.1f}"]
        print(f"| {name} | {' | '.join(cells)} | {rows[name]['whole']:.0f} | {ratio:.2f} |")
    if what == "memory":
        memory = [step["memory"]["training"] for step in runs["default"][0][1]]
        tenth, last = memory[min(9, len(memory) - 1)], memory[-1]
        print(
            f"\nresident: {tenth:.3f} GiB after step 10, {last:.3f} after step {len(memory)} ({last / tenth - 1:+.1%})"
        )
        rows["memory"] = memory
    return rows


def main() -> None:
    """Compare what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["processes", "episodes", "parameters", "memory"])
    parser.add_argument("--steps", type=int, default=9, help="of a run, the first of which does not count")
    parser.add_argument("--times", type=int, default=2, help="how often each run is made")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    found = {}
    for what in arguments.what:
        found[what] = measure(what, arguments.steps, 1 if what == "memory" else arguments.times)
        print()
    remove()
    for size in SIZES:
        shutil.rmtree(DATA / "06_models" / f"{NAME}-{size}", ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
