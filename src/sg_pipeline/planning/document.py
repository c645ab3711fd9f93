"""The plan in words: a table for the log, and plan.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sg_pipeline.planning.memory import ALLOCATOR, PROCESS, WORKERS
from sg_pipeline.reporting.text import NONE, percent, table

_DEFINITIONS = {
    "sampling": "the rollout's last turn",
    "training": "the largest micro-batch",
    "evaluation": "the last turn of a batch of games",
}


_WATCHED = {
    "environments": "environments' processes",
    "sampling_reserved": "sampling, held by the allocator",
    "training_reserved": "training, held by the allocator",
}
"""Names of peaks in words; the others are their own."""
_SHOWN = 0.005
"""Of seconds and GiB, what is told as 0.01 at least."""


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
    lines.append(f"{'seconds a step':34}" + "".join(f"{head:>10}" for head in _heads(plan)))
    lines += [f"  {name:32}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in _seconds(plan)]
    if plan["comparison"]:
        lines.append(f"{'peak memory of a step, GiB':34}" + "".join(f"{head:>10}" for head in _heads(plan)))
        lines += [f"  {name:32}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in _peaks(plan)]
        lines += [f"  {sentence}" for sentence in _told(plan)]
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
        table(["part", *_heads(plan)], _seconds(plan)),
        f"A step samples {_count(step['sampled_tokens'])} tokens and trains on {_count(step['trained_tokens'])} "
        f"(padding included): {step['training_tflop']:.3g} TFLOP, {percent(step['share_of_peak'])} of the peak in that "
        f"time.",
        *(_measured_sections(plan) if plan["comparison"] else []),
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
    rest = [name for name in dict.fromkeys(names) if name not in (PROCESS, WORKERS, ALLOCATOR)]
    return [*rest, *(name for name in dict.fromkeys(names) if name not in rest)]


def _heads(plan: Mapping[str, Any]) -> list[str]:
    return ["predicted", "measured", "ratio"] if plan["comparison"] else ["estimated"]


def _seconds(plan: Mapping[str, Any]) -> list[list[str]]:
    """Seconds of a step by part, as cells under `_heads`."""
    if plan["comparison"]:
        return [[name, *_against(pair)] for name, pair in plan["comparison"]["seconds"].items()]
    step = plan["step"]
    return [[name, f"{seconds:.2f}"] for name, seconds in {**step["seconds"], "together": step["total"]}.items()]


def _peaks(plan: Mapping[str, Any]) -> list[list[str]]:
    """Peak memory of a step by what was watched, as cells under `_heads`."""
    return [[_WATCHED.get(name, name), *_against(pair)] for name, pair in plan["comparison"]["gib"].items()]


def _against(pair: Mapping[str, float | None]) -> list[str]:
    """Predicted, measured, and how many times too much was predicted; no ratio of what does not show."""
    predicted, measured = pair["predicted"], pair["measured"]
    ratio = predicted / measured if predicted and measured and measured >= _SHOWN else None
    return [NONE if value is None else f"{value:.2f}" for value in (predicted, measured, ratio)]


def _told(plan: Mapping[str, Any]) -> list[str]:
    """What is compared, in sentences."""
    told, steps = plan["comparison"]["foretold"], plan["comparison"]["steps"]
    return [
        f"Measured in {steps} step{'s' if steps > 1 else ''}: mean seconds (the first step imports libraries), largest "
        f"peak.",
        f"Predicted from the lengths of their episodes; by the assumed ones the plan said {told['seconds']:.2f} s and "
        f"{told['gib']:.2f} GiB.",
    ]


def _measured_sections(plan: Mapping[str, Any]) -> list[str]:
    return [
        "## Peak memory of a step, GiB",
        table(["part", *_heads(plan)], _peaks(plan)),
        " ".join(_told(plan)),
    ]


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
