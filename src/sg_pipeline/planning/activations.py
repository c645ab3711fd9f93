"""What a training step keeps for its backward pass, in bytes a token.

The terms follow Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), who count what each operation of a transformer
layer saves, adapted to what transformers' Qwen3 and Qwen2 do: RMSNorm in float32, SwiGLU, grouped queries, attention
that keeps its inputs, its output and one number a query (as FlashAttention does), no dropout. With h the hidden width,
q and k the widths of all query and all key heads, f the intermediate width and b the bytes of a number:

    a norm of width w       (4 + b) w + 4      its float32 input, its normalised input, one scale
    its output              b h                input of the linear maps behind it
    attention               b (2 q + 2 k)      rotated queries, keys, values, output; + 4 a query head
    SwiGLU                  4 b f              gate, activated gate, up, their product
    layer                   2 (norm(h) + b h) + [norm(q) + norm(k) where they are normalised] + attention + SwiGLU

Tests compare all of it with the storages that autograd keeps in real models, to the byte.
"""

from sg_pipeline.planning.shape import ModelShape


def layer_bytes(shape: ModelShape, size: int, *, autocast: bool = False, repeated: bool = False) -> int:
    """Return what one decoder layer saves a token.

    Args:
        shape: the model.
        size: bytes of a number.
        autocast: weights are float32 and matrix products bfloat16.
        repeated: keys and values are repeated for every query head before attention, as with a mask on a GPU.
    """
    number = 2 if autocast else size
    keys = shape.queries if repeated else shape.keys
    attention = number * (2 * shape.queries + 2 * keys) + 4 * shape.heads
    heads = 0
    if shape.qk_norm:
        width = shape.queries + shape.keys
        heads = norm_bytes(width, number) + 4 * (shape.heads + shape.kv_heads - 1)
    # Under autocast the residual stream stays float32, and each of five linear maps casts its input anew.
    norms = 2 * norm_bytes(shape.hidden, 4 if autocast else size) + (5 if autocast else 2) * number * shape.hidden
    return norms + heads + attention + 4 * number * shape.intermediate


def norm_bytes(width: int, size: int) -> int:
    """Return what an RMSNorm saves a token, its output not included."""
    return (4 + size) * width + 4


def kept_bytes(shape: ModelShape, size: int, *, checkpointing: bool, **how: bool) -> int:
    """Return what is kept a token at the end of the forward pass: layers (with checkpointing their inputs), last norm.

    Args:
        shape: the model.
        size: bytes of a number.
        checkpointing: layers are computed again in the backward pass.
        how: of `layer_bytes`.
    """
    residual = 4 if how.get("autocast") else size
    one = residual * shape.hidden if checkpointing else layer_bytes(shape, size, **how)
    return shape.layers * one + norm_bytes(shape.hidden, residual)


def backward_bytes(shape: ModelShape, size: int, *, checkpointing: bool, **how: bool) -> int:
    """Return what comes on top a token while the last layer goes backward: its recomputation, gradients on their way.

    The gradients' terms were found by counting live storages (a test repeats it): those of SwiGLU, or of the last norm,
    which goes back in float32.
    """
    hidden, inner = shape.hidden, shape.intermediate
    if checkpointing:
        return layer_bytes(shape, size, **how) + size * max(2 * inner - 2 * hidden, 0)
    return size * (max(2 * inner - hidden, 4 * hidden) if size == 4 else max(2 * inner - 2 * hidden, 9 * hidden))
