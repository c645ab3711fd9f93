"""The live policy: what flows through the graph from one co-evolution step to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Policy:
    """A causal language model with its tokenizer and how far it has been trained.

    Live and mutable on purpose: training changes the model in place, so that no step copies the weights.

    Attributes:
        model: any transformers causal language model.
        tokenizer: with a chat template.
        step: co-evolution steps trained so far.
        optimizer_state: the optimiser's `state_dict()` after the last step; None before the first.
        name: where the policy came from (a path, a hub id, "tiny"), for reports.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    step: int = 0
    optimizer_state: dict[str, Any] | None = None
    name: str = "policy"

    def parameter_count(self) -> int:
        """Return the number of weights, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.model.parameters())
