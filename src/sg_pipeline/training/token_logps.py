"""Log-probabilities of the policy's tokens: the output layer runs at these alone, and never over all of them at once.

Of a trajectory's tokens a third to a half are the policy's, and an output layer of 151,000 tokens is a sixth of a model
of 1.7 billion weights; the logits of 8,000 tokens over it take 5 GB in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from sg_pipeline.policies.policy import causal_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_LOGIT_TRANSFORMS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Configuration entries by which some architectures transform logits behind the output layer."""


def transforms_logits(model: PreTrainedModel) -> bool:
    """Whether a causal language model transforms its logits behind the output layer."""
    head = model.config.get_text_config()
    return any(getattr(head, name, None) is not None for name in _LOGIT_TRANSFORMS)


def wanted_logits(model: Any, input_ids: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the logits of the wanted tokens given all before them, (N, vocabulary), row by row.

    They exist only there, unless the model transforms logits behind its output layer: that one is called as it is.

    Args:
        model: a causal language model; PEFT's wrapper may be around it.
        input_ids: (B, 1 + T), padded on the right: causal attention needs no mask then.
        wanted: (B, T) bool, which of `input_ids[:, 1:]`; N of them.
    """
    causal = causal_model(model)
    if transforms_logits(causal):
        whole: torch.Tensor = causal(input_ids=input_ids, use_cache=False).logits
        return whole[:, :-1][wanted]
    hidden = causal.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
    logits: torch.Tensor = causal.get_output_embeddings()(hidden[:, :-1][wanted])
    return logits


def policy_token_logps(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    wanted: torch.Tensor,
    temperature: float,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, None]:
    """Return log-probabilities and entropies of the wanted tokens; logits exist only there.

    Args:
        model: a causal language model without transformations behind its output layer; PEFT's wrapper may be around it.
        input_ids: (B, 1 + T), padded on the right: causal attention needs no mask then.
        wanted: (B, T) bool, which of `input_ids[:, 1:]` to evaluate.
        temperature: divides the logits.
        chunk: logits of so many tokens exist at once, and are computed again in the backward pass; None: of all.

    Returns:
        (B, T) each, zero where not wanted, the entropies without gradient; and None, for TRL's auxiliary loss.
    """
    model = causal_model(model)
    hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
    states, targets, head = hidden[wanted], input_ids[:, 1:][wanted], model.get_output_embeddings()
    if chunk is None or len(targets) <= chunk:
        chosen, entropy = _scores(head, states, targets, temperature)
    else:
        parts = [
            checkpoint(_scores, head, part, target, temperature, use_reentrant=False)
            for part, target in zip(states.split(chunk), targets.split(chunk), strict=True)
        ]
        chosen, entropy = (torch.cat(column) for column in zip(*parts, strict=True))
    blank = chosen.new_zeros(wanted.shape)
    # `masked_scatter` stays connected to the model when nothing is wanted.
    return blank.masked_scatter(wanted, chosen), blank.masked_scatter(wanted, entropy), None


def fused_token_logps(
    model: Any, input_ids: torch.Tensor, wanted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None, None]:
    """Return the same by the output layer that TRL has fused to `model` (`trl.trainer.utils.add_fused_lm_head`).

    Its Triton kernels hold one tile of logits at a time, forward and backward, and skip what has no label; without
    Triton it evaluates every position. TRL's own call labels every token that is no padding, the environment's too, and
    passes a mask of the padding, for which attention leaves its fast path.

    Args:
        model: wrapped as training has wrapped it.
        input_ids, wanted: as for `policy_token_logps`; the temperature is the fused layer's.
    """
    labels = torch.full_like(input_ids, -100)
    labels[:, 1:] = input_ids[:, 1:].masked_fill(~wanted, -100)
    outputs = model(input_ids=input_ids, labels=labels, fused_lm_head=True)
    return outputs.log_probs, outputs.entropy, None


def _scores(
    head: torch.nn.Module, states: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probability of each target and entropy, (N,) each, of hidden states (N, width)."""
    logits = head(states).float()
    if temperature != 1:
        logits = logits / temperature
    logps = logits.log_softmax(dim=-1)
    chosen = logps.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        entropy = -logps.exp().mul_(logps).sum(dim=-1)
    return chosen, entropy
