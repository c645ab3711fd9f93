"""Checks at the start of a run: the world size, and unused GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError, RankError

if TYPE_CHECKING:
    import torch


def check_world(ranks: int | None, processes: int | None, starts_runs: bool) -> None:
    """Check the world size: `accelerate launch --cpu --num_processes 2`, for one, starts only one process.

    Args:
        ranks: value of `distributed.ranks`.
        processes: value of `run.processes`, which a launcher overrides.
        starts_runs: the pipeline starts runs in separate processes.

    Raises:
        RankError: the number of processes differs.
        ConfigurationError: the pipeline must run in one process.
    """
    size = world().size
    if processes is not None and processes > size == 1 and not starts_runs:
        raise RankError(
            f"run.processes is {processes}, but only the command `kedro run` can start further processes: set it to 1, "
            f"or use torchrun --nproc_per_node {processes}"
        )
    if ranks is not None and ranks != size:
        raise RankError(
            f"distributed.ranks is {ranks}, but {size} {'process shares' if size == 1 else 'processes share'} this "
            f"run: start it with torchrun --nproc_per_node {ranks} (over all machines), or with accelerate launch and "
            f"a --config_file whose distributed_type is not NO"
        )
    if starts_runs and size > 1:
        raise ConfigurationError(
            f"the study, the sweep and the plan start runs in separate processes, but {size} processes were "
            f"started: call kedro without torchrun or accelerate launch"
        )


def unused_gpus(device: torch.device) -> str:
    """Return a hint about GPUs that a run on `device` does not use; "" if it uses all."""
    if device.type != "cuda" or not world().alone:
        return ""
    import torch

    seen = torch.cuda.device_count()
    if seen < 2:
        return ""
    return f"; it uses 1 of {seen} GPUs, torchrun --nproc_per_node {seen} -m kedro run … all of them"
