"""The plan in words: a table for the log, and plan.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sg_pipeline.reporting.text import NONE, percent, table

_DEFINITIONS = {
    "sampling": "the rollout's last turn",
    "training": "the largest micro-batch",
    "evaluation": "the last turn of a batch of games",
}


def verdict(plan: Mapping[str, Any]) -> str:
    """Return one sentence: whether it fits, and what is the largest part."""
    held = plan["memory"]
    parts = held["gib"][held["moment"]]
    size = f"{held['peak_gib']:.1f} GiB of {held['available_gib']:.1f} GiB per {_kind(plan)}"
    largest = f"at its peak ({held['moment']}) the largest part is {held['largest']}, {parts[held['largest']]:.1f} GiB"
    return f"{'fits' if held['fits'] else 'does not fit'}: {size}; {largest}"


def ways(plan: Mapping[str, Any]) -> list[str]:
    """Return what would make it fit, one line each."""
    lines = []
    for way in plan["ways"]:
        values = ",".join(f"{name}={_value(value)}" for name, value in way["values"].items())
        notes = "; ".join(way["notes"])
        held, seconds = f"{way['peak_gib']:.1f} GiB", clock(way["seconds"])
        lines.append(f"{values}: {held}, {seconds} a step{f' ({notes})' if notes else ''}")
    return lines


def log_table(plan: Mapping[str, Any]) -> str:
    """Return the plan for the log: a few lines of fixed width."""
    model, step = plan["model"], plan["step"]
    lines = [
        f"plan of run '{plan['run']}': {model['name']}, {_count(model['parameters'])} parameters in {model['dtype']}, "
        f"on {plan['devices']['count']} x {plan['devices']['kind']}",
        verdict(plan),
        *(f"  would fit: {line}" for line in ways(plan)),
        f"{'memory, GiB per device':34}" + "".join(f"{moment:>11}" for moment in plan["memory"]["gib"]),
    ]
    for part in _parts(plan):
        sizes = [parts.get(part) for parts in plan["memory"]["gib"].values()]
        lines.append(f"  {part:32}" + "".join(f"{NONE if size is None else f'{size:.2f}':>11}" for size in sizes))
    totals = [sum(parts.values()) for parts in plan["memory"]["gib"].values()]
    lines.append(f"  {'together':32}" + "".join(f"{size:>11.2f}" for size in totals))
    lines.append(f"{'seconds a step':34}{'estimated':>10}{'measured':>10}")
    for name, estimated, measured in _seconds(plan):
        lines.append(f"  {name:32}{estimated:>10.2f}{NONE if measured is None else f'{measured:.2f}':>10}")
    run = plan["run_seconds"]
    told = ", ".join(f"{name} {clock(seconds)}" for name, seconds in run.items())
    basis = f"measured in {step['measured_steps']} steps" if step["measured"] else "estimated"
    lines.append(f"whole run: {clock(sum(run.values()))} ({told}; {basis}); lengths {plan['lengths']['source']}")
    told = ", ".join(f"{part} {_gb(size)}" for part, size in plan["disk"]["gb"].items())
    lines.append(f"disk: {_gb(sum(plan['disk']['gb'].values()))} ({told})")
    return "\n".join([*lines, *(f"note: {note}" for note in plan["notes"])])


def plan_markdown(plan: Mapping[str, Any]) -> str:
    """Return plan.md."""
    model, devices, lengths, step = (plan[name] for name in ("model", "devices", "lengths", "step"))
    moments = plan["memory"]["gib"]
    memory_rows = [
        [part, *(NONE if (size := parts.get(part)) is None else f"{size:.2f}" for parts in moments.values())]
        for part in _parts(plan)
    ]
    memory_rows.append(["**together**", *(f"**{sum(parts.values()):.2f}**" for parts in moments.values())])
    seconds_rows = [
        [name, f"{estimated:.2f}", NONE if measured is None else f"{measured:.2f}"]
        for name, estimated, measured in _seconds(plan)
    ]
    run, stored = plan["run_seconds"], plan["disk"]
    trained = "" if model["trained"] == model["parameters"] else f", {_count(model['trained'])} of them trained"
    told = verdict(plan)
    sections = [
        f"# Plan of run `{plan['run']}`",
        f"**{told[0].upper()}{told[1:]}.**",
        *(["What would make it fit:", "\n".join(f"- {line}" for line in ways(plan))] if plan["ways"] else []),
        *(["Nothing that was tried makes it fit."] if not plan["memory"]["fits"] and not plan["ways"] else []),
        "\n".join(
            [
                f"- model: `{model['name']}` ({model['source']}), {_count(model['parameters'])} parameters{trained}, "
                f"weights in {model['dtype']}, matrix products in {model['compute']}",
                f"- devices: {devices['count']} x {devices['kind']} ({devices['peak_tflops']:g} TFLOP/s at that type, "
                f"{devices['bandwidth_gb_s']:g} GB/s), parallel: {devices['parallel']}, sampling: {devices['engine']}",
                f"- episodes ({lengths['source']}): {lengths['turns']:.1f} turns, {lengths['tokens']:.0f} tokens, "
                f"{percent(lengths['policy_share'])} of them the policy's; longest {lengths['longest']} tokens; "
                f"{lengths['episodes_per_device']} at once on a device",
            ]
        ),
        "## Memory, GiB per device",
        table(["part", *moments], memory_rows),
        "; ".join(f"{moment}: {_DEFINITIONS[moment]}" for moment in moments) + ".",
        "## Seconds a step",
        table(["part", "estimated", "measured"], seconds_rows),
        f"A step samples {_count(step['sampled_tokens'])} tokens and trains on {_count(step['trained_tokens'])} "
        f"(padding included): {step['training_tflop']:.3g} TFLOP, {percent(step['share_of_peak'])} of the peak in that "
        f"time.",
        "## The whole run",
        table(["part", "time"], [*([name, clock(value)] for name, value in run.items()),
                                 ["**together**", f"**{clock(sum(run.values()))}**"]]),
        "## Disk",
        table(["part", "size"], [*([name, _gb(size)] for name, size in stored["gb"].items()),
                                 ["**together**", f"**{_gb(sum(stored['gb'].values()))}**"]]),
        f"{stored['checkpoints']} policies are written down, {stored['kept']} of them are kept.",
        "## Notes",
        "\n".join(f"- {note}" for note in [*plan["notes"], "Formulas, and what confirms them: docs/scaling.md."]),
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def clock(seconds: float) -> str:
    """3725.0 -> "1.0 h"; 90.0 -> "1.5 min"; 9.87 -> "9.9 s"."""
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:.1f} days"
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def _parts(plan: Mapping[str, Any]) -> list[str]:
    """Parts of all moments, in the order in which they first stand."""
    names = [part for parts in plan["memory"]["gib"].values() for part in parts]
    rest = [name for name in dict.fromkeys(names) if name not in ("context and fragmentation", "process and workers")]
    return [*rest, *(name for name in dict.fromkeys(names) if name not in rest)]


def _seconds(plan: Mapping[str, Any]) -> list[tuple[str, float, float | None]]:
    step = plan["step"]
    measured = step["measured"] or {}
    rows = [(name, seconds, measured.get(name)) for name, seconds in step["seconds"].items()]
    return [*rows, ("together", step["total"], step["measured_total"])]


def _kind(plan: Mapping[str, Any]) -> str:
    return "process" if plan["devices"]["kind"] == "cpu" else "GPU"


def _count(number: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f} {name}"
    return f"{number:.0f}"


def _gb(size: float) -> str:
    return f"{size:.1f} GB" if size >= 1 else f"{1000 * size:.0f} MB"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
