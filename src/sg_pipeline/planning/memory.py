"""Memory that a run needs at least, from the configuration of its model alone: no weights are read or downloaded.

With P parameters of b bytes, T of them trained with t bytes each:

    weights             P b
    reference           P b, where train.beta > 0 and the policy has no adapters
    gradients           T t
    AdamW's moments     2 T t
    keys and values     2 x layers x width of the key heads x bytes, for each token of each episode played at once

Frozen linear weights (the reference, a guide, the base of adapters) are kept in bfloat16 where the policy computes in
it; adapters are float32. With FSDP2 each of n processes trains an n-th of weights, gradients and moments ("shards"),
next to the whole policy, which samples. Activations, logits and libraries come on top, and on a CPU the copy of a small
model's matrices while it samples (`sampling/direct_forward.py`): a trial measures them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.base_model import BaseModelConfig, Compute, LoraConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import CheckpointError, ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GIB = 2**30
CACHE = "keys and values"


def needed_memory(given: Parameters, project: Path) -> dict[str, Any]:
    """Return the memory that one process of a run needs at least, JSON-ready.

    Returns:
        `model`, `parameters` and `trained` (counts), `dtype`, `gib` (by part), `training_gib` (all parts that a
        training step holds at once), `checkpoint_gib` (on disk), `cached_episodes`, `cached_tokens` (what the keys and
        values are counted for).

    Raises:
        ConfigurationError, CheckpointError: the model's configuration does not exist or cannot be read.
    """
    base, ranks = given.base_model, given.distributed.ranks or 1
    model = empty_model(base, project)
    count, size = model.num_parameters(), model.dtype.itemsize
    trained = count if base.lora is None else _adapter_parameters(model, base.lora)
    training = trained * (size if base.lora is None else 4)
    shards = ranks if given.distributed.strategy == "fsdp2" else 1
    parts = {
        "weights": count * size if base.lora is None else _frozen_bytes(model, base.compute) + training,
        "shards": training // shards if shards > 1 else 0,
        "reference": _frozen_bytes(model, base.compute) if given.train.beta > 0 and base.lora is None else 0,
        "guide": 0,
        "gradients": training // shards,
        "AdamW's moments": 2 * training // shards,
    }
    if given.rollout.guide is not None:
        guide = base.model_copy(update={"source": "checkpoint", "path": given.rollout.guide})
        parts["guide"] = _frozen_bytes(empty_model(guide, project), base.compute)
    needed = sum(parts.values())
    episodes = 0
    if given.sampling.engine == "transformers":  # others sample in processes of their own
        episodes, parts[CACHE] = _cache(model, given.rollout, base.compute, ranks)
    return {
        "model": base.path,
        "parameters": count,
        "trained": trained,
        "dtype": str(model.dtype).removeprefix("torch."),
        "gib": {name: part / GIB for name, part in parts.items() if part},
        "training_gib": needed / GIB,
        "checkpoint_gib": 3 * training / GIB,
        "cached_episodes": episodes,
        "cached_tokens": given.rollout.max_length,
    }


def free_memory(device: str) -> float | None:
    """Return the free memory of the device "cpu" or "cuda" in GiB; None: unknown, or there is no such device."""
    if device == "cpu":
        try:
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        except OSError:  # not Linux
            return None
        return next((int(line.split()[1]) * 1024 / GIB for line in lines if line.startswith("MemAvailable:")), None)
    import torch

    try:
        return torch.cuda.mem_get_info(device)[0] / GIB if torch.cuda.is_available() else None
    except RuntimeError:  # no GPU of this number
        return None


def empty_model(config: BaseModelConfig, project: Path) -> PreTrainedModel:
    """Return the base model on torch's meta device: its weights have shape and dtype, and take no memory.

    Raises:
        ConfigurationError: a warm start, which has no configuration yet.
        CheckpointError: there is no configuration, or it is not that of a causal language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if config.source == "warm_start":
        raise ConfigurationError(
            "base_model.source is 'warm_start', but a plan needs the configuration of a model that exists: make it "
            "first with --pipeline=base_model, then plan with base_model.source=checkpoint and its folder as "
            "base_model.path"
        )
    path, revision, wanted = _source(config, project)
    try:
        read = AutoConfig.from_pretrained(path, revision=revision, local_files_only=config.local_only)
        dtype = (read.dtype or torch.float32) if wanted == "auto" else getattr(torch, wanted)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(read, dtype=dtype)
    except Exception as error:  # transformers and huggingface_hub raise every kind
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise CheckpointError(f"the configuration of the model '{config.path}' cannot be read: {reason}") from error
    return model


def _source(config: BaseModelConfig, project: Path) -> tuple[str, str | None, str]:
    """Return (folder or hub id that has the configuration, revision, type of the weights)."""
    from sg_pipeline.policies.checkpoint import base_of_adapters, checkpoint_exists, read_manifest
    from sg_pipeline.policies.gguf import dequantised, gguf_file

    folder, path, revision, dtype = project / config.path, config.path, config.revision, config.dtype
    if config.source == "checkpoint":
        said = read_manifest(folder).get("adapter") if checkpoint_exists(folder) else None
        if said is None and not (folder / "config.json").is_file():
            raise CheckpointError(f"base_model.path is '{config.path}', but that folder has no config.json")
        if said is None:
            return str(folder), None, "auto"
        path, revision, dtype = base_of_adapters(folder, said), said["revision"], said["dtype"]
    if (file := gguf_file(path)) is not None:
        return str(dequantised(project / file)), None, dtype
    folder = project / path
    return (str(folder), None, dtype) if folder.is_dir() else (path, revision, dtype)


def _frozen_bytes(model: PreTrainedModel, compute: Compute) -> int:
    """Return the bytes of a model's weights where they are not trained. Freezes `model`, whose dtypes may change."""
    from sg_pipeline.policies.compute import shorten_frozen

    model.requires_grad_(False)
    if compute == "bfloat16":
        shorten_frozen(model)
    return sum(weight.nbytes for weight in model.parameters())


def _adapter_parameters(model: PreTrainedModel, lora: LoraConfig) -> int:
    """Return the number of adapter weights: rank x (inputs + outputs) of each adapted linear map (Hu et al. 2021)."""
    import torch

    head, names = model.get_output_embeddings(), lora.target_modules
    return sum(
        lora.rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and (module is not head if names == "all-linear" else name.rpartition(".")[2] in names)
    )


def _cache(model: PreTrainedModel, rollout: RolloutConfig, compute: Compute, ranks: int) -> tuple[int, int]:
    """Return (episodes that one process plays at once, bytes of their cache if all reach `rollout.max_length`)."""
    from sg_pipeline.sampling.kv_cache import row_bytes

    row = row_bytes(model, rollout.max_length, compute)
    groups = -(-rollout.tasks_per_step // ranks)
    limits = [rollout.rows, None if rollout.cache_gib is None else int(rollout.cache_gib * GIB / row)]
    for limit in filter(None, limits):
        groups = min(groups, max(1, limit // rollout.group_size))
    return groups * rollout.group_size, groups * rollout.group_size * row
