"""The warm start's parameters, and the account of how far it is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sg_pipeline.training.batching import StreamPosition


class WarmStartConfig(BaseModel):
    """How the warm start trains.

    `guided_share` and `loss_on_noise` are read where demonstrations are made and encoded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    total_tokens: int = Field(gt=0, description="tokens to train on, prompt and observations included")
    batch_tokens: int = Field(1000, ge=16, description="tokens of an optimizer step, padding included")
    window: int = Field(128, ge=1, description="demonstrations sorted by length together")
    learning_rate: float = Field(3e-3, gt=0, description="of AdamW, at its highest")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_share: float = Field(0.03, ge=0, lt=1, description="share of total_tokens over which the rate rises")
    final_share: float = Field(0.02, ge=0, le=1, description="share of learning_rate at the end")
    weight_decay: float = Field(0.01, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="of AdamW")
    adam_beta2: float = Field(0.98, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    loss_on_noise: bool = Field(False, description="imitate the actions that were made wrong on purpose, too")
    guided_share: float = Field(0.5, ge=0, le=1, description="share of demonstrations that carry guidance")
    report_tokens: int = Field(200_000, gt=0, description="tokens between two calls of the callback")
    seed: int = 0

    def rate(self, tokens: int) -> float:
        """Return the learning rate after `tokens` trained tokens."""
        warmup = self.warmup_share * self.total_tokens
        # The first step trains too: its rate is that of the end of its own batch.
        reached = tokens + self.batch_tokens
        if reached < warmup:
            return self.learning_rate * reached / warmup
        done = min(1.0, (tokens - warmup) / max(1.0, self.total_tokens - warmup))
        fall = {"cosine": 0.5 * (1 + math.cos(math.pi * max(0.0, done))), "linear": 1 - max(0.0, done), "constant": 1.0}
        return self.learning_rate * (self.final_share + (1 - self.final_share) * fall[self.schedule])


@dataclass(slots=True)
class WarmStartProgress:
    """How far a warm start is: what the callback gets, and what a killed one goes on from.

    Attributes:
        step: optimizer steps done.
        tokens: tokens trained on, padding not counted.
        imitated: tokens that carried loss.
        loss: mean loss per imitated token since the last report.
        learning_rate: of the last step.
        seconds: wall time of this process in training.
        position: of the stream of batches.
    """

    step: int = 0
    tokens: int = 0
    imitated: int = 0
    loss: float = math.nan
    learning_rate: float = 0.0
    seconds: float = 0.0
    position: StreamPosition = field(default_factory=StreamPosition)

    def notes(self) -> dict[str, Any]:
        """Return plain JSON values, for `save_policy(..., notes=...)`."""
        return asdict(self)

    @classmethod
    def from_notes(cls, notes: dict[str, Any]) -> WarmStartProgress:
        """Return what `notes()` described."""
        return cls(**{**notes, "position": StreamPosition(**notes["position"])})
