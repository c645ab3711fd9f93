"""LoRA: a frozen base model with small trainable matrices added to its linear maps (Hu et al. 2021), by PEFT.

    <folder>/  adapter_model.safetensors, adapter_config.json   as PEFT's `save_pretrained` writes them
               optimizer.safetensors                            AdamW's state for the adapters
               policy.json                                      the manifest, with `adapter`: the base and its digest

A checkpoint contains only the adapters; the base is read from its own path, and refused if its weights differ. PEFT
users can `PeftModel.from_pretrained(base, folder)` or `AutoPeftModelForCausalLM.from_pretrained(folder)`.

To get ordinary weights without PEFT (for vLLM or plain transformers):

    python -c "from sg_pipeline.policies.checkpoint import merge; merge('data/06_models/RUN/final', 'merged')"
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.policies.policy import AdapterBase, Policy, has_adapters
from sg_pipeline.randomness import derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def add_adapters(policy: Policy, config: LoraConfig, path: str, revision: str | None, seed: int) -> None:
    """Freeze the weights of `policy` and add adapters, which have no effect before they are trained.

    Args:
        policy: its model, which has no adapters yet, is wrapped by a `PeftModel`.
        config: of the adapters.
        path: folder or hub id of the weights, for the manifests of checkpoints.
        revision: of the hub id.
        seed: of the initial adapters; torch's global random state is restored afterwards.

    Raises:
        ConfigurationError: PEFT is not installed, or the model has no such modules.
    """
    import torch

    peft = _peft()
    model = policy.model
    policy.adapter_base = AdapterBase(path, revision, str(model.dtype).removeprefix("torch."), weights_digest(model))
    targets = config.target_modules if config.target_modules == "all-linear" else list(config.target_modules)
    wanted = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        bias="none",
    )
    # PEFT draws initial weights from the global generator and accepts no other.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "adapters", "weights"))
        try:
            with _no_future_warnings():
                policy.model = peft.get_peft_model(model, wanted, revision=revision)
        except ValueError as error:
            raise ConfigurationError(f"base_model.lora.target_modules: {error}") from error
    # The order of a set differs between processes, and with it the checkpoint's file.
    made: Any = policy.model
    made.peft_config["default"].target_modules = sorted(wanted.target_modules)
    made.peft_config["default"].base_model_name_or_path = path  # not the folder of a dequantised copy
    made.eval()


def check_rank(policy: Policy, config: LoraConfig, path: str) -> None:
    """Check that the adapters of `policy`, read from `path`, have the configured rank and scale.

    Raises:
        ConfigurationError: they have others.
    """
    model: Any = policy.model
    found = model.peft_config["default"]
    if (found.r, found.lora_alpha) != (config.rank, config.alpha):
        raise ConfigurationError(
            f"base_model.lora is rank {config.rank}, alpha {config.alpha:g}, but the base policy in '{path}' has "
            f"adapters of rank {found.r}, alpha {found.lora_alpha:g}: set it to these to train them further, or merge "
            f"them first (sg_pipeline.policies.checkpoint.merge)"
        )


def has_adapter_dropout(policy: Policy) -> bool:
    """Whether dropout of adapters makes the trained policy differ from the sampling policy."""
    model: Any = policy.model
    return has_adapters(policy) and any(config.lora_dropout > 0 for config in model.peft_config.values())


def save_adapters(policy: Policy, folder: Path) -> dict[str, Any]:
    """Write the adapters to `folder`; return their entry of the manifest."""
    import torch

    base = policy.adapter_base
    assert base is not None
    model: Any = policy.model
    weights = model.state_dict()
    if _is_rounded(policy):
        weights = {name: weight.to(torch.bfloat16) for name, weight in weights.items() if ".lora_" in name}
    model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False, state_dict=weights)
    # Before the first step the second factor of each product is zero.
    second = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
    entry = {**asdict(base), "neutral": not any(bool(torch.any(weight)) for weight in second)}
    if Path(base.path).exists():
        entry["path"] = os.path.relpath(base.path, folder)
    return entry


def put_adapters(policy: Policy, folder: Path, said: dict[str, Any], path: str) -> Policy:
    """Load the adapters in `folder` into their base.

    Args:
        policy: the base.
        folder: of the checkpoint.
        said: entry of the base in the folder's manifest.
        path: of the base that was found.

    Raises:
        CheckpointError: the base's weights are not those that the adapters were trained on.
        ConfigurationError: PEFT is not installed.
    """
    from transformers import AutoTokenizer

    peft = _peft()
    found = weights_digest(policy.model)
    if found != said["digest"]:
        raise CheckpointError(
            f"the adapters in '{folder}' were trained on other weights than those in '{path}': the latter have sha256 "
            f"{found[:12]}…, but the manifest has {said['digest'][:12]}…; restore that base model."
        )
    with _no_future_warnings():
        policy.model = peft.PeftModel.from_pretrained(policy.model, str(folder), is_trainable=True)
    policy.tokenizer = AutoTokenizer.from_pretrained(folder)
    policy.adapter_base = AdapterBase(path, said["revision"], said["dtype"], found)
    policy.optimizer_state = None
    policy.model.eval()
    return policy


def round_adapters(policy: Policy) -> None:
    """Round adapters in float32 to bfloat16, in place, so that their file is half as large; without adapters: nothing.

    For the end of a warm start: GRPO then trains on from the rounded values, in float32.
    """
    import torch

    for weight in _adapter_weights(policy):
        weight.data = weight.data.to(torch.bfloat16).to(weight.dtype)


def _is_rounded(policy: Policy) -> bool:
    """Whether bfloat16 represents the adapters exactly: only then are they written in it."""
    import torch

    return all(torch.equal(weight, weight.to(torch.bfloat16).to(weight.dtype)) for weight in _adapter_weights(policy))


def _adapter_weights(policy: Policy) -> list[Any]:
    return [weight for name, weight in policy.model.named_parameters() if ".lora_" in name]


def weights_digest(model: PreTrainedModel) -> str:
    """Return the sha256 of a model's weights, including names, types and shapes: about a second per gigabyte."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@contextmanager
def _no_future_warnings() -> Iterator[None]:
    """Suppress warnings about names of transformers that PEFT uses: a user cannot fix them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigurationError(
            f"adapters need the package peft, which is not installed ({error}): "
            f"pip install -c constraints.txt -e '.[lora]'"
        ) from error
    return peft
