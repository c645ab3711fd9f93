"""Floating-point operations of forward and backward passes.

A weight is multiplied and added once a token: 2 N operations forward, 4 N backward (Kaplan et al. 2020, section 2.1; N
without the input embedding, which is looked up), and nearly 2 N more where activations are computed again: that ends at
the last tensor that is needed, so a layer's last map is left out. Attention adds 4 q operations a layer and pair of
tokens forward (scores and weighted values, q the width of all query heads) and 2.5 times that backward, since its
kernels compute the scores again. A test compares all of it with torch's own counter.
"""

from __future__ import annotations

from dataclasses import dataclass

from sg_pipeline.planning.shape import ModelShape

BACKWARD, ATTENTION_BACKWARD = 2.0, 2.5
"""Operations backward / forward: of linear maps, of attention."""


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a token goes through what.

    Attributes:
        forward: forward passes, those of a reference included.
        backward: backward passes.
        head: passes through the output layer, each worth one forward pass through it.
        again: recomputations of the layers.
    """

    forward: float
    backward: float
    head: float
    again: float = 0.0


def forward_flops(shape: ModelShape, tokens: float, pairs: float, head_tokens: float) -> float:
    """Return the operations of one forward pass.

    Args:
        shape: the model.
        tokens: positions that go through the layers.
        pairs: (query, key) pairs that attention looks at, a layer.
        head_tokens: positions that go through the output layer.
    """
    return 2 * shape.matrix_parameters * tokens + attention_flops(shape, pairs) + 2 * shape.head * head_tokens


def training_flops(shape: ModelShape, tokens: float, pairs: float, head_tokens: float, passes: Passes) -> float:
    """Return the operations of training on `tokens`; arguments as of `forward_flops`."""
    again = shape.matrix_parameters - shape.layers * shape.intermediate * shape.hidden
    linear = shape.matrix_parameters * (passes.forward + BACKWARD * passes.backward) + again * passes.again
    attention = attention_flops(shape, pairs) * (passes.forward + passes.again + ATTENTION_BACKWARD * passes.backward)
    return 2 * linear * tokens + attention + 2 * shape.head * head_tokens * passes.head


def attention_flops(shape: ModelShape, pairs: float) -> float:
    """Return the operations of attention over so many (query, key) pairs in every layer."""
    return 4 * shape.layers * shape.queries * pairs
