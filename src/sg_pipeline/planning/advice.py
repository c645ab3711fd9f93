"""What would make a run fit, found by trying: single changes first, then two and three together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sg_pipeline.planning import vllm
from sg_pipeline.planning.case import Case
from sg_pipeline.planning.memory import memory
from sg_pipeline.planning.seconds import step_time

VLLM_SHARES = (0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
"""Of a GPU's memory, that vLLM may take."""
SHOWN = 6
"""Ways that are told."""


@dataclass(frozen=True, slots=True)
class Change:
    """Parameters that may be changed together.

    Attributes:
        values: parameter -> value.
        note: what it costs, or what it needs.
        here: whether these devices and an installation without extras can do it.
    """

    values: dict[str, Any]
    note: str = ""
    here: bool = True


@dataclass(frozen=True, slots=True)
class Way:
    """Changes with which the run fits.

    Attributes:
        changes: made together.
        peak: bytes of a device then.
        seconds: of a step then.
        per_trajectory: seconds of a step then / its trajectories.
    """

    changes: tuple[Change, ...]
    peak: int
    seconds: float
    per_trajectory: float

    @property
    def values(self) -> dict[str, Any]:
        """All parameters that change."""
        return {name: value for change in self.changes for name, value in change.values.items()}

    @property
    def here(self) -> bool:
        """Whether these devices and an installation without extras can do all of it."""
        return all(change.here for change in self.changes)


def ways_to_fit(case: Case) -> list[Way]:
    """Return sets of up to three changes with which `case` fits: of what can be done here, then of what needs more.

    No set holds more than it needs, and of changes of the same parameters the mildest is taken. What costs the least
    time a trajectory comes first.
    """
    options = list(_changes(case))
    found: list[Way] = []
    known: list[frozenset[str]] = []
    for here in (True, False):
        usable = [option for option in options if option.here or not here]
        ways: dict[frozenset[str], Way] = {}
        for size in (1, 2, 3):
            for chosen in combinations(usable, size):
                kind = frozenset(name for change in chosen for name in _kinds(change))
                if all(change.here for change in chosen) != here or any(smaller <= kind for smaller in known):
                    continue
                if way := _try(case, chosen):
                    ways[kind] = way
                    known.append(kind)
            if len(ways) >= SHOWN // 2:
                break
        found += sorted(ways.values(), key=lambda way: way.per_trajectory)[: SHOWN // 2]
    return found


def _kinds(change: Change) -> list[str]:
    """What a change is a stronger or milder form of."""
    return [f"{name}={value}" if isinstance(value, str) else name for name, value in change.values.items()]


def _try(case: Case, chosen: tuple[Change, ...]) -> Way | None:
    names = [name for change in chosen for name in change.values]
    if len(set(names)) < len(names):
        return None
    other = case.changed({name: value for change in chosen for name, value in change.values.items()})
    held = memory(other)
    if not held.fits or (other.plan.engine == "vllm" and not vllm.trajectories(other, other.rollout.max_length)):
        return None
    seconds = step_time(other).total
    return Way(chosen, held.peak, seconds, seconds / (other.rollout.tasks_per_step * other.rollout.group_size))


def _changes(case: Case) -> Iterator[Change]:
    """Yield what may be tried; of a value that can be lowered in steps, every step."""
    yield from _smaller(case)
    if case.dtype == "float32" and case.base_model.source == "pretrained":
        yield Change({"base_model.dtype": "bfloat16"}, "small updates are lost in bfloat16 weights")
    if case.has_reference:
        yield Change({"train.beta": 0.0}, "no reference, no KL term")
    if not case.device.is_gpu:
        return
    plan = case.plan
    if plan.lora_rank == 0:
        yield Change({"plan.lora_rank": 16}, "adapters: the extra lora", here=False)
    yield from _vllm(case)
    for parallel in ("ddp", "fsdp"):
        for count in (2, 4, 8):
            if plan.parallel != parallel or count > plan.devices.count:
                note = f"accelerate launch, conf/accelerate/{'ddp' if parallel == 'ddp' else 'fsdp2'}.yaml"
                yield Change({"plan.parallel": parallel, "plan.devices.count": count}, note, here=False)


def _vllm(case: Case) -> Iterator[Change]:
    """Yield what an engine with a cache of its own can do: be used, take less of the GPU, keep shorter numbers."""
    plan = case.plan
    if plan.engine == "transformers":
        for share in VLLM_SHARES:
            values = {"plan.engine": "vllm", "plan.vllm.gpu_memory_utilization": share}
            yield Change(values, "a paged cache: the extra vllm", here=False)
    if plan.engine == "vllm":
        for share in VLLM_SHARES:
            if share < plan.vllm.gpu_memory_utilization:
                yield Change({"plan.vllm.gpu_memory_utilization": share}, "fewer trajectories at once, others wait")
        if vllm.dtype(case) == "float32":
            yield Change({"plan.vllm.dtype": "bfloat16"}, "its rounding is corrected for (train.sampler_correction)")


def _smaller(case: Case) -> Iterator[Change]:
    """Yield what can be lowered, mildest first."""
    train, rollout = case.train, case.rollout
    budget = train.micro_batch_tokens // 2
    while budget >= max(256, case.longest):
        yield Change({"train.micro_batch_tokens": budget})
        budget //= 2
    rows = case.at_once(case.episodes) // 2
    while case.plan.engine == "transformers" and rows >= rollout.group_size:
        yield Change({"rollout.rows": rows}, "episodes in waves: the same trajectories, sampled for longer")
        rows //= 2
    tasks = rollout.tasks_per_step // 2
    while tasks >= 1:
        values: dict[str, Any] = {"rollout.tasks_per_step": tasks}
        if train.minibatch > tasks * rollout.group_size:
            values["train.minibatch"] = tasks * rollout.group_size
        yield Change(values, "fewer groups a step")
        tasks //= 2
    rows = case.evaluated_rows // 2
    while rows >= 1:
        yield Change({"evaluate.batch_rows": rows}, "the evaluation takes longer")
        rows //= 2
    limit = rollout.max_new_tokens // 2
    while limit >= 2 * case.lengths.completion:
        yield Change({"rollout.max_new_tokens": limit}, "longer answers are cut")
        limit //= 2
