"""Drawing tokens: one uniform number a token, by the inverse of the cumulative distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def draw(logits: torch.Tensor, chance: Sequence[float], temperature: float) -> tuple[list[int], list[float]]:
    """Choose one token a row.

    The token is the first whose cumulative probability exceeds the row's number, so that a row's choice depends
    on nothing but its own logits and number. Sums run in float64: a large vocabulary's tail is not rounded away.

    Args:
        logits: (batch, vocabulary), any float type.
        chance: (batch,) uniform numbers in [0, 1); unused at temperature 0.
        temperature: 0 takes the likeliest token.

    Returns:
        Ids and their float32 log-probabilities at the temperature (at 1 where it is 0). Where logits are not numbers
        (one is NaN or +inf, or all are -inf) the log-probability is NaN and the id means nothing.
    """
    logits = logits.float()
    if temperature > 0:
        if temperature != 1:
            logits = logits / temperature
        logprobs = torch.log_softmax(logits, dim=-1)
        cumulative = logprobs.exp().cumsum(dim=-1, dtype=torch.float64)
        total = cumulative[:, -1:].contiguous()
        numbers = torch.tensor(chance, dtype=torch.float64, device=logits.device)[:, None]
        chosen = torch.searchsorted(cumulative, numbers * total, right=True)
        # Rounding may reach the very end: the last token that has any probability.
        chosen = torch.minimum(chosen, torch.searchsorted(cumulative, total)).clamp_(max=logits.size(-1) - 1)
    else:
        logprobs = torch.log_softmax(logits, dim=-1)
        chosen = logits.argmax(dim=-1, keepdim=True)
    scores = logprobs.gather(-1, chosen)
    return chosen[:, 0].tolist(), scores[:, 0].tolist()
