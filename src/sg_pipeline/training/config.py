"""How a GRPO step trains: the learner's parameters."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainConfig(BaseModel):
    """Parameters of `learner.train_step`; the temperature is the rollout's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo", "cispo"] = Field(
        "dapo", description="grpo: every trajectory weighs the same; dapo, bnpo, cispo: every token does"
    )
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["constant", "linear"] = "constant"
    total_steps: int | None = Field(None, gt=0, description="co-evolution steps after which a linear rate is 0")
    warmup_steps: int = Field(0, ge=0, description="co-evolution steps over which the rate rises")
    epsilon: float = Field(0.2, ge=0, lt=1, description="lower clip: ratios below 1 - epsilon")
    epsilon_high: float = Field(0.28, ge=0, description="upper clip: ratios above 1 + epsilon_high (cispo: above it)")
    importance_sampling_level: Literal["token", "sequence"] = Field("token", description="sequence is GSPO")
    beta: float = Field(0.0, ge=0, description="weight of the KL divergence from the reference policy")
    num_iterations: int = Field(1, ge=1, description="passes over the experience of a step")
    minibatch: int = Field(32, ge=1, description="trajectories per optimizer step")
    micro_batch_tokens: int = Field(2048, ge=1, description="tokens in memory at once, padding included")
    micro_batch_overhead: int | None = Field(
        None,
        ge=0,
        description="tokens that a micro-batch costs besides its own: rows are then cut where padding and these "
        "together are least; None: micro-batches are filled one after the other",
    )
    logits_chunk_tokens: int | None = Field(
        None,
        ge=1,
        description="on CPU, logits of so many tokens in memory at once; None: of a whole micro-batch. TRL's kernel on "
        "GPUs holds a tile of 4,096 tokens whatever this says",
    )
    gradient_checkpointing: bool | Literal["auto"] = Field(
        "auto", description="layers are computed again in the backward pass in place of being kept; auto: on GPUs"
    )
    max_grad_norm: float = Field(1.0, gt=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_completion_length: int = Field(1024, ge=1, description="the constant that dr_grpo divides by, in tokens")
    sampler_correction: Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = Field(
        "none",
        description="none: the recorded log-probabilities are the old ones (sampler and trainer agree); otherwise the "
        "trainer computes the old ones and weighs by exp(old - recorded), truncated or masked at sampler_cap",
    )
    sampler_cap: float = Field(3.0, gt=1)

    @model_validator(mode="after")
    def _linear_needs_an_end(self) -> TrainConfig:
        if self.schedule == "linear" and self.total_steps is None:
            raise ValueError("schedule 'linear' needs total_steps")
        return self

    def unused(self) -> tuple[str, ...]:
        """Return the fields that have no effect next to the values of the others."""
        used = {
            "total_steps": self.schedule == "linear",
            "sampler_cap": self.sampler_correction != "none",
            "max_completion_length": self.loss_type == "dr_grpo",
        }
        return tuple(name for name, has_effect in used.items() if not has_effect)

    def rate(self, step: int) -> float:
        """Return the learning rate of co-evolution step `step` (from 0): it depends on nothing else."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        left = 1.0
        if self.schedule == "linear" and self.total_steps is not None:
            left = max(0.0, 1.0 - step / self.total_steps)
        return self.learning_rate * warm * left
