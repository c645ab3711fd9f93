"""What a vLLM engine in the run's own process takes of a device, and for how many trajectories that is enough.

On a GPU it reserves `sampling.vllm.gpu_memory_utilization` of all memory when it starts: weights first, keys and values
in what is left. On a CPU it takes weights and `sampling.vllm.cpu_cache_gib`. Trajectories whose keys and values do not
fit wait for others to end. Its output layer is never tied (docs/vllm.md), so its weights may be more than the policy's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sg_pipeline.planning.shape import BYTES

if TYPE_CHECKING:
    from sg_pipeline.planning.case import Case

GIB = 1024**3
WEIGHTS, CACHE = "vLLM's weights", "vLLM's keys and values"


def engine_beside(case: Case) -> dict[str, int]:
    """Return what the sampling engine takes from its start to its end, by part.

    Nothing where the policy's own model samples, or an engine in another process.
    """
    return {WEIGHTS: weights(case), CACHE: cache(case)} if case.plan.engine == "vllm" else {}


def engine_in_training(case: Case) -> dict[str, int]:
    """Return what the engine keeps while the policy is trained: everything, unless it sleeps meanwhile."""
    return {} if sleeps(case) else engine_beside(case)


def sleeps(case: Case) -> bool:
    """Whether the engine gives its memory up while the policy is trained (`sampling.vllm.sleep`, on a GPU)."""
    return case.device.is_gpu and case.plan.vllm.sleep


def dtype(case: Case) -> str:
    """Return the type in which the engine keeps weights, keys and values, and computes."""
    return case.compute_dtype if case.plan.vllm.dtype == "auto" else case.plan.vllm.dtype


def weights(case: Case) -> int:
    """Return the bytes of the engine's weights, an output layer of its own included."""
    shape = case.shape
    return (shape.parameters + (shape.head if shape.tied else 0)) * BYTES[dtype(case)]


def token_bytes(case: Case) -> int:
    """Return the bytes of one token's keys and values in all layers of the engine."""
    return 2 * case.shape.layers * case.shape.keys * BYTES[dtype(case)]


def cache(case: Case) -> int:
    """Return the bytes that are left for keys and values; 0 where the weights leave none."""
    if not case.device.is_gpu:
        return case.plan.vllm.cpu_cache_gib * GIB
    return max(0, reserved(case) - weights(case))


def reserved(case: Case) -> int:
    """Return the bytes of a GPU that the engine takes."""
    return round(case.plan.vllm.gpu_memory_utilization * case.device.memory_gib * GIB)


def trajectories(case: Case, length: int) -> int:
    """Return how many trajectories of so many tokens have their keys and values in the cache at once."""
    return cache(case) // (length * token_bytes(case))


def complaints(case: Case, training: int) -> list[str]:
    """Return in a sentence each what does not fit, or fits a part of the trajectories only.

    Args:
        case: of which `plan.engine` is "vllm".
        training: bytes of a device that a training step needs without the engine.
    """
    share = "sampling.vllm.gpu_memory_utilization" if case.device.is_gpu else "sampling.vllm.cpu_cache_gib"
    value = case.plan.vllm.gpu_memory_utilization if case.device.is_gpu else case.plan.vllm.cpu_cache_gib
    given = f"{share}={value:g}"
    one, longest = case.rollout.max_length * token_bytes(case), case.longest
    wanted, fit = case.episodes * longest * token_bytes(case), trajectories(case, longest)
    told = []
    if cache(case) < one:
        told.append(
            f"vLLM will not start: {given} is too little for its weights ({weights(case) / GIB:.1f} GiB in "
            f"{dtype(case)}) and the keys and values of one trajectory of rollout.max_length tokens "
            f"({one / GIB:.1f} GiB); {_value(case, one)} is the least that holds them."
        )
    elif fit < case.episodes:
        told.append(
            f"vLLM's cache ({given}: {cache(case) / GIB:.1f} GiB) holds {fit} of {case.episodes} trajectories of "
            f"{longest} tokens at once, and the others wait; {_value(case, wanted)} would hold all."
        )
    room = case.device.memory_gib * GIB - training
    if case.device.is_gpu and not sleeps(case) and reserved(case) > room:
        most = math.floor(100 * room / (case.device.memory_gib * GIB)) / 100
        least = math.ceil(100 * (weights(case) + one) / (case.device.memory_gib * GIB)) / 100
        way = (
            f"at most {most:g} leaves it that"
            if most >= least
            else f"no value does, since vLLM needs {least:g} at least"
        )
        told.append(
            f"Training does not fit beside vLLM: it needs {training / GIB:.1f} of {case.device.memory_gib:g} GiB, and "
            f"{given} takes {reserved(case) / GIB:.1f} GiB; {way}."
        )
    return told


def _value(case: Case, held: int) -> str:
    """Return the setting with which the cache is as large as `held`."""
    if not case.device.is_gpu:
        return f"{math.ceil(held / GIB)}"
    share = math.ceil(100 * (weights(case) + held) / (case.device.memory_gib * GIB)) / 100
    return f"{share:.2f}" if share <= 1 else "no share of this GPU"
