"""How far a warm start is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from sg_pipeline.training.batching import StreamPosition


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
