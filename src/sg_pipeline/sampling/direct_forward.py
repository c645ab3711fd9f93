"""The forward pass of a Qwen3 or Llama on a CPU, without its modules: same weights, same result up to rounding.

Decoding costs more calls than arithmetic: transformers runs some sixty operations a layer for a handful of tokens, and
several times as many with adapters and autocast. Here a layer is about thirty: queries, keys and values are one matrix
product, as are gate and up, a norm is three operations without its weights, and adapters are added to the matrices.
Only tokens are computed: padding exists in the attention alone, and the output layer runs where logits are wanted.
In bfloat16 the matrices are laid out once as oneDNN multiplies them, which otherwise happens at each product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers.activations import SiLUActivation
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen3 import modeling_qwen3 as qwen3

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sg_pipeline.config.base_model import Compute
    from sg_pipeline.sampling.kv_cache import RowCache

LARGEST = 500_000_000
"""Parameters: weights are copied, and in a larger model the arithmetic costs more than the calls. Sampling took 1.37
times less CPU with 1 million, 1.13 with 11 and 1.08 with 34 (float32, 32 rows), with 135 million and adapters 1.29 in
float32 and 1.85 in bfloat16 (8 rows); one core of a Xeon."""

_PARTS = {
    *(qwen3.Qwen3ForCausalLM, qwen3.Qwen3Model, qwen3.Qwen3DecoderLayer, qwen3.Qwen3Attention, qwen3.Qwen3MLP),
    *(llama.LlamaForCausalLM, llama.LlamaModel, llama.LlamaDecoderLayer, llama.LlamaAttention, llama.LlamaMLP),
    *(qwen3.Qwen3RMSNorm, qwen3.Qwen3RotaryEmbedding, llama.LlamaRMSNorm, llama.LlamaRotaryEmbedding),
    *(torch.nn.Embedding, torch.nn.Linear, torch.nn.ModuleList, torch.nn.SiLU, SiLUActivation),
}
"""What a model that is computed here consists of, besides adapters; any other part does more."""

Product = Callable[..., torch.Tensor]
"""(N, inputs) -> (N, outputs), added to the second argument (N, outputs) if there is one."""


def direct_forward(model: PreTrainedModel, compute: Compute, positions: int) -> DirectForward | None:
    """Return the forward pass of `model` with its weights as they are now, or None where its own code must run.

    Args:
        model: any causal language model, LoRA adapters included.
        compute: of the policy; see `policies.compute`.
        positions: the most tokens that a row may hold.
    """
    parts = list(_parts(model))
    types = {torch.float32} if compute == "weights" else {torch.float32, torch.bfloat16}
    plain = (
        {type(part) for part in parts} <= _PARTS
        and not any(part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part) for part in parts)
        and model.device.type == "cpu"
        and (compute == "weights" or (compute == "bfloat16" and _has_bfloat16()))
        and model.config._attn_implementation == "sdpa"
        and not model.config.attention_bias
        and not getattr(model.config, "mlp_bias", False)
        and model.config.rope_parameters["rope_type"] == "default"
        and {weight.dtype for weight in model.parameters()} <= types
        and model.num_parameters() <= LARGEST
    )
    return DirectForward(model, compute, positions) if plain else None


def _has_bfloat16() -> bool:
    """Whether this build of torch has oneDNN, and oneDNN multiplies in bfloat16 on this processor."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _parts(model: Any) -> Iterator[torch.nn.Module]:
    """Yield the modules of `model`; a linear layer with an adapter that can be added to it counts as its base."""
    yield model
    for part in model.children():
        yield from _parts(part.base_layer if _is_adapted(part) else part)


def _is_adapted(part: Any) -> bool:
    """Whether `part` is a linear layer with one LoRA adapter of the plain kind, in use."""
    if type(part).__module__ != "peft.tuners.lora.layer" or type(part).__name__ != "Linear":
        return False
    plain = not (part.merged or part.disable_adapters or part.lora_variant or any(part.lora_bias.values()))
    return plain and list(part.lora_A) == list(part.active_adapters)


@dataclass(frozen=True, slots=True)
class _Layer:
    """Products of a layer with its matrices, which are multiplied by the weights of the norm before them."""

    queries_keys_values: Product
    head_norms: torch.Tensor | None
    output: Product
    gate_up: Product
    down: Product


class DirectForward:
    """Logits of next tokens; keys and values go to a `RowCache`."""

    def __init__(self, model: Any, compute: Compute, positions: int) -> None:
        """Copy the weights of `model`; arguments as for `direct_forward`."""
        config = model.config
        self._heads, self._pairs = config.num_attention_heads, config.num_key_value_heads
        self._size = model.model.layers[0].self_attn.head_dim
        self._epsilon = torch.tensor(config.rms_norm_eps)
        self._activation = model.model.layers[0].mlp.act_fn
        self._embedding = model.model.embed_tokens.weight.detach()
        self._product = _float32_product if compute == "weights" else _bfloat16_product
        self._head = self._normed(model.model.norm, model.lm_head)
        self._layers = [self._merged(layer) for layer in model.model.layers]
        every = torch.arange(positions)[None]
        self._cosine, sine = (table[0, :, None] for table in model.model.rotary_emb(self._embedding, every))
        # (-second half, first half) x sine = the halves exchanged x sine with its first half negated
        self._sine = torch.cat([-sine[..., : self._size // 2], sine[..., self._size // 2 :]], dim=-1)

    def _merged(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        norms = None
        if hasattr(attention, "q_norm"):
            norms = torch.cat(
                [attention.q_norm.weight.expand(self._heads, -1), attention.k_norm.weight.expand(self._pairs, -1)]
            )
            norms = norms.detach() * self._size**0.5
        return _Layer(
            queries_keys_values=self._normed(
                layer.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj
            ),
            head_norms=norms,
            output=self._product(_weights(attention.o_proj)),
            gate_up=self._normed(layer.post_attention_layernorm, mlp.gate_proj, mlp.up_proj),
            down=self._product(_weights(mlp.down_proj)),
        )

    def _normed(self, norm: Any, *maps: Any) -> Product:
        """Return the product with linear maps of the same inputs, for the `_direction` of what `norm` norms."""
        return self._product(_weights(*maps) * (norm.weight.detach() * norm.weight.numel() ** 0.5))

    def __call__(self, tokens: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Run on the tokens that `cache.placement` places, row after row.

        Args:
            tokens: (N,) ids, without padding.
            wanted: (M,) indices in `tokens`.
            mask: (B, 1, W, span), added to the attention's scores; a row's tokens are its last of W queries.
            cache: gets keys and values.

        Returns:
            Logits (M, vocabulary) after the tokens `wanted`.
        """
        with torch.autocast("cpu", enabled=False):  # the products round as it would
            return self._run(tokens, wanted, mask, cache)

    def _run(self, tokens: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor, cache: RowCache) -> torch.Tensor:
        rotated = self._heads + self._pairs
        hidden = self._embedding[tokens]
        cosine, sine = self._cosine[cache.placement.positions], self._sine[cache.placement.positions]
        for index, layer in enumerate(self._layers):
            mixed = layer.queries_keys_values(self._direction(hidden))
            turned = mixed[:, : rotated * self._size].view(-1, rotated, self._size)
            if layer.head_norms is not None:
                turned = self._direction(turned.float()) * layer.head_norms
            turned = torch.addcmul(turned * cosine, turned.roll(self._size // 2, -1), sine).to(mask.dtype)
            values = mixed[:, rotated * self._size :].view(-1, self._pairs, self._size)
            seen = cache.layer(index).store(turned[:, self._heads :], values)
            hidden = layer.output(self._attend(turned[:, : self._heads], *seen, mask, cache), hidden)
            gate, up = layer.gate_up(self._direction(hidden)).chunk(2, dim=-1)
            hidden = layer.down(self._activation(gate) * up, hidden)
        return self._head(self._direction(hidden[wanted]))

    def _direction(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the RMS norm of `hidden` without its weights, over the square root of its width."""
        return hidden * torch.addcmul(self._epsilon, hidden, hidden).sum(-1, keepdim=True).rsqrt_()

    def _attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, cache: RowCache
    ) -> torch.Tensor:
        """Return the attention's result (N, heads x size)."""
        place, group, (rows, _, width, _) = cache.placement, self._heads // self._pairs, mask.shape
        attention = functional.scaled_dot_product_attention
        if width == 1:  # the query heads of a key head are queries of one head
            packed = queries.reshape(rows, self._pairs, group, self._size)
            return attention(packed, keys, values, attn_mask=mask).reshape(rows, -1)
        padded = queries.new_zeros(rows, width, self._heads, self._size)
        padded[place.batch_index, place.query_index] = queries
        padded = padded.transpose(1, 2)
        parts = []
        for pair in range(self._pairs):  # a view of keys and values for each query head: SDPA's own option copies them
            heads, own = slice(pair * group, (pair + 1) * group), slice(pair, pair + 1)
            keys_of, values_of = (states[:, own].expand(-1, group, -1, -1) for states in (keys, values))
            parts.append(attention(padded[:, heads], keys_of, values_of, attn_mask=mask))
        attended = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        return attended[place.batch_index, :, place.query_index].flatten(1)


def _weights(*maps: Any) -> torch.Tensor:
    """Return the weights of linear layers with the same inputs, adapters added, as one float32 matrix."""
    return torch.cat([_weight(one) for one in maps])


def _weight(one: Any) -> torch.Tensor:
    if not _is_adapted(one):
        weight: torch.Tensor = one.weight.detach().float()
        return weight
    base = one.base_layer.weight.detach().float()
    (adapter,) = one.active_adapters
    return base + one.get_delta_weight(adapter).detach().float()


def _float32_product(weights: torch.Tensor) -> Product:
    columns = weights.t().contiguous()

    def product(inputs: torch.Tensor, onto: torch.Tensor | None = None) -> torch.Tensor:
        return torch.mm(inputs, columns) if onto is None else torch.addmm(onto, inputs, columns)

    return product


def _bfloat16_product(weights: torch.Tensor) -> Product:
    """Return the product as autocast computes it: inputs, weights and result are rounded to bfloat16.

    The operators are those of torch's own compiler for weights that do not change (`torch._inductor.fx_passes`).
    """
    packed = torch.ops.mkldnn._reorder_linear_weight(weights.bfloat16(), 8)
    multiply = torch.ops.mkldnn._linear_pointwise

    def product(inputs: torch.Tensor, onto: torch.Tensor | None = None) -> torch.Tensor:
        result: torch.Tensor = multiply(inputs.bfloat16(), packed, None, "none", [], "")
        return result if onto is None else onto + result

    return product
