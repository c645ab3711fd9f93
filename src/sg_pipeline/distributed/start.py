"""Whether the processes that are there are those that were asked for, and make use of what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError, RankError

if TYPE_CHECKING:
    import torch


def check_world(ranks: int | None, starts_runs: bool) -> None:
    """Refuse a world of another size than asked for: `accelerate launch --cpu --num_processes 2` starts one process.

    Args:
        ranks: as `distributed.ranks`.
        starts_runs: the pipeline starts runs as processes of its own.

    Raises:
        RankError: there are more or fewer processes.
        ConfigurationError: the pipeline is one process's work.
    """
    size = world().size
    if ranks is not None and ranks != size:
        raise RankError(
            f"distributed.ranks is {ranks}, but {size} {'process shares' if size == 1 else 'processes share'} this "
            f"run: start it with torchrun --nproc_per_node {ranks} (over all machines), or with accelerate launch and "
            f"a --config_file whose distributed_type is not NO"
        )
    if starts_runs and size > 1:
        raise ConfigurationError(
            f"the study, the sweep and the plan start runs as processes of their own, but {size} processes were "
            f"started: call kedro without torchrun or accelerate launch"
        )


def unused_gpus(device: torch.device) -> str:
    """Return what a user should know of GPUs that a run on `device` leaves alone; nothing where it uses all."""
    if device.type != "cuda" or not world().alone:
        return ""
    import torch

    seen = torch.cuda.device_count()
    if seen < 2:
        return ""
    return f"; it uses 1 of {seen} GPUs, torchrun --nproc_per_node {seen} -m kedro run … all of them"
