"""The base policy: the model that a run starts with, and the warm start that teaches one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sg_pipeline.config.section import Section

Compute = Literal["weights", "tf32", "bfloat16"]


class LoraConfig(Section):
    """LoRA adapters of a policy; names and meanings are PEFT's.

    Attributes:
        rank: of the product that is added to each weight matrix.
        alpha: the product is scaled by alpha / rank.
        dropout: on the adapters' input, in training. Above 0 the trained policy differs from the sampling policy:
            ratios scatter around 1 before any update, and a gap between the two is only a warning (`training.gaps`).
        target_modules: names of the linear maps with adapters; "all-linear": all except the output layer.
    """

    rank: int = Field(ge=1)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class TinyConfig(Section):
    """Architecture of the tiny policy: a small Qwen3 of transformers."""

    hidden_size: int = Field(default=128, gt=0)
    layers: int = Field(default=4, gt=0)
    heads: int = Field(default=4, gt=0)
    kv_heads: int = Field(default=1, gt=0, description="one shared head makes sampling 1.6 times as fast as four")
    head_dim: int = Field(default=32, gt=0, multiple_of=2)
    intermediate_size: int = Field(default=384, gt=0)
    max_position: int = Field(default=2048, gt=0, description="longest trajectory in tokens")
    tie_word_embeddings: bool = False
    rope_theta: float = Field(default=10000.0, gt=0)
    initializer_range: float = Field(default=0.02, gt=0)
    compositional_init: bool = Field(
        default=True, description='"mug 2" starts as the sum of a vector for "mug" and one for 2'
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> TinyConfig:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class WarmStartConfig(Section):
    """How the warm start trains.

    `guided_share` and `loss_on_noise` are used where demonstrations are made and encoded.
    """

    total_tokens: int = Field(gt=0, description="tokens to train on, including prompt and observations")
    batch_tokens: int = Field(1000, ge=16, description="tokens of an optimizer step, including padding")
    window: int = Field(128, ge=1, description="demonstrations sorted by length together")
    learning_rate: float = Field(3e-3, gt=0, description="of AdamW, at its highest")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_share: float = Field(0.03, ge=0, lt=1, description="share of total_tokens over which the rate rises")
    final_share: float = Field(0.02, ge=0, le=1, description="share of learning_rate at the end")
    weight_decay: float = Field(0.01, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="of AdamW")
    adam_beta2: float = Field(0.98, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    loss_on_noise: bool = Field(False, description="also imitate mistakes that are made on purpose")
    guided_share: float = Field(0.5, ge=0, le=1, description="share of demonstrations with guidance")
    report_tokens: int = Field(200_000, gt=0, description="tokens between two calls of the callback")
    seed: int = 0

    def rate(self, tokens: int) -> float:
        """Return the learning rate after `tokens` trained tokens."""
        warmup = self.warmup_share * self.total_tokens
        # The rate of the first step must be above 0: it is that at the end of its batch.
        reached = tokens + self.batch_tokens
        if reached < warmup:
            return self.learning_rate * reached / warmup
        done = min(1.0, (tokens - warmup) / max(1.0, self.total_tokens - warmup))
        fall = {"cosine": 0.5 * (1 + math.cos(math.pi * max(0.0, done))), "linear": 1 - max(0.0, done), "constant": 1.0}
        return self.learning_rate * (self.final_share + (1 - self.final_share) * fall[self.schedule])


class WarmStartStage(WarmStartConfig):
    """One stage of a warm start: its training, its demonstrations, and how its progress is measured.

    Attributes:
        noise: approximate shares of turns in which a mistake replaces the expert's plan and action; each demonstration
            draws one of them.
        mixed_wording: half of the demonstrations are in the benchmark's other wording (ALFWorld: data version 2.1.1).
        parts: nodes of the graph, each of which ends with a checkpoint, from which a killed run resumes.
        held_out: demonstrations that are not trained on, for the loss after each part.
        validate_every: parts after which the policy plays the games of the section `validation`; 0: never.
    """

    noise: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field((0.0, 0.1, 0.2, 0.35), min_length=1)
    mixed_wording: bool = False
    parts: int = Field(1, ge=1)
    held_out: int = Field(64, ge=1)
    validate_every: int = Field(0, ge=0)

    def tokens_after(self, part: int) -> int:
        """Return how many tokens have been trained on after `part` of the `parts`."""
        return self.total_tokens * part // self.parts


class BaseModelConfig(Section):
    """The base policy.

    Attributes:
        source: "checkpoint": a folder that this project wrote; "pretrained": any causal language model of transformers;
            "warm_start": imitate the benchmark's expert, beginning with what `start` names.
        start: of a warm start: "tiny", a new tiny policy; or "checkpoint" or "pretrained", as for `source`.
        path: folder of the checkpoint, relative to the project; for "pretrained" also a hub id or a GGUF file, which
            may be in an installed package ("package:NAME/FILE").
        dtype, revision, local_only: of a pretrained model; `local_only: false` allows a download.
        device: of the weights: "cpu", or "cuda", the first GPU that the process sees.
        compute: precision of sampling and training: "weights": the type of the weights; "bfloat16": autocast; "tf32":
            TF32 products on CUDA.
        lora: train adapters over frozen weights; None: train all weights.
        tiny: architecture of a new tiny policy.
        warm_start: its stages, in order.
    """

    source: Literal["checkpoint", "pretrained", "warm_start"]
    start: Literal["tiny", "checkpoint", "pretrained"]
    path: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    revision: str | None = None
    local_only: bool = True
    device: str = "cpu"
    compute: Compute = "weights"
    lora: LoraConfig | None = None
    tiny: TinyConfig = Field(default_factory=TinyConfig)
    warm_start: tuple[WarmStartStage, ...]

    @model_validator(mode="after")
    def _adapters_need_a_base(self) -> BaseModelConfig:
        if self.source == "warm_start" and not self.warm_start:
            raise ValueError("source is 'warm_start', but warm_start lists no stage; conf/base has a recipe")
        if self.lora is not None and self.loads == "tiny":
            raise ValueError(
                "lora trains adapters of weights in a folder or on the hub, but start 'tiny' makes new weights: make "
                "the policy first (--pipeline=base_model), then set source 'checkpoint'"
            )
        return self

    @property
    def loads(self) -> Literal["tiny", "checkpoint", "pretrained"]:
        """What a run begins with, before a warm start."""
        return self.start if self.source == "warm_start" else self.source

    def unused(self) -> tuple[str, ...]:
        """Return the fields that the source does not use, and `local_only`."""
        fetched = ("dtype", "revision")
        others = {"checkpoint": (*fetched, "tiny"), "pretrained": ("tiny",), "tiny": ("path", "lora", *fetched)}
        imitates = () if self.source == "warm_start" else ("start", "warm_start")
        return ("local_only", *others[self.loads], *imitates)

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if device != "cpu" and not device.startswith("cuda"):  # for a GPU with an index see `World.device`
            raise ValueError("must be 'cpu' or 'cuda'")
        return device
