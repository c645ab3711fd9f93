"""Prediction against measurement: what a run's steps took, beside what was foretold of them.

The prediction is made from the parameters and the lengths of the run's own episodes alone, so that it is the formulas
that are judged; none of the measured seconds goes into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sg_pipeline.planning.case import Case
from sg_pipeline.planning.lengths import Recorded, assumed
from sg_pipeline.planning.memory import ALLOCATOR, GIB, PROCESS, WORKERS, Memory, memory
from sg_pipeline.planning.seconds import step_time

RECORDED_AS = {
    "sampling": ("sampling",),
    "environments": ("environment", "format"),
    "training": ("training",),
    "sync": ("sync",),
}
"""Part of a step -> names of the step metrics' seconds."""


def compare(case: Case, recorded: Recorded) -> dict[str, Any]:
    """Return what was predicted and measured of the steps of `recorded`.

    Args:
        case: the run that they are of.
        recorded: what it has recorded.

    Returns:
        `steps`: how many; `seconds` (means of a step) and `gib` (peaks): part -> {"predicted", "measured"}, the latter
        None where the steps do not say; `foretold`: seconds of a step and GiB of a device's peak in `sampling` and
        `training` by the assumed lengths, as they stood before there was a step.
    """
    guessed = assumed(case.plan.lengths)
    told = replace(
        case,
        lengths=replace(recorded.lengths, environment_ms=guessed.environment_ms, format_ms=guessed.format_ms),
    )
    parts = step_time(told).parts
    seconds = {
        part: {"predicted": parts[part], "measured": _measured(recorded.seconds, names)}
        for part, names in RECORDED_AS.items()
    }
    seconds["together"] = {"predicted": sum(parts.values()), "measured": recorded.seconds["total"]}
    before = replace(case, lengths=guessed)
    held = memory(before)
    return {
        "steps": recorded.steps,
        "seconds": seconds,
        "gib": _peaks(memory(told), recorded.memory, case.device.is_gpu),
        "foretold": {
            "seconds": step_time(before).total,
            "gib": max(sum(held.moments[moment].values()) for moment in ("sampling", "training")) / GIB,
        },
    }


def _measured(seconds: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    found = [seconds[name] for name in names if name in seconds]
    return sum(found) if found else None


def _peaks(held: Memory, measured: Mapping[str, float], gpu: bool) -> dict[str, dict[str, float | None]]:
    """Return the peaks by what was watched: tensors and allocator on a GPU, processes on a CPU."""
    peaks: dict[str, dict[str, float | None]] = {}
    for moment in ("sampling", "training"):
        parts = held.moments[moment]
        whole = sum(size for name, size in parts.items() if name not in (WORKERS, *((PROCESS,) if gpu else ()))) / GIB
        if gpu:
            tensors = whole - parts[ALLOCATOR] / GIB
            peaks[moment] = {"predicted": tensors, "measured": measured.get(moment)}
            name = f"{moment}_reserved"
            peaks[name] = {"predicted": whole, "measured": measured.get(name)}
        else:
            peaks[moment] = {"predicted": whole, "measured": measured.get(moment)}
    if not gpu:
        workers = held.moments["sampling"][WORKERS] / GIB
        peaks["environments"] = {"predicted": workers, "measured": measured.get("environments")}
    return peaks
