"""LoRA adapters handed to a vLLM engine as they are: the base weights stay, a step sends the adapters alone.

vLLM reads adapters from a folder in PEFT's format, which is written beside the engine's configuration and is gone once
they are loaded. Each update has a name and a number of its own: keys and values that were computed with other adapters
are never found again, since vLLM's prefix cache goes by the name (`_gen_lora_extra_hash_keys`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy


def adapter_rank(policy: Policy) -> int:
    """Return the largest rank of the policy's adapters.

    Raises:
        ConfigurationError: it has none, or such as vLLM does not take unmerged.
    """
    configurations: dict[str, Any] = getattr(policy.model, "peft_config", {})
    if len(configurations) != 1:
        raise ConfigurationError(
            f"sampling.vllm.adapters is 'separate', but the policy {policy.name} has {len(configurations)} sets of "
            f"adapters, and one is wanted: train by adapters (base_model.lora), or set it to 'merged'"
        )
    ((_, one),) = configurations.items()
    others = {name: getattr(one, name, None) for name in ("modules_to_save", "use_dora", "lora_bias")}
    if unfit := {name: value for name, value in others.items() if value}:
        told = ", ".join(f"{name}={value}" for name, value in unfit.items())
        raise ConfigurationError(
            f"sampling.vllm.adapters is 'separate', but vLLM takes adapters with {told} only merged: set it to 'merged'"
        )
    return max([one.r, *(getattr(one, "rank_pattern", None) or {}).values()])


def engine_arguments(policy: Policy) -> dict[str, Any]:
    """Return what vLLM is told when it starts: room for one set of adapters of this rank.

    Raises:
        ConfigurationError: vLLM has no room for such a rank.
    """
    from vllm.config.lora import MaxLoRARanks

    rank, known = adapter_rank(policy), sorted(get_args(MaxLoRARanks))
    if rank > known[-1]:
        raise ConfigurationError(
            f"base_model.lora.rank is {rank}, but vLLM takes adapters of at most {known[-1]} unmerged: set "
            f"sampling.vllm.adapters to 'merged', or lower the rank"
        )
    room = next(size for size in known if size >= rank)
    return {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": room}


def hand_over(engine: Any, policy: Policy, number: int, folder: Path) -> Any:
    """Put the policy's adapters in the place of those that the engine has.

    Args:
        engine: `vllm.LLMEngine` with room for one set of adapters.
        policy: see `adapter_rank`.
        number: from 1, of no set of adapters that this engine has had before.
        folder: where the adapters lie while they are read.

    Returns:
        What every request must carry that is to be written with them.
    """
    from vllm.lora.request import LoRARequest

    for old in list(engine.list_loras()):
        engine.remove_lora(old)
    model: Any = policy.model
    with tempfile.TemporaryDirectory(prefix="adapters_", dir=folder) as written:
        model.save_pretrained(written, save_embedding_layers=False)
        request = LoRARequest(f"adapters-{number}", number, written)
        engine.add_lora(request)
    return request
