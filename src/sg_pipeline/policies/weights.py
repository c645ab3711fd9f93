"""A policy's weights by their names in a checkpoint, for engines that hold a copy of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from sg_pipeline.policies.policy import Policy

_OUTPUT = "lm_head.weight"
_ADAPTED = "base_model.model."
"""Prefix that PEFT adds to every name of the wrapped model."""


def named_weights(policy: Policy, *, adapters: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every weight as (name in a checkpoint, tensor), with adapters merged.

    Without `adapters` the weights are those of the base model.
    The policy is not changed: a merged weight is a separate float32 tensor, created when it is yielded. In a type of
    lower precision most of the difference would be lost: it is less than half the distance to the next number. An
    output layer that is tied to the input embedding is named like one that is not, so that an engine may separate the
    two.
    Sharded weights (DTensor) are gathered: then every rank must iterate over all of them.
    """
    model: Any = policy.model
    names = set()
    for name, weight in _merged(model, adapters) if hasattr(model, "peft_config") else model.state_dict().items():
        names.add(name)
        yield name, _whole(weight.detach())
    if _OUTPUT not in names and getattr(plain_model(policy).config, "tie_word_embeddings", False):
        yield _OUTPUT, _whole(model.get_input_embeddings().weight.detach())


def plain_model(policy: Policy) -> Any:
    """Return the transformers model: the one wrapped by PEFT, or the policy's model."""
    model: Any = policy.model
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _merged(model: Any, adapters: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights of a PEFT model, with the difference of its active adapters added if `adapters`."""
    layers = {name: layer for name, layer in model.named_modules() if hasattr(layer, "get_delta_weight")}
    for name, weight in model.state_dict().items():
        if ".lora_" in name or ".original_module." in name:
            continue
        owner, _, leaf = name.rpartition(".")
        layer = layers.get(owner.removesuffix(".base_layer"))
        if adapters and layer is not None and leaf == "weight" and not layer.merged:
            for adapter in layer.active_adapters:
                if adapter in layer.scaling:
                    weight = weight.float() + layer.get_delta_weight(adapter).float()  # noqa: PLW2901
        yield _plain_name(name), weight


def _plain_name(name: str) -> str:
    """Return a weight's name before PEFT: "base_model.model.lm_head.base_layer.weight" -> "lm_head.weight"."""
    name = name.removeprefix(_ADAPTED).replace(".base_layer.", ".")
    before, saved, after = name.partition(".modules_to_save.")
    return f"{before}.{after.partition('.')[2]}" if saved else name


def _whole(weight: torch.Tensor) -> torch.Tensor:
    gathered: torch.Tensor = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    return gathered
