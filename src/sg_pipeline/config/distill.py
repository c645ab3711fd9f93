"""Distillation of a guide."""

from pydantic import Field

from sg_pipeline.config.section import Section


class DistillConfig(Section):
    """Offline guidance: a frozen guide that imitates what a stronger policy wrote.

    Attributes:
        source: run whose training trajectories are imitated.
        steps: number of last steps to imitate, when its policy was best.
        won_only: exclude lost episodes.
        held_out: share of the games excluded from training, to measure agreement.
        epochs: passes over the trajectories.
        batch_tokens: tokens of an optimizer step, including padding.
        learning_rate: of AdamW, at its highest; it rises and falls as in a warm start.
    """

    source: str | None
    steps: int = Field(ge=1)
    won_only: bool
    held_out: float = Field(gt=0, lt=1)
    epochs: int = Field(ge=1)
    batch_tokens: int = Field(ge=16)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
