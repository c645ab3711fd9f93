"""How far two computations of the same numbers may differ on any processor.

Sums in another order, fused operations and other vector units round differently. The bounds follow from the arithmetic
and are relative to the size of what is compared; none of them is a value measured on one machine.
"""

from collections.abc import Iterable

import torch

Tensors = Iterable[torch.Tensor]

LOGP = 1e-4
"""Absolute bound of a float32 log-probability: logits of the order of 10, each with a few hundred roundings of 6e-8."""

GRADIENT = 1e-4
"""Bound of `relative_difference` between two float32 gradients, or between AdamW's moments."""

UPDATE = 1e-2
"""Bound of `update_difference` after a few steps of Adam.

Adam divides by the root of the mean square, so a gradient that is rounding noise becomes a whole step of either sign.
One weight in 10,000 with such a gradient makes 0.02 of the distance that the weights have moved; a lost micro-batch
makes far more than 0.1.
"""

BFLOAT16 = 2.0**-8
"""Relative rounding of one bfloat16 number."""


def flat(tensors: Tensors) -> torch.Tensor:
    """Return all values of the tensors as one float64 vector."""
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def relative_difference(one: Tensors, other: Tensors) -> float:
    """Return ||one - other|| / ||other||, the norm taken over all tensors together."""
    first, second = flat(one), flat(other)
    return float((first - second).norm() / second.norm())


def update_difference(start: Tensors, one: Tensors, other: Tensors) -> float:
    """Return how far two updates of the weights `start` differ: ||one - other|| / ||other - start||."""
    begin, first, second = flat(start), flat(one), flat(other)
    assert not torch.equal(begin, second), "the weights have not moved"
    return float((first - second).norm() / (second - begin).norm())
