"""What is said of a training that has diverged, and how its weights show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def diverged(whose: str, what: str, rate: float) -> str:
    """Return the sentence.

    Args:
        whose: names the policy.
        what: is not finite, and where.
        rate: the learning rate.
    """
    return (
        f"the training of {whose} diverged: {what}; no checkpoint of it is written: lower the learning_rate "
        f"(now {rate:g}), or compute in float32 (base_model.dtype=float32, base_model.compute=weights)"
    )


def broken_weights(model: nn.Module) -> str | None:
    """Return what is wrong with the first trained weights that are not finite numbers; None where all are."""
    import torch

    for name, weights in model.named_parameters():
        if weights.requires_grad and not torch.isfinite(weights).all():
            return f"after the last update the weights '{name}' hold numbers that are not finite"
    return None
