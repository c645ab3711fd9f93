"""Which engine samples, as a user sets it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class VllmConfig(BaseModel):
    """A vLLM engine in the run's own process; the longest trajectory and the seeds are the rollout's.

    Attributes:
        dtype: of its weights and its key-value cache; "auto": the policy's.
        gpu_memory_utilization: share of the GPU's memory that the engine takes, training has the rest. On a CPU only
            a check against the memory that is free.
        cpu_cache_gib: on a CPU, memory for cached keys and values.
        prefix_caching: a turn finds the keys and values of the turns before it. Without it every turn reads its whole
            trajectory again.
        enforce_eager: without compiled graphs: slower on a GPU, and a quicker start; None: on a CPU only.
        tensor_parallel_size: GPUs that share one engine, which then are processes of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    gpu_memory_utilization: float = Field(default=0.3, gt=0, le=1)
    cpu_cache_gib: int = Field(default=1, ge=1)
    prefix_caching: bool = True
    enforce_eager: bool | None = None
    tensor_parallel_size: int = Field(default=1, ge=1)


class ServerConfig(BaseModel):
    """A vLLM server that somebody else has started (docs/vllm.md says how).

    Attributes:
        base_url: where it listens.
        timeout_s: how long it may take for one turn, or for taking over new weights.
        weights_folder: a folder that this process and the server both see under the same path; new weights go through
            it. None: the system's folder for temporary files, for a server on the same machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = "http://127.0.0.1:8000"
    timeout_s: float = Field(default=300.0, gt=0)
    weights_folder: str | None = None

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/")


class SamplingConfig(BaseModel):
    """What writes the policy's turns.

    Attributes:
        engine: transformers: the policy itself, with its own key-value cache; vllm: a vLLM engine in this process;
            vllm_server: one that listens on `server.base_url`. The last two hold a copy of the weights, which is
            brought up to date after each training step.
        vllm: of the engine in this process.
        server: where the other one is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["transformers", "vllm", "vllm_server"] = "transformers"
    vllm: VllmConfig = Field(default_factory=lambda: VllmConfig())
    server: ServerConfig = Field(default_factory=lambda: ServerConfig())
