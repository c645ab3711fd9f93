"""A vLLM engine of one's own among the processes that share a run (`distributed.world`).

vLLM makes its groups of whatever world torch knows: among several ranks its start would be an exchange that all of them
must take part in at the same time, and its end would close the ranks' own connection. Here every engine is made in a
world of one, with groups that hold this process alone. No rank waits for another one's engine, neither at its start
nor in a forward pass, and an engine that does not start on one rank fails there as anything else does.

`distributed_executor_backend="external_launcher"`, as TRL uses it, starts together, and hangs when one rank cannot.

Source: vLLM 0.32, `distributed/parallel_state.py` and `v1/executor/uniproc_executor.py`. Untested on a GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sg_pipeline.distributed.world import world


@contextlib.contextmanager
def in_a_world_of_one() -> Iterator[None]:
    """Let vLLM believe that this process is the only one, while it makes its groups or gives them up.

    It asks `torch.distributed` for them; what torch, accelerate and DDP have been given before is not touched.
    """
    here = world()
    if not here.opened:
        yield
        return
    import torch.distributed as dist

    def get_rank(group: Any = None) -> int:
        return 0 if group is None else true["get_rank"](group)

    def get_world_size(group: Any = None) -> int:
        return 1 if group is None else true["get_world_size"](group)

    def new_group(ranks: Any = None, **options: Any) -> Any:
        return true["new_group"]([here.rank], use_local_synchronization=True, **options)

    def destroy_process_group(group: Any = None) -> None:
        if group is not None:  # None is the world: the ranks still need it
            true["destroy_process_group"](group)

    believed: tuple[Callable[..., Any], ...] = (get_rank, get_world_size, new_group, destroy_process_group)
    true: dict[str, Callable[..., Any]] = {one.__name__: getattr(dist, one.__name__) for one in believed}
    try:
        for function in believed:
            setattr(dist, function.__name__, function)
        yield
    finally:
        for name, function in true.items():
            setattr(dist, name, function)


def compile_apart() -> None:
    """Let this rank keep its compiled graphs in a folder of its own: vLLM names them by its rank, which is 0 in all."""
    here = world()
    if here.first:
        return
    from vllm import envs

    name, root = f"rank_{here.rank}", Path(envs.VLLM_CACHE_ROOT)
    if root.name != name:  # another engine before this one
        os.environ["VLLM_CACHE_ROOT"] = str(root / name)


def executor_on(gpu: int) -> type[Any]:
    """Return vLLM's executor of one process, on the GPU of this number: the policy's, where its own would take 0."""
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    class OneGpuExecutor(UniProcExecutor):
        def _distributed_args(self) -> tuple[str, int, int]:
            method, rank, _ = super()._distributed_args()
            return method, rank, gpu

    return OneGpuExecutor
