"""The forward pass of a small Qwen3 on a CPU, without its modules: same weights, same result up to rounding.

Decoding with a policy of a million parameters costs more calls than arithmetic: transformers runs some sixty
operations a layer for a handful of tokens. Here a layer is about half as many: queries, keys and values are one matrix
product, as are gate and up, a norm is four operations without its weights, and residual sums are part of the products.
And only tokens are computed: padding exists in the attention alone, and the output layer runs at the last token of
each row. A rollout of the default run takes two thirds of the processor time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers.activations import SiLUActivation
from transformers.models.qwen3 import modeling_qwen3 as qwen3

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sg_pipeline.config.base_model import Compute
    from sg_pipeline.sampling.kv_cache import RowCache

LARGEST = 20_000_000
"""Parameters. Weights are copied, and in a larger model the arithmetic costs more than the calls: sampling takes 1.37
times less CPU with 1 million, 1.13 with 11, 1.08 with 34 (32 rows, one core of a Xeon)."""

_PARTS = {
    *(qwen3.Qwen3ForCausalLM, qwen3.Qwen3Model, qwen3.Qwen3DecoderLayer, qwen3.Qwen3Attention, qwen3.Qwen3MLP),
    *(qwen3.Qwen3RMSNorm, qwen3.Qwen3RotaryEmbedding, torch.nn.Embedding, torch.nn.Linear, torch.nn.ModuleList),
    *(torch.nn.SiLU, SiLUActivation),
}
"""What a model that is computed here consists of; any other part, such as an adapter, does more."""


def small_qwen3(model: PreTrainedModel, compute: Compute, positions: int) -> SmallQwen3 | None:
    """Return the forward pass of `model` with its weights as they are now, or None where its own code must run.

    Args:
        model: any causal language model.
        compute: of the policy; see `policies.compute`.
        positions: the most tokens that a row may hold.
    """
    plain = (
        {type(part) for part in model.modules()} <= _PARTS
        and compute == "weights"
        and model.device.type == "cpu"
        and model.config._attn_implementation == "sdpa"
        and not model.config.attention_bias
        and model.config.rope_parameters["rope_type"] == "default"
        and all(weight.dtype == torch.float32 for weight in model.parameters())
        and sum(weight.numel() for weight in model.parameters()) <= LARGEST
    )
    return SmallQwen3(model, positions) if plain else None


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of a layer; matrices are (inputs, outputs), multiplied by the weights of the norm before them."""

    queries_keys_values: torch.Tensor
    head_norms: torch.Tensor
    output: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class SmallQwen3:
    """Logits of next tokens; keys and values go to a `RowCache`."""

    def __init__(self, model: Any, positions: int) -> None:
        """Copy the weights of `model`; `positions` as for `small_qwen3`."""
        config = model.config
        self._heads, self._pairs = config.num_attention_heads, config.num_key_value_heads
        self._size = model.model.layers[0].self_attn.head_dim
        self._epsilon = torch.tensor(config.rms_norm_eps)
        self._activation = model.model.layers[0].mlp.act_fn
        self._embedding = model.model.embed_tokens.weight.detach()
        self._head = _normed_columns(model.model.norm, model.lm_head)
        self._layers = [self._merged(layer) for layer in model.model.layers]
        every = torch.arange(positions)[None]
        self._cosine, sine = (table[0, :, None] for table in model.model.rotary_emb(self._embedding, every))
        # (-second half, first half) x sine = the halves exchanged x sine with its first half negated
        self._sine = torch.cat([-sine[..., : self._size // 2], sine[..., self._size // 2 :]], dim=-1)

    def _merged(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        norms = [attention.q_norm.weight.expand(self._heads, -1), attention.k_norm.weight.expand(self._pairs, -1)]
        read = (attention.q_proj, attention.k_proj, attention.v_proj)
        return _Layer(
            queries_keys_values=_normed_columns(layer.input_layernorm, *read),
            head_norms=torch.cat(norms).detach() * self._size**0.5,
            output=_columns(attention.o_proj),
            gate_up=_normed_columns(layer.post_attention_layernorm, mlp.gate_proj, mlp.up_proj),
            down=_columns(mlp.down_proj),
        )

    def __call__(self, tokens: torch.Tensor, last: torch.Tensor, mask: torch.Tensor, cache: RowCache) -> torch.Tensor:
        """Run on the tokens that `cache.placement` places, row after row.

        Args:
            tokens: (N,) ids, without padding.
            last: (B,) index in `tokens` of each row's last one.
            mask: (B, 1, W, span), added to the attention's scores; a row's tokens are its last of W queries.
            cache: gets keys and values.

        Returns:
            Logits (B, vocabulary) after the last token of each row.
        """
        rotated = self._heads + self._pairs
        hidden = self._embedding[tokens]
        cosine, sine = self._cosine[cache.placement.positions], self._sine[cache.placement.positions]
        for index, layer in enumerate(self._layers):
            mixed = torch.mm(self._direction(hidden), layer.queries_keys_values)
            turned = mixed[:, : rotated * self._size].view(-1, rotated, self._size)
            turned = self._direction(turned) * layer.head_norms
            turned = torch.addcmul(turned * cosine, turned.roll(self._size // 2, -1), sine)
            values = mixed[:, rotated * self._size :].view(-1, self._pairs, self._size)
            seen = cache.layer(index).store(turned[:, self._heads :], values)
            attended = self._attend(turned[:, : self._heads], *seen, mask, cache)
            hidden = torch.addmm(hidden, attended, layer.output)
            gate, up = torch.mm(self._direction(hidden), layer.gate_up).chunk(2, dim=-1)
            hidden = torch.addmm(hidden, self._activation(gate) * up, layer.down)
        return torch.mm(self._direction(hidden[last]), self._head)

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


def _columns(*maps: Any) -> torch.Tensor:
    """Return the weights of linear layers with the same inputs as one matrix (inputs, outputs)."""
    return torch.cat([one.weight for one in maps]).detach().t().contiguous()


def _normed_columns(norm: Any, *maps: Any) -> torch.Tensor:
    """Return the same, to be multiplied with the `_direction` of what `norm` norms."""
    return _columns(*maps) * (norm.weight.detach()[:, None] * norm.weight.numel() ** 0.5)
