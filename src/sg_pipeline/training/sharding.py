"""Training on shards (FSDP2) next to a whole policy that samples.

    live policy, whole on every rank ─► sharded copy ─► training: weights, gradients, AdamW's memory in n parts
             ▲                                                │
             └──────────── weights, gathered ◄────────────────┘

A sharded model gathers its weights in every forward pass, all ranks together: ranks that sample episodes of unequal
length would wait for each other forever. So the live policy stays whole, and the sharded copy lives for one training
step; between the steps only AdamW's memory stays in parts. A rank holds P weights for sampling and 4 P / n numbers for
training, where DDP holds 4 P in all. While the copy is being made, it exists once more as a whole.

The sharding is torch's own `fully_shard`, on whatever device the model is; transformers' Trainer takes the model for
one that came sharded, and leaves it alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from sg_pipeline.distributed.strategy import is_sharded
from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

    from sg_pipeline.policies.policy import Policy


def learning_copy(policy: Policy) -> Policy:
    """Return the policy whose model is trained: `policy` itself, or one with a sharded copy of its model."""
    return replace(policy, model=sharded_copy(policy.model)) if is_sharded() else policy


def hand_back(learned: Policy, live: Policy) -> None:
    """Give the live policy what its copy has learned; AdamW's memory in parts."""
    if learned is not live:
        gather_weights(learned.model, live.model)
        for field in fields(learned):
            if field.name != "model":
                setattr(live, field.name, getattr(learned, field.name))


def sharded_copy(model: Any) -> Any:
    """Return a copy of a causal language model, each layer of which is gathered when it computes, and no sooner.

    Raises:
        ConfigurationError: the model carries adapters.
    """
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel) or getattr(model, "_hf_peft_config_loaded", False):
        raise ConfigurationError(
            "distributed.strategy is 'fsdp2', but the policy is trained through adapters, which are too small to be "
            "sharded: set distributed.strategy to 'ddp', or start with conf/accelerate/ddp.yaml"
        )
    mesh = init_device_mesh(model.device.type, (dist.get_world_size(),))
    shards: Any = copy.deepcopy(model)
    for layer in _layers(shards):
        fully_shard(layer, mesh=mesh)
    # Embeddings, the last norm and the output layer, which may share its weights with the first.
    fully_shard(shards, mesh=mesh)
    shards._is_distributed_loading_by_transformers = True
    shards._is_fsdp_managed_module = True
    return shards


def gather_weights(shards: Any, model: Any) -> None:
    """Copy the weights of a sharded model to a whole one; every rank takes part and gets all of them."""
    import torch

    whole = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in shards.named_parameters():
            whole[name].copy_(parameter.full_tensor())


def placed_like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return `value` in the parts and on the device of `parameter`; whole tensors are there on every rank."""
    if not _is_shard(parameter):
        return value.to(parameter.device)
    if _is_shard(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    like: Any = parameter
    whole = value.to(parameter.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def whole_state(state: Mapping[str, torch.Tensor] | None, *, keep: bool) -> dict[str, torch.Tensor] | None:
    """Return AdamW's memory in whole tensors on the CPU; every rank takes part.

    Args:
        state: of a policy, in parts or whole.
        keep: this rank wants it; others get none, so that it is in memory once.
    """
    if state is None or not any(_is_shard(value) for value in state.values()):
        return None if state is None else dict(state)
    gathered = {}
    for name, value in state.items():
        part: Any = value
        whole = part.full_tensor() if _is_shard(value) else value
        if keep:
            gathered[name] = whole.cpu()
    return gathered or None


def _is_shard(value: Any) -> bool:
    # Without an import of torch.distributed.tensor in runs that have none.
    return hasattr(value, "full_tensor")


def _layers(model: Any) -> list[Any]:
    """Return the transformer's layers, as the model itself says what must not be split."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise ConfigurationError(
            f"distributed.strategy is 'fsdp2', but {type(model).__name__} does not say what its layers are "
            f"(_no_split_modules): set distributed.strategy to 'ddp'"
        )
    return layers
