"""LoRA adapters handed to a vLLM engine as they are: the base weights stay, a step sends the adapters alone.

vLLM reads adapters from a folder in PEFT's format, which is deleted once they are loaded. Each update has a separate
name: keys and values that were computed with other adapters are never found again, since vLLM's prefix cache goes by
the name (`_gen_lora_extra_hash_keys`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

    from sg_pipeline.config.sampling import VllmConfig
    from sg_pipeline.policies.policy import Policy

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""That vLLM has room for (`vllm.config.lora.MaxLoRARanks`)."""


def room(policy: Policy, config: VllmConfig, dtype: str) -> int | None:
    """Return the rank that an engine for `policy` must have room for; None where it gets merged weights.

    Args:
        policy: with adapters or without.
        config: which says how adapters are sent.
        dtype: that the engine computes in, as torch calls it.

    Raises:
        ConfigurationError: vLLM does not take these adapters alone.
    """
    configurations: dict[str, Any] = getattr(policy.model, "peft_config", {})
    if config.adapters != "separate" and not configurations:
        return None
    if not config.separate(dtype):
        return None
    instead = "set sampling.vllm.adapters to 'merged' and sampling.vllm.dtype to float32"
    sent = f"sampling.vllm.adapters is '{config.adapters}' at dtype {dtype}, so they are sent separately"
    if len(configurations) != 1:
        raise ConfigurationError(
            f"{sent}, but the policy {policy.name} has {len(configurations)} sets of adapters, one is wanted: train "
            f"by adapters (base_model.lora), or {instead}"
        )
    ((_, one),) = configurations.items()
    others = {name: getattr(one, name, None) for name in ("modules_to_save", "use_dora", "lora_bias")}
    if unfit := ", ".join(f"{name}={value}" for name, value in others.items() if value):
        raise ConfigurationError(f"{sent}, but vLLM takes adapters with {unfit} only merged: {instead}")
    rank = max([one.r, *(getattr(one, "rank_pattern", None) or {}).values()])
    if rank > _RANKS[-1]:
        raise ConfigurationError(
            f"{sent}, but base_model.lora.rank is {rank}, and vLLM takes at most {_RANKS[-1]}: lower it, or {instead}"
        )
    return next(size for size in _RANKS if size >= rank)


def matrices(policy: Policy, dtype: str) -> Iterator[torch.Tensor]:
    """Return the adapters' matrices as vLLM keeps them: rounded to `dtype`, the second one scaled."""
    import torch

    model: Any = policy.model
    for module in model.modules():
        for name in getattr(module, "lora_A", ()):
            yield module.lora_A[name].weight
            yield module.lora_B[name].weight.detach().to(getattr(torch, dtype)) * module.scaling[name]


def write_adapters(policy: Policy, folder: Path) -> None:
    """Write the policy's adapters to `folder` in PEFT's format."""
    model: Any = policy.model
    model.save_pretrained(folder, save_embedding_layers=False)
