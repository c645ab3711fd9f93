"""How a GRPO step trains: the learner's parameters."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from sg_pipeline.config.section import Section

CLIPS: dict[str, tuple[float, float]] = {
    "grpo": (0.2, 0.2),
    "dapo": (0.2, 0.28),
    "dr_grpo": (0.2, 0.2),
    "bnpo": (0.2, 0.2),
    "cispo": (0.2, 5.0),
    "sequence": (3e-4, 4e-4),
}
"""(epsilon, epsilon_high) where they are None, by `loss_type`, or of GSPO: what their papers have (cispo: ScaleRL's).

A ratio of a whole trajectory is a mean over thousands of tokens and stays much nearer to 1 than a token's. cispo caps
the ratio itself, and not its distance from 1.
"""


class TrainConfig(Section):
    """Parameters of `learner.train_step`; the temperature is the rollout's."""

    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo", "cispo"] = Field(
        description="grpo: every trajectory weighs the same; dapo, bnpo, cispo: every token does"
    )
    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "linear"] = "constant"
    total_steps: int | None = Field(None, gt=0, description="co-evolution steps after which a linear rate is 0")
    warmup_steps: int = Field(0, ge=0, description="co-evolution steps over which the rate rises")
    epsilon: float = Field(
        ge=0, lt=1, description="lower clip: ratios below 1 - epsilon; without effect in cispo; see `CLIPS`"
    )
    epsilon_high: float = Field(
        ge=0, description="upper clip: ratios above 1 + epsilon_high, in cispo above epsilon_high; see `CLIPS`"
    )
    importance_sampling_level: Literal["token", "sequence"] = Field(
        description="sequence is GSPO: one ratio a trajectory, the geometric mean of its tokens'"
    )
    beta: float = Field(ge=0, description="weight of the KL divergence from the reference policy")
    use_bias_correction_kl: bool = Field(
        description="the KL term is multiplied by the ratio, so that its gradient is that of KL(policy || reference) "
        "(DeepSeek-V3.2); without, on policy, that of KL(reference || policy)"
    )
    num_iterations: int = Field(1, ge=1, description="passes over the experience of a step")
    minibatch: int = Field(ge=1, description="trajectories per optimizer step")
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
    max_grad_norm: float = Field(gt=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_completion_length: int = Field(1024, ge=1, description="the constant that dr_grpo divides by, in tokens")
    sampler_correction: Literal[
        "none", "token_truncate", "token_mask", "turn_truncate", "turn_mask", "sequence_truncate", "sequence_mask"
    ] = Field(
        description="none: the recorded log-probabilities are the old ones (sampler and trainer agree); otherwise the "
        "trainer computes the old ones and weighs each token, turn or trajectory (sequence) by exp(old - recorded), "
        "truncated or masked at sampler_cap. Rounding adds up over a trajectory: sequence is for short ones"
    )
    sampler_cap: float = Field(3.0, gt=1)

    @model_validator(mode="before")
    @classmethod
    def _clips_of_the_loss(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        loss = given.get("loss_type", cls.model_fields["loss_type"].default)
        sequence = given.get("importance_sampling_level") == "sequence"
        clips = CLIPS.get("sequence" if sequence else str(loss), (None, None))  # an unknown loss is reported as such
        own = zip(("epsilon", "epsilon_high"), clips, strict=True)
        return {**given, **{name: value for name, value in own if given.get(name) is None and value is not None}}

    @model_validator(mode="after")
    def _what_clips_and_weighs(self) -> TrainConfig:
        if self.loss_type == "cispo" and self.epsilon_high <= 1:
            raise ValueError(
                f"epsilon_high is {self.epsilon_high:g}, but in loss_type 'cispo' it caps the ratio itself, which is 1 "
                f"on policy: set it above 1, or to null for {CLIPS['cispo'][1]:g}"
            )
        if self.importance_sampling_level == "sequence":
            if self.loss_type != "grpo":
                raise ValueError(
                    f"importance_sampling_level 'sequence' is GSPO, in which trajectories weigh the same, but "
                    f"loss_type is {self.loss_type!r}, in which long ones weigh more: set loss_type to grpo, or "
                    f"importance_sampling_level to token"
                )
            if self.beta > 0 and self.use_bias_correction_kl:
                raise ValueError(
                    f"use_bias_correction_kl needs the ratio of each token, but importance_sampling_level is "
                    f"'sequence' and beta {self.beta:g}: set use_bias_correction_kl to false"
                )
        return self

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
            "use_bias_correction_kl": self.beta > 0,
        }
        return tuple(name for name, has_effect in used.items() if not has_effect)

    def rate(self, step: int) -> float:
        """Return the learning rate of co-evolution step `step` (from 0): it depends on nothing else."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        left = 1.0
        if self.schedule == "linear" and self.total_steps is not None:
            left = max(0.0, 1.0 - step / self.total_steps)
        return self.learning_rate * warm * left
