"""The processes that share a run."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Strategy = Literal["ddp", "fsdp2"]


class DistributedConfig(BaseModel):
    """What a launcher's processes agree on; nothing here changes a result.

    Attributes:
        ranks: how many processes share the run; another number is refused. None: as many as the launcher has started.
        strategy: "ddp", each process trains a whole model, or "fsdp2", a part of one; None: as the launcher's
            configuration says, and "ddp" where it says nothing.
        timeout_s: a process that waits longer for another one gives up. No part that one process does while the others
            wait may take longer: compiling a panel's games, an evaluation's share of a slow process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranks: int | None = Field(ge=1)
    strategy: Strategy | None
    timeout_s: float = Field(gt=0, allow_inf_nan=False)
