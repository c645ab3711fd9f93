"""The sampling engine."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sg_pipeline.config.extensions import SAMPLER, check
from sg_pipeline.config.section import Section


class VllmConfig(Section):
    """Settings of a vLLM engine. The rollout sets the longest trajectory and the seeds.

    Attributes:
        dtype: of its weights and its key-value cache; "auto": bfloat16 if the policy computes in it
            (`base_model.compute`), otherwise the type of the policy's weights.
        gpu_memory_utilization: share of the GPU's memory for the engine; training has the rest. On a CPU it is only a
            check against the free memory.
        cpu_cache_gib: on a CPU, memory for cached keys and values.
        prefix_caching: a turn reuses the keys and values of earlier turns. Without it every turn processes its whole
            trajectory again.
        sleep: the server releases its GPU memory while the policy is trained, and gets new weights afterwards; ignored
            on a CPU. No result depends on it.
        adapters: how a policy's LoRA adapters are sent to the engine after each training step. merged: added to all
            weights in float32, then rounded to the engine's type. separate: alone; the base weights stay, and the
            engine adds the adapters' product while it computes. auto: merged for a float32 engine, separate for a
            shorter type, in which a merge loses small changes.
        enforce_eager: without compiled graphs: slower on a GPU, but faster to start; None: on a CPU only.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    gpu_memory_utilization: float = Field(gt=0, le=1)
    cpu_cache_gib: int = Field(ge=1)
    prefix_caching: bool
    sleep: bool
    adapters: Literal["auto", "merged", "separate"]
    enforce_eager: bool | None

    def separate(self, dtype: str) -> bool:
        """Whether an engine that computes in `dtype` gets the adapters separately."""
        return self.adapters == "separate" or (self.adapters == "auto" and dtype != "float32")


class ServerConfig(Section):
    """Address or start of a vLLM server, not part of a run's identity. Set either `url` or `executable`.

    Attributes:
        url: of a running server for this run only, "http://host:8000"; or several: rank r uses the (r mod n)th, and
            all get the new weights.
        executable: the `vllm` (or python) of an environment with vLLM: the run starts its own server.
        arguments: further arguments for that server, as of `vllm serve`.
        environment: variables for that server, in addition to those of the run.
        weights: a folder that run and servers see by the same path, to exchange weights; None: a temporary one, which
            is sufficient on one machine.
        start_s: seconds until a server that was started must be ready.
        answer_s: seconds until a turn, or an update of weights, must be answered.
    """

    url: tuple[str, ...]
    executable: str | None
    arguments: tuple[str, ...]
    environment: dict[str, str]
    weights: str | None
    start_s: float = Field(gt=0)
    answer_s: float = Field(gt=0)

    @field_validator("url", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return () if value is None else (value,) if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _addressed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [url for url in value if not url.startswith(("http://", "https://"))]:
            raise ValueError(f"{wrong[0]!r} must begin with http:// or https://, as in http://host:8000")
        return tuple(url.rstrip("/") for url in value)

    @field_validator("environment", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return {name: str(word) for name, word in value.items()} if isinstance(value, dict) else value


class SamplingConfig(Section):
    """The engine that samples the policy's turns.

    Attributes:
        engine: transformers: the policy itself, with its own key-value cache; vllm: a vLLM server with a copy of the
            weights, which are sent to it after each training step; or "package.module:make_sampler".
        vllm: settings of that server's engine.
        server: its address or start.
    """

    engine: str
    vllm: VllmConfig
    server: ServerConfig

    def unused(self) -> tuple[str, ...]:
        """Return the sections that the engine does not use, and `server`."""
        return ("server",) if self.engine == "vllm" else ("server", "vllm")

    @field_validator("engine")
    @classmethod
    def _known(cls, name: str) -> str:
        return check(SAMPLER, name)

    @model_validator(mode="after")
    def _one_server(self) -> Self:
        if self.engine == "vllm" and bool(self.server.url) == (self.server.executable is not None):
            raise ValueError(
                f"engine is 'vllm', which needs either server.url (a server that runs) or server.executable (the vllm "
                f"that this run starts), but {'both are' if self.server.url else 'neither is'} set"
            )
        return self
