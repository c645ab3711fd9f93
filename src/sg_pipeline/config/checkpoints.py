"""How a run writes its policies down, as a user sets it."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

SHARD_SIZE = "5GB"
"""Files of a checkpoint are at most so large; what is smaller is one file."""

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


class CheckpointsConfig(BaseModel):
    """Which checkpoints stay, and how they are written. No result of a run depends on it.

    The base and the final policy always stay. A checkpoint that goes leaves its manifest behind, so that a resumed run
    does not make it anew.

    Attributes:
        keep_last: so many of the latest checkpoints stay; None: all.
        best: the checkpoint that is best by this measure stays as well, and `best.json` beside the policies names it:
            "train_success" is the mean success of the training episodes since the checkpoint before it, "validation"
            success on the validation panel, which the pipeline `validation` plays (until then a checkpoint stays).
        keep_cross_checkpoint: those that the pipeline `cross_checkpoint` compares stay as well.
        max_shard_size: of a file of weights or of optimizer state, such as "5GB" or "200MB".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_last: int | None = Field(ge=1)
    best: Literal["train_success", "validation"] | None
    keep_cross_checkpoint: bool
    max_shard_size: str

    @field_validator("max_shard_size")
    @classmethod
    def _is_a_size(cls, size: str) -> str:
        if shard_bytes(size) < 1:
            raise ValueError("a size is a number above 0 with KB, MB or GB behind it, as in '5GB'")
        return size


def shard_bytes(size: str) -> int:
    """Return "5GB" in bytes; 0 for what is no size."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(KB|MB|GB)", size)
    return int(float(found[1]) * _UNITS[found[2]]) if found else 0
