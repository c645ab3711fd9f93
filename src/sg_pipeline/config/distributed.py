"""Several processes for one run."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Strategy = Literal["ddp", "fsdp2"]


class DistributedConfig(BaseModel):
    """Settings of the processes of a run; nothing here changes a result.

    Attributes:
        ranks: required number of processes; None: any.
        strategy: "ddp": each process trains a whole model; "fsdp2": a shard of one; None: as in the launcher's
            configuration, by default "ddp".
        timeout_s: a process that waits longer for another one ends with an error. Nothing that one process does while
            the others wait may take longer, such as compiling a panel's games or the evaluation on a slow process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranks: int | None = Field(ge=1)
    strategy: Strategy | None
    timeout_s: float = Field(gt=0, allow_inf_nan=False)
