"""The plan: everything that is shown of it, JSON-ready."""

from __future__ import annotations

from typing import Any

from sg_pipeline.planning import vllm
from sg_pipeline.planning.advice import Way, ways_to_fit
from sg_pipeline.planning.case import Case
from sg_pipeline.planning.comparison import RECORDED_AS, compare
from sg_pipeline.planning.config import IN_THE_RUN
from sg_pipeline.planning.disk import checkpoints, disk, kept
from sg_pipeline.planning.lengths import Recorded
from sg_pipeline.planning.memory import GIB, Memory, cache_at_most, memory
from sg_pipeline.planning.seconds import run_seconds, step_time


def build_plan(case: Case, run: str, recorded: Recorded | None = None) -> dict[str, Any]:
    """Return the plan of `case`.

    Args:
        case: the configuration.
        run: its name.
        recorded: the same run's own steps, whose seconds then count.

    Returns:
        JSON-ready: `run`; `model`; `devices`; `lengths`; `memory` (GiB by moment and part, `peak_gib`, `available_gib`,
        `fits`); `step` (seconds by part, estimated, and `measured` where there is something); `run_seconds`; `disk`
        (GB by part); `ways` (that would make it fit); `comparison` (see `comparison.compare`; None where the run has
        no steps); `notes`; `assumptions`.
    """
    held, estimated = memory(case), step_time(case)
    measured = None
    if recorded is not None:
        measured = {part: sum(recorded.seconds.get(name, 0.0) for name in names) for part, names in RECORDED_AS.items()}
    step = recorded.seconds["total"] if recorded is not None else estimated.total
    peak = case.device.peak(case.compute_dtype)
    training = measured["training"] if measured else estimated.parts["training"]
    return {
        "run": run,
        "model": {
            "name": case.shape.name,
            "source": case.shape.source,
            "parameters": case.shape.parameters,
            "trained": case.trainable,
            "dtype": case.dtype,
            "compute": case.compute_dtype,
        },
        "devices": {
            "kind": case.device.kind,
            "count": case.plan.devices.count,
            "parallel": case.plan.parallel,
            "engine": case.plan.engine,
            "peak_tflops": peak / 1e12,
            "bandwidth_gb_s": case.device.bandwidth,
        },
        "lengths": {
            "source": case.lengths.source,
            "turns": case.lengths.turns,
            "tokens": case.lengths.tokens(case.lengths.turns),
            "longest": case.longest,
            "policy_share": case.policy_share,
            "idle_share": case.lengths.idle_share,
            "episodes_per_device": case.episodes,
            "micro_batch_tokens": case.micro_tokens,
        },
        "memory": {
            "available_gib": held.available / GIB,
            "peak_gib": held.peak / GIB,
            "fits": held.fits,
            "moment": held.moment,
            "largest": held.largest,
            "gib": {
                moment: {part: size / GIB for part, size in parts.items()} for moment, parts in held.moments.items()
            },
            "cache_at_max_length_gib": cache_at_most(case) / GIB,
        },
        "step": {
            "seconds": estimated.parts,
            "total": estimated.total,
            "measured": measured,
            "measured_total": None if recorded is None else recorded.seconds["total"],
            "measured_steps": None if recorded is None else recorded.steps,
            "sampled_tokens": estimated.sampled * case.ranks,
            "trained_tokens": estimated.trained * case.ranks,
            "training_tflop": estimated.flops * case.ranks / 1e12,
            "share_of_peak": estimated.flops / training / peak if training else None,
        },
        "run_seconds": run_seconds(case, step),
        "disk": {
            "gb": {part: size / 1e9 for part, size in disk(case).items()},
            "checkpoints": checkpoints(case),
            "kept": len(kept(case)),
        },
        "ways": [] if held.fits else [_way(way) for way in ways_to_fit(case)],
        "comparison": None if recorded is None else compare(case, recorded),
        "notes": _notes(case, held),
        "assumptions": {
            "efficiency": case.plan.efficiency.model_dump(),
            "lengths": {name: getattr(case.lengths, name) for name in type(case.plan.lengths).model_fields},
        },
    }


def _way(way: Way) -> dict[str, Any]:
    return {
        "values": {IN_THE_RUN.get(name, name): value for name, value in way.values.items()},
        "peak_gib": way.peak / GIB,
        "seconds": way.seconds,
        "here": way.here,
        "notes": [change.note for change in way.changes if change.note],
    }


def _notes(case: Case, held: Memory) -> list[str]:
    """What the figures do not say themselves."""
    notes = []
    if case.plan.parallel != "none":
        file = {"ddp": "ddp", "fsdp": "fsdp2"}[case.plan.parallel]
        notes.append(
            f"{case.plan.devices.count} processes, one a device: accelerate launch --config_file "
            f"conf/accelerate/{file}.yaml --num_processes {case.plan.devices.count} -m kedro run …"
        )
    device = case.device
    if device.is_gpu and case.compute_dtype == "float32":
        notes.append(
            f"Matrix products are in float32, which this device does at {device.float32:g} of the "
            f"{device.bfloat16:g} TFLOP/s that it reaches in bfloat16."
        )
    if case.dtype != "float32" and case.plan.lora_rank == 0:
        notes.append(f"Weights and AdamW's memory are {case.dtype}: updates smaller than a 256th of a weight are lost.")
    if case.plan.engine == "vllm":
        beside = sum(vllm.engine_in_training(case).values())
        notes += vllm.complaints(case, sum(held.moments["training"].values()) - beside)
    if case.plan.engine == "vllm_server":
        notes.append(
            "The server's memory is not counted, and its seconds are those that it would take on these devices: what "
            "it has is not known here."
        )
    reach = cache_at_most(case)
    if case.plan.engine == "transformers" and reach > round(device.memory_gib * GIB):
        notes.append(
            f"The cache grows with the episodes: should all of them reach rollout.max_length "
            f"({case.rollout.max_length} tokens) it would take {reach / GIB:.0f} GiB, and the run would die of it."
        )
    if device.is_gpu:
        notes.append("Memory and estimated seconds of GPUs are computed; they have not been compared with a GPU yet.")
    return notes
