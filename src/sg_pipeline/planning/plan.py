"""The plan: what the formula says and what steps have measured, extrapolated to the whole run.

Seconds of all steps are those that were measured, and for each step that is left the mean without the first, which
includes the start of libraries and environments. An evaluation is taken to play as many episodes a second as the
measured rollouts. Writing checkpoints and the report is not included.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from sg_pipeline.config.run import written_steps
from sg_pipeline.config.tree import Parameters
from sg_pipeline.evaluation.play import evaluated_splits
from sg_pipeline.planning.memory import CACHE, GIB, free_memory, needed_memory
from sg_pipeline.planning.trial import delete_trial, read_json, read_steps, start_trial, trial_name
from sg_pipeline.policies.checkpoint import is_whole
from sg_pipeline.policies.retention import folder_after
from sg_pipeline.reporting.text import NONE, duration, number, table
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.identity import is_same_run
from sg_pipeline.runs.outputs import CLOCK, RUN_JSON
from sg_pipeline.runs.steps import unroll

GB = 1e9
_PEAKS = {
    "sampling": "sampling, process of the run",
    "training": "training, process of the run",
    "environments": "processes of the environments",
    "sampling_reserved": "sampling, reserved by the allocator",
    "training_reserved": "training, reserved by the allocator",
}


def plan_run(given: Parameters, command_line: CommandLine, project: Path, data: Path) -> dict[str, Any]:
    """Plan the run `given`: by its own steps where it has enough of them, otherwise by a trial, if one is possible.

    A trial is started with the `--env` and `--params` of `command_line`.

    Returns:
        JSON-ready: `run`, `verdict` (one sentence), `device`, `free_gib`, `memory` (see `needed_memory`), and, or None
        without measured steps: `measured`, `whole_run`, `disk`.

    Raises:
        RunFailedError: the trial failed.
        ConfigurationError, CheckpointError, DataError: something that the plan reads is missing or damaged.
    """
    name, total = given.run.name, given.coevolve.steps
    needed, free = needed_memory(given, project), free_memory(given.base_model.device)
    wanted = min(given.plan.trial_steps, total)
    own = is_same_run(data / "08_reporting" / name / RUN_JSON, given, project)
    source, steps, obstacle = name, read_steps(data, name, total) if own else [], None
    if len(steps) < wanted and (obstacle := _no_trial(given, needed["training_gib"], free)) is None:
        start_trial(given, wanted, command_line, project)
        source = trial_name(name)
        steps = read_steps(data, source, total)
    plan: dict[str, Any] = {
        "run": name, "verdict": obstacle, "device": given.base_model.device, "free_gib": free, "memory": needed,
        "measured": None, "whole_run": None, "disk": None,
    }  # fmt: skip
    if steps:
        plan["measured"] = _measured(steps, source)
        plan["whole_run"] = _whole_run(given, data, source, steps)
        plan["disk"] = _disk(given, data, source, steps, plan)
        plan["verdict"] = obstacle or _verdict(plan)
    delete_trial(name, data)
    return plan


def _no_trial(given: Parameters, training_gib: float, free: float | None) -> str | None:
    """Return in one sentence why the run cannot be tried here; None where it can."""
    device, ranks = given.base_model.device, given.distributed.ranks or 1
    if free is not None and training_gib > free:
        return (
            f"the run cannot fit: weights, gradients and optimizer state alone take {training_gib:.1f} GiB, but "
            f"{free:.1f} GiB of {device} memory are free (train adapters with base_model.lora, or share the weights "
            f"among processes with distributed.strategy=fsdp2 and distributed.ranks)"
        )
    if not given.plan.trial:
        return "no trial was run, because plan.trial is false"
    if device != "cpu" and free is None:
        return f"no trial was run, because base_model.device is '{device}' and this machine has no such GPU"
    if ranks > 1:
        last = unroll(given.coevolve, given.aggregate.schedule)[min(given.plan.trial_steps, given.coevolve.steps) - 1]
        return (
            f"no trial was run, because distributed.ranks is {ranks} and a trial is one process: start the run with "
            f"its launcher and --to-outputs={last.namespace}.metrics, then plan again"
        )
    return None


def _measured(steps: Sequence[Mapping[str, Any]], source: str) -> dict[str, Any]:
    """Return the first step, the mean of the later ones, and the largest peak of memory by part."""
    first, later = steps[0]["seconds"], [step["seconds"] for step in steps[1:]]
    peaks: dict[str, float] = {}
    for name, gib in (part for step in steps for part in step.get("memory", {}).items()):
        peaks[name] = max(gib, peaks.get(name, 0.0))
    return {
        "run": source,
        "steps": len(steps),
        "first_step": first,
        "later_steps": {part: fmean(step[part] for step in later) for part in first} if later else None,
        "memory_gib": peaks,
    }


def _whole_run(given: Parameters, data: Path, source: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the seconds of the whole run by part."""
    total, seconds = given.coevolve.steps, [step["seconds"] for step in steps]
    later = seconds[1:] or seconds
    of_steps = {
        part: sum(step[part] for step in seconds) + (total - len(steps)) * fmean(step[part] for step in later)
        for part in seconds[0]
    }
    panel = read_json(data / "02_intermediate" / source / "panel.json")
    tasks = [panel["splits"][split][: given.evaluate.games] for split in evaluated_splits(panel, given.evaluate)]
    episodes = 2 * len(given.evaluate.modes) * sum(map(len, tasks)) * given.evaluate.episodes_per_game
    # Environments start in the first step, once.
    environment = fmean(step["environment"] for step in later) * len(steps)
    played = environment + sum(step["total"] - step["training"] - step["environment"] for step in seconds)
    evaluation = episodes * played / sum(step["trajectories"] for step in steps)
    reports = data / "08_reporting" / source
    start = None  # a run with another name has its own clock, which includes evaluations
    if source != given.run.name:
        start = max(0.0, read_json(reports / CLOCK)["wall_seconds"] - sum(step["total"] for step in seconds))
    summary = reports / "summary.json"
    return {
        "steps": total,
        "seconds": of_steps,
        "evaluation_episodes": episodes,
        "evaluation_seconds": evaluation,
        "start_seconds": start,
        "total_seconds": of_steps["total"] + evaluation + (start or 0.0),
        "finished_seconds": read_json(summary)["wall_seconds"] if summary.exists() else None,
    }


def _disk(
    given: Parameters, data: Path, source: str, steps: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the disk space of the run at its fullest, in GB by part."""
    evaluated = plan["whole_run"]["evaluation_episodes"]
    models, total = data / "06_models" / source, given.coevolve.steps
    # A trial writes one after its last step.
    written = [folder_after(models, after, total) for after in (len(steps), *written_steps(given.coevolve)[1:])]
    checkpoint = next((_size(folder) for folder in written if is_whole(folder)), plan["memory"]["checkpoint_gib"] * GIB)
    between = kept = len(written_steps(given.coevolve)) - 2
    config = given.checkpoints
    if config.keep_last is not None:  # one more than stay: a checkpoint is deleted when the next has been written
        others = (config.best is not None) + 2 * config.keep_cross_checkpoint
        kept = min(between, config.keep_last + 1 + others)
    trajectories = _size(data / "03_primary" / source)
    tables = trajectories + _size(data / "04_feature" / source)
    gb = {
        "base policy": _size(models / "base") / GB,
        "checkpoints": kept * checkpoint / GB,
        "final policy": checkpoint / GB,
        "trajectories and rewards": tables / len(steps) * total / GB,
        "evaluation": trajectories / sum(step["trajectories"] for step in steps) * evaluated / GB,
    }
    return {
        "gb": gb,
        "checkpoint_gb": checkpoint / GB,
        "checkpoints_written": between,
        "checkpoints_kept": kept,
        "free_gb": shutil.disk_usage(data).free / GB,
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _verdict(plan: Mapping[str, Any]) -> str:
    """Return time, memory and disk in one sentence."""
    peaks, disk, free = plan["measured"]["memory_gib"], sum(plan["disk"]["gb"].values()), plan["disk"]["free_gb"]
    memory = max((peaks[name] for name in ("sampling", "training") if name in peaks), default=None)
    short = f", of which only {free:.1f} GB are free" if disk > free else ""
    return (
        f"the run takes about {duration(plan['whole_run']['total_seconds'])}, {number(memory)} GiB of memory "
        f"({plan['device']}) and {number(peaks.get('environments'))} GiB for its environments, and {disk:.2f} GB of "
        f"disk{short}"
    )


def plan_markdown(plan: Mapping[str, Any]) -> str:
    """Return plan.md."""
    needed, verdict = plan["memory"], plan["verdict"]
    free = "" if plan["free_gib"] is None else f" {plan['free_gib']:.1f} GiB ({plan['device']}) are free."
    cached = f"{CACHE}: {needed['cached_episodes']} episodes of {needed['cached_tokens']} tokens (rollout.max_length)"
    sections = [
        f"# Plan of run `{plan['run']}`",
        f"{verdict[0].upper()}{verdict[1:]}.",
        *(_measured_sections(plan) if plan["measured"] else []),
        "## Memory by the formula",
        f"`{needed['model']}`: {needed['parameters']:,} parameters, {needed['trained']:,} of them trained, in "
        f"{needed['dtype']}. Activations, logits and libraries come on top.{free}",
        _sizes("GiB", {cached if part == CACHE else part: gib for part, gib in needed["gib"].items()}),
    ]
    return "\n\n".join(sections) + "\n"


def _measured_sections(plan: Mapping[str, Any]) -> list[str]:
    measured, whole, disk = plan["measured"], plan["whole_run"], plan["disk"]
    first, later, count = measured["first_step"], measured["later_steps"], measured["steps"]
    second = "second step, s" if count == 2 else "mean of later steps, s"
    rows = [
        [part, number(first[part]), number(later and later[part]), duration(seconds)]
        for part, seconds in whole["seconds"].items()
    ]
    rows[-1][0] = "steps together"
    rows += [
        [f"evaluation, {whole['evaluation_episodes']} episodes", NONE, NONE, duration(whole["evaluation_seconds"])],
        ["start, games, base policy", NONE, NONE, duration(whole["start_seconds"])],
        ["**whole run**", "", "", f"**{duration(whole['total_seconds'])}**"],
    ]
    if whole["finished_seconds"] is not None:
        rows.append(["the finished run took", "", "", duration(whole["finished_seconds"])])
    return [
        f"Measured in {count} step{'s' * (count > 1)} of run `{measured['run']}`"
        f"{'' if whole['start_seconds'] is not None else '; the time before the first step is not included'}.",
        "## Time",
        table(["part", "first step, s", second, f"{whole['steps']} steps"], rows),
        "## Peak memory, measured",
        _sizes("GiB", {_PEAKS.get(name, name): gib for name, gib in measured["memory_gib"].items()}),
        "## Disk",
        _sizes("GB", {**disk["gb"], "**together**": sum(disk["gb"].values())}),
        f"A checkpoint takes {disk['checkpoint_gb']:.3f} GB; {disk['checkpoints_written']} are written between base "
        f"and final policy, and at most {disk['checkpoints_kept']} exist at once (checkpoints.keep_last). "
        f"{disk['free_gb']:.1f} GB are free.",
    ]


def _sizes(unit: str, parts: Mapping[str, float]) -> str:
    return table(["part", unit], [[part, f"{size:.3f}"] for part, size in parts.items()])
