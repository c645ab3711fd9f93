"""LoRA: a frozen base model with small trainable matrices beside its linear maps (Hu et al. 2021), by PEFT.

    <folder>/  adapter_model.safetensors, adapter_config.json   as PEFT's `save_pretrained` writes them
               optimizer.safetensors                            AdamW's memory of the adapters
               policy.json                                      the manifest, with `adapter`: which base, its digest

A checkpoint holds the adapters alone; the base is read from where it lies, and refused when its weights are others. Any
user of PEFT can `PeftModel.from_pretrained(base, folder)` or `AutoPeftModelForCausalLM.from_pretrained(folder)`.

As ordinary weights, for whoever wants no PEFT (vLLM, transformers alone):

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
    """Freeze the weights of `policy` and give it adapters, which change nothing before they are trained.

    Args:
        policy: its model becomes a `PeftModel` around what it was.
        config: see there.
        path: folder or hub id that the weights were read from, for the checkpoints' manifests.
        revision: of the hub id.
        seed: decides the initial adapters; torch's global random state is as before afterwards.

    Raises:
        ConfigurationError: PEFT is not installed, or the model has no such modules.
    """
    import torch

    peft = _peft()
    model = policy.model
    if has_adapters(policy):
        raise ConfigurationError(
            f"base_model.lora is set, but the base policy in '{path}' has adapters already: leave it out to train "
            f"these on, or merge them first (sg_pipeline.policies.checkpoint.merge)"
        )
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
    # PEFT draws initial weights from the global generator, and there is no other way in.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "adapters", "weights"))
        try:
            with _no_future_warnings():
                policy.model = peft.get_peft_model(model, wanted, revision=revision)
        except ValueError as error:
            raise ConfigurationError(f"base_model.lora.target_modules: {error}") from error
    # A set's order would differ from process to process, and with it the checkpoint's file.
    made: Any = policy.model
    made.peft_config["default"].target_modules = sorted(wanted.target_modules)
    made.eval()


def has_adapter_dropout(policy: Policy) -> bool:
    """Whether dropout of its adapters makes the policy that is trained another one than the policy that samples."""
    model: Any = policy.model
    return has_adapters(policy) and any(config.lora_dropout > 0 for config in model.peft_config.values())


def save_adapters(policy: Policy, folder: Path) -> dict[str, Any]:
    """Write the adapters to `folder`; return what the manifest must say of them."""
    import torch

    base = policy.adapter_base
    assert base is not None
    model: Any = policy.model
    model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    # Before the first step the second factor of each product is zero.
    second = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
    entry = {**asdict(base), "neutral": not any(bool(torch.any(weight)) for weight in second)}
    if Path(base.path).is_dir():
        entry["path"] = os.path.relpath(base.path, folder)
    return entry


def put_adapters(policy: Policy, folder: Path, said: dict[str, Any], path: str) -> Policy:
    """Put the adapters in `folder` over their base.

    Args:
        policy: the base.
        folder: of the checkpoint.
        said: of the base, by the folder's manifest.
        path: where the base was found.

    Raises:
        CheckpointError: the base's weights are not those that the adapters were trained on.
        ConfigurationError: PEFT is not installed.
    """
    from transformers import AutoTokenizer

    peft = _peft()
    found = weights_digest(policy.model)
    if found != said["digest"]:
        raise CheckpointError(
            f"the adapters in '{folder}' were trained on other weights than those in '{path}': the sha256 of these is "
            f"{found[:12]}…, the manifest says {said['digest'][:12]}…; put that base model back."
        )
    with _no_future_warnings():
        policy.model = peft.PeftModel.from_pretrained(policy.model, str(folder), is_trainable=True)
    policy.tokenizer = AutoTokenizer.from_pretrained(folder)
    policy.adapter_base = AdapterBase(path, said["revision"], said["dtype"], found)
    policy.optimizer_state = None
    policy.model.eval()
    return policy


def weights_digest(model: PreTrainedModel) -> str:
    """Return the sha256 of a model's weights, names, types and shapes included: about a second for each gigabyte."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@contextmanager
def _no_future_warnings() -> Iterator[None]:
    """PEFT asks transformers by names that it will lose: nothing that a user could mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigurationError(
            f"adapters need the package peft, which is not installed ({error}): pip install 'sg_pipeline[lora]'"
        ) from error
    return peft
