"""A step's training dealt out to the processes that share a run.

    plan of the step ─► own_part (rank r of n: micro-batches r, r + n, …) ─► gradients' mean, by DDP ─► the same weights

Each optimizer step covers the rows that it covers in one process; only which micro-batch a row is in may differ, which
shows in the rounding alone. What is measured stays on the process until the end: TRL gathers its metrics after each
micro-batch and takes equally many rows on every process for granted, which ours do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sg_pipeline.distributed.world import World, world
from sg_pipeline.training.experience import UpdatePlan, fill

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def own_part(plan: UpdatePlan, here: World) -> UpdatePlan:
    """Return this process's share of each optimizer step.

    Args:
        plan: of all processes.
        here: in a world of one process the plan stays as it is.

    Returns:
        A plan with the same optimizer steps, in each of them equally many micro-batches for every process. A step's
        micro-batches go by length, so every n-th of them is a fair share.
    """
    if here.alone:
        return plan
    width = plan.accumulation
    steps = [
        [micro for micro in plan.micro_batches[start : start + width] if not micro.filler]
        or [plan.micro_batches[start]]
        for start in range(0, len(plan.micro_batches), width)
    ]
    accumulation = max(-(-len(step) // here.size) for step in steps)
    own = [micro for step in steps for micro in fill(step, accumulation * here.size)[here.rank :: here.size]]
    return UpdatePlan(tuple(own), accumulation, plan.updates_per_pass)


@dataclass
class Measured:
    """What was measured in a process's micro-batches.

    Attributes:
        loss: sum of the micro-batches' losses.
        tokens: that were computed.
        sums: TRL's metrics, each times the tokens of its micro-batch.
        gaps: see `learner.TrainedStep`; tensors here.
    """

    loss: float
    tokens: int
    sums: dict[str, float]
    gaps: dict[int, torch.Tensor]


def of_all(own: Measured) -> Measured:
    """Return what all processes measured together; each one's loss was weighted for the mean that DDP takes."""
    if world().alone:
        return own
    parts = world().gather(own)
    return Measured(
        loss=sum(part.loss for part in parts) / len(parts),
        tokens=sum(part.tokens for part in parts),
        sums={name: sum(part.sums[name] for part in parts) for name in own.sums},
        gaps={row: gap for part in parts for row, gap in part.gaps.items()},
    )


def merged(own: dict[int, torch.Tensor], device: torch.device) -> dict[int, torch.Tensor]:
    """Return the rows' tensors that all processes hold together, on `device`.

    They travel by way of the CPU: a tensor of a GPU comes to lie on the GPU of that number, which is another process's.
    """
    if world().alone:
        return own
    parts = world().gather({row: tensor.cpu() for row, tensor in own.items()})
    return {row: tensor.to(device) for part in parts for row, tensor in part.items()}


@contextmanager
def metrics_of_its_own(accelerator: Any) -> Iterator[None]:
    """Let TRL's loss keep its metrics to this process."""
    if world().alone:
        yield
        return
    accelerator.gather = lambda tensor: tensor
    accelerator.reduce = lambda tensor, *_, **__: tensor
    try:
        yield
    finally:
        del accelerator.gather, accelerator.reduce


def through(model: Any, function: Callable[[Any], T]) -> T:
    """Return `function(bare model)`, called as `model`'s forward: there DDP and FSDP prepare weights and gradients.

    Args:
        model: as the trainer hands it to the loss; a bare one is called directly.
        function: evaluates the bare model.
    """
    bare = getattr(model, "module", model)
    if world().alone:
        return function(bare)
    kept = bare.__dict__.get("forward")
    bare.forward = lambda: function(bare)
    try:
        result: T = model()
    finally:
        if kept is None:
            del bare.forward
        else:
            bare.forward = kept
    return result
