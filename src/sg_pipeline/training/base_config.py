"""Which policy a run begins with."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sg_pipeline.policies.adapters import LoraConfig
from sg_pipeline.policies.compute import Compute
from sg_pipeline.policies.tiny import TinyConfig
from sg_pipeline.training.warm_start_config import WarmStartConfig


class WarmStartStage(WarmStartConfig):
    """One stage of a warm start: how it trains, and which demonstrations it sees.

    Attributes:
        noise: demonstrations differ in how often a mistake replaces the expert's action: each draws one of these.
    """

    noise: tuple[float, ...] = Field((0.0, 0.1, 0.2, 0.35), min_length=1)


class BaseModelConfig(BaseModel):
    """The base policy.

    Attributes:
        source: "checkpoint" takes a folder that this project wrote, "pretrained" any causal language model of
            transformers, "warm_start" makes the tiny policy from scratch.
        path: folder of the checkpoint, relative to the project; for "pretrained" also a hub id.
        dtype, revision, local_only: of a pretrained model; `local_only: false` allows a download.
        device: where the weights go: "cpu", or "cuda", the first GPU that the process sees.
        compute: how the policy samples and trains: "weights" in the type of its weights, "bfloat16" under autocast over
            them, "tf32" with TF32 products on CUDA. A policy is made (source "warm_start") in float32 all the same.
        lora: train adapters over frozen weights; None: train all weights.
        tiny: architecture of a warm start.
        warm_start: its stages, one after the other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["checkpoint", "pretrained", "warm_start"] = "checkpoint"
    path: str = "data/06_models/tiny-alfworld/base"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    revision: str | None = None
    local_only: bool = True
    device: str = "cpu"
    compute: Compute = "weights"
    lora: LoraConfig | None = None
    tiny: TinyConfig = Field(default_factory=TinyConfig)
    warm_start: tuple[WarmStartStage, ...] = ()

    @model_validator(mode="after")
    def _adapters_need_a_base(self) -> "BaseModelConfig":
        if self.lora is not None and self.source == "warm_start":
            raise ValueError(
                "lora trains adapters over weights that lie in a folder or on the hub, but source 'warm_start' makes "
                "them: write the policy down first (--pipeline=base_model) and name it by source 'checkpoint'"
            )
        return self

    def unused(self) -> tuple[str, ...]:
        """Return the fields that the source does not use, and where a model may be fetched from."""
        made, fetched = ("tiny", "warm_start"), ("dtype", "revision")
        others = {"checkpoint": (*fetched, *made), "pretrained": made, "warm_start": ("path", "lora", *fetched)}
        return ("local_only", *others[self.source])

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if device != "cpu" and not device.startswith("cuda"):  # a GPU by its number: see `World.device`
            raise ValueError("must be 'cpu' or 'cuda'")
        return device
