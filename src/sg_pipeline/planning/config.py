"""What a plan is told: devices, and what is assumed of lengths and speed."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sg_pipeline.config.sampling import VllmConfig
from sg_pipeline.planning.devices import DEVICES, Device


class DevicesConfig(BaseModel):
    """The devices; own figures take the place of the table's.

    Attributes:
        kind: of `devices.DEVICES`.
        count: devices of this kind in one machine.
        memory_gib, float32_tflops, bfloat16_tflops, bandwidth_gb_s, link_gb_s: see `devices.Device`; None: the table's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["h200", "h100", "a100-80", "l40s", "rtx4090", "cpu"] = "cpu"
    count: int = Field(1, ge=1)
    memory_gib: float | None = Field(None, gt=0)
    float32_tflops: float | None = Field(None, gt=0)
    bfloat16_tflops: float | None = Field(None, gt=0)
    bandwidth_gb_s: float | None = Field(None, gt=0)
    link_gb_s: float | None = Field(None, gt=0)

    def device(self) -> Device:
        """Return one of the devices, with the figures that are given in place of the table's."""
        known = DEVICES[self.kind]
        return Device(
            kind=self.kind,
            memory_gib=self.memory_gib or known.memory_gib,
            float32=self.float32_tflops or known.float32,
            bfloat16=self.bfloat16_tflops or known.bfloat16,
            bandwidth=self.bandwidth_gb_s or known.bandwidth,
            link=self.link_gb_s or known.link,
        )


class LengthsConfig(BaseModel):
    """What is assumed of episodes where no recorded steps tell.

    Attributes:
        prompt: tokens of the first context: instructions, task, first observation.
        completion: tokens that the policy writes in a turn, on average.
        observation: tokens of every later context, the template's included.
        turns: of an episode, on average.
        spread: the longest trajectory of as many turns / the average one.
        longest_completion: the longest completion of a turn over all episodes / the average one; all wait for it.
        idle_share: trajectories without advantage, which are not computed where train.beta is 0.
        environment_ms: an environment's answer, in one worker.
        format_ms: a turn's text to tokens and back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float = Field(gt=0)
    completion: float = Field(gt=0)
    observation: float = Field(gt=0)
    turns: float = Field(ge=1)
    spread: float = Field(1.2, ge=1)
    longest_completion: float = Field(1.5, ge=1)
    idle_share: float = Field(0.0, ge=0, lt=1)
    environment_ms: float = Field(1.0, ge=0)
    format_ms: float = Field(0.2, ge=0)


class EfficiencyConfig(BaseModel):
    """What part of a device's published figures is assumed to be reached.

    Attributes:
        training: of the peak, by the operations that a training step needs, recomputation included.
        prefill: of the peak, by a forward pass over many tokens.
        decode: of the peak, by a forward pass over one token a row.
        bandwidth: of the memory's bandwidth, where that is the limit.
        layer_ms: a decoder layer's forward pass takes at least so long, however little it computes: the host has to
            start its kernels one by one.
        disk_gb_s: reading and writing checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: float = Field(gt=0, le=1)
    prefill: float = Field(gt=0, le=1)
    decode: float = Field(gt=0, le=1)
    bandwidth: float = Field(gt=0, le=1)
    layer_ms: float = Field(ge=0)
    disk_gb_s: float = Field(gt=0)


class PlanConfig(BaseModel):
    """What `kedro run --pipeline=plan` is told besides the run's own parameters.

    Attributes:
        devices: the devices.
        lengths: of episodes.
        efficiency: of devices.
        measured: whether the run's own steps, where it has some, take the place of `lengths` and of the estimated
            seconds. False where other devices are planned for than those it ran on.
        lengths_of: the run whose steps take the place of `lengths`; None: this run's.
        evaluated_games: of all evaluation splits together.
        parallel: how several devices share the work, which is the launcher's matter: replicas ("ddp",
            conf/accelerate/ddp.yaml) or shards of weights ("fsdp", conf/accelerate/fsdp2.yaml).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: DevicesConfig
    lengths: LengthsConfig
    efficiency: EfficiencyConfig
    measured: bool = True
    lengths_of: str | None = None
    evaluated_games: int = Field(400, ge=0)
    parallel: Literal["none", "ddp", "fsdp"] = "none"

    @model_validator(mode="after")
    def _devices_are_used(self) -> "PlanConfig":
        if self.devices.count > 1 and self.parallel == "none":
            raise ValueError(
                f"devices.count is {self.devices.count}, but parallel is 'none', which uses one: "
                f"set parallel to 'ddp' or 'fsdp', or devices.count to 1"
            )
        return self


class Settings(PlanConfig):
    """The plan's own section with those settings of the run that decide its arithmetic (`inputs.settings_of`).

    Attributes:
        engine: that samples; one in a process of its own ("vllm_server") takes nothing of these devices.
        vllm: of that engine, where it is one in the run's own process.
        compute: "weights" computes in the type of the weights, "bfloat16" under autocast.
        lora_rank: 0 trains all weights; otherwise adapters of this rank.
    """

    engine: Literal["transformers", "vllm", "vllm_server"] = "transformers"
    vllm: VllmConfig = Field(default_factory=lambda: VllmConfig())
    compute: Literal["weights", "bfloat16"] = "weights"
    lora_rank: int = Field(0, ge=0)


IN_THE_RUN = {
    "plan.engine": "sampling.engine",
    "plan.vllm.gpu_memory_utilization": "sampling.vllm.gpu_memory_utilization",
    "plan.vllm.dtype": "sampling.vllm.dtype",
    "plan.compute": "base_model.compute",
    "plan.lora_rank": "base_model.lora.rank",
}
"""Settings of a plan by the names that they have in the run's parameters."""
