"""Which engine samples, as a user sets it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class VllmConfig(BaseModel):
    """A vLLM engine in the run's own process; the longest trajectory and the seeds are the rollout's.

    Attributes:
        dtype: of its weights and its key-value cache; "auto": the policy's.
        gpu_memory_utilization: share of the GPU's memory that the engine takes, training has the rest. On a CPU only
            a check against the memory that is free.
        cpu_cache_gib: on a CPU, memory for cached keys and values.
        prefix_caching: a turn finds the keys and values of the turns before it. Without it every turn reads its whole
            trajectory again.
        adapters: how a policy's LoRA adapters come to the engine after each training step: merged into all weights, or
            separate, alone: the base weights stay, and the engine adds what the adapters say while it computes.
        enforce_eager: without compiled graphs: slower on a GPU, and a quicker start; None: on a CPU only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    gpu_memory_utilization: float = Field(default=0.3, gt=0, le=1)
    cpu_cache_gib: int = Field(default=1, ge=1)
    prefix_caching: bool = True
    adapters: Literal["merged", "separate"] = "merged"
    enforce_eager: bool | None = None


class SamplingConfig(BaseModel):
    """What writes the policy's turns.

    Attributes:
        engine: transformers: the policy itself, with its own key-value cache; vllm: a vLLM engine in this process,
            which holds a copy of the weights that is brought up to date after each training step.
        vllm: of that engine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["transformers", "vllm"] = "transformers"
    vllm: VllmConfig = Field(default_factory=lambda: VllmConfig())
