"""What a vLLM server gets from a policy: its configuration, its weights and its LoRA adapters, as files."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import GO_ON, ConfigurationError, SamplingError
from sg_pipeline.policies.weights import named_weights, plain_model

if TYPE_CHECKING:
    import torch

    from sg_pipeline.config.sampling import VllmConfig
    from sg_pipeline.policies.policy import Policy

_WITHOUT_EFFECT = re.compile(
    r"_.*|use_cache|.*_token_ids?|.*(dropout|pdrop|drop_path|layerdrop|aux_loss|z_loss).*|initializer_.*|init_(xavier_)?std|"
    r"output_(attentions|hidden_states|router_logits)|architectures|(torch_)?dtype|tie_word_embeddings|"
    r"transformers_version|return_dict|id2label|label2id|problem_type"
)
"""Entries of a model's configuration that do not change what an engine computes from given tokens and weights: labels,
special tokens, settings of training, what a server gets in another way (`write_configuration`). Libraries change them
during a run: TRL the padding token, a trainer `use_cache`. Every other entry counts, known here or not."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that vLLM can reserve memory for (`vllm.config.lora.MaxLoRARanks`)."""
_SHARD_BYTES = 2 * 2**30
"""Size of a file of weights, which bounds the host's memory."""


def dtype_of(policy: Policy, config: VllmConfig) -> str:
    """Return the number type in which an engine for the policy computes, by torch's name."""
    if config.dtype != "auto":
        return config.dtype
    return "bfloat16" if policy.compute == "bfloat16" else str(policy.model.dtype).removeprefix("torch.")


def computed(configuration: Any) -> Any:
    """Return the entries of a configuration, nested ones included, that change what an engine computes."""
    if not isinstance(configuration, dict):
        return configuration
    return {name: computed(value) for name, value in configuration.items() if not _WITHOUT_EFFECT.fullmatch(str(name))}


def write_configuration(policy: Policy, folder: Path) -> str:
    """Write the model's configuration for vLLM, with a separate output layer; return the name of the architecture.

    The name is that of the class that was loaded, which determines the names of the weights: the language model alone
    where the checkpoint belongs to a vision-language model. Classes made from it at run time (by FSDP) do not count.

    A tied output layer would silently keep its old weights when float32 weights are reloaded on a CPU, where vLLM 0.32
    packs them. An untied one costs a second table of the vocabulary and is always right.
    """
    model = plain_model(policy)
    configuration = copy.deepcopy(model.config)
    configuration.tie_word_embeddings = False
    published = (kind for kind in type(model).__mro__ if kind.__module__.startswith("transformers"))
    name = next(published, type(model)).__name__
    configuration.architectures = [name]
    configuration.save_pretrained(folder)
    return name


def exchange_folder(parent: str | Path | None) -> TemporaryDirectory[str]:
    """Create a folder for weights in `parent` (None: the system's folder for temporary files)."""
    try:
        folder = TemporaryDirectory(prefix="sg_weights_", dir=parent, ignore_cleanup_errors=True)
        Path(folder.name).chmod(0o755)  # the server may belong to another user
        return folder
    except OSError as error:
        raise SamplingError(
            f"sampling.server.weights is {str(parent)!r}, which is not writable ({error.strerror}): set it to a folder "
            f"that this run and the vLLM server see by the same path"
        ) from error


def write_weights(policy: Policy, folder: Path, dtype: str, *, adapters: bool = True) -> None:
    """Write the policy's weights (`named_weights`) as safetensors to a new folder.

    A matrix is rounded here if the server computes in a shorter type (`dtype`), as the server would do: half the bytes.

    Raises:
        SamplingError: the disk is full, or the parent folder no longer exists.
    """
    import torch
    from safetensors.torch import save_file

    rounded: torch.dtype = getattr(torch, dtype)
    shard: dict[str, torch.Tensor] = {}
    count = 0

    def write_shard() -> None:
        save_file(shard, folder / f"model-{count:05d}.safetensors")
        shard.clear()

    try:
        folder.mkdir()
        with torch.no_grad():
            for name, weight in named_weights(policy, adapters=adapters):
                shorter = weight.ndim > 1 and weight.is_floating_point() and rounded.itemsize < weight.itemsize
                shard[name] = weight.to("cpu", rounded if shorter else weight.dtype).contiguous().clone()
                if sum(one.nbytes for one in shard.values()) >= _SHARD_BYTES:
                    write_shard()
                    count += 1
        write_shard()
    except OSError as error:
        raise SamplingError(
            f"the weights of step {policy.step} cannot be written to {folder.parent} ({error.strerror or error}): free "
            f"space there, or set sampling.server.weights to another folder, then {GO_ON}"
        ) from error


def adapter_room(policy: Policy, config: VllmConfig, dtype: str) -> int | None:
    """Return the rank for which an engine of type `dtype` must reserve memory; None if it gets merged weights.

    Adapters that are sent separately leave the base weights in place: an update sends the adapters alone.

    Raises:
        ConfigurationError: vLLM does not take these adapters separately.
    """
    found: dict[str, Any] = getattr(policy.model, "peft_config", {})
    if not config.separate(dtype) or (config.adapters == "auto" and not found):
        return None
    instead = "set sampling.vllm.adapters to 'merged' and sampling.vllm.dtype to float32"
    sent = f"sampling.vllm.adapters is '{config.adapters}' at dtype {dtype}, so adapters are sent separately"
    if len(found) != 1:
        raise ConfigurationError(
            f"{sent}, but the policy {policy.name} has {len(found)} sets of adapters instead of one: train by adapters "
            f"(base_model.lora), or {instead}"
        )
    (adapters,) = found.values()
    others = {name: getattr(adapters, name, None) for name in ("modules_to_save", "use_dora", "lora_bias")}
    if unfit := ", ".join(f"{name}={value}" for name, value in others.items() if value):
        raise ConfigurationError(f"{sent}, but vLLM takes adapters with {unfit} only merged: {instead}")
    rank = max([adapters.r, *(getattr(adapters, "rank_pattern", None) or {}).values()])
    if rank > _RANKS[-1]:
        raise ConfigurationError(
            f"{sent}, but base_model.lora.rank is {rank}, and vLLM takes at most {_RANKS[-1]}: lower it, or {instead}"
        )
    return next(size for size in _RANKS if size >= rank)


def adapter_matrices(policy: Policy, dtype: str) -> Iterator[torch.Tensor]:
    """Yield the adapters' matrices as vLLM stores them: rounded to `dtype`, the second one scaled."""
    import torch

    model: Any = policy.model
    for module in model.modules():
        for name in getattr(module, "lora_A", ()):
            yield module.lora_A[name].weight
            yield module.lora_B[name].weight.detach().to(getattr(torch, dtype)) * module.scaling[name]
