"""Checkpoints of a run."""

import re
from typing import Literal

from pydantic import Field, field_validator

from sg_pipeline.config.section import Section

SHARD_SIZE = "5GB"
"""Default maximum size of a file of a checkpoint."""

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


class CheckpointsConfig(Section):
    """Which checkpoints are kept, and how they are written. No result of a run depends on it.

    The base and the final policy are always kept. The manifest of a pruned checkpoint stays, so that a resumed run does
    not make it again.

    Attributes:
        keep_last: number of latest checkpoints to keep; None: all.
        best: the best checkpoint by this measure is also kept, and `best.json` next to the policies names it:
            "train_success": mean success of the training episodes since the previous checkpoint; "validation": success
            on the validation panel, which the pipeline `validation` plays (until then a checkpoint is kept).
        keep_cross_checkpoint: also keep those that the pipeline `cross_checkpoint` compares.
        max_shard_size: of a file of weights or of optimizer state, such as "5GB" or "200MB".
    """

    keep_last: int | None = Field(ge=1)
    best: Literal["train_success", "validation"] | None
    keep_cross_checkpoint: bool
    max_shard_size: str

    @field_validator("max_shard_size")
    @classmethod
    def _is_a_size(cls, size: str) -> str:
        if shard_bytes(size) < 1:
            raise ValueError("a size must be a number above 0 followed by KB, MB or GB, as in '5GB'")
        return size


def shard_bytes(size: str) -> int:
    """Return the bytes of a size such as "5GB"; 0 if it is invalid."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(KB|MB|GB)", size)
    return int(float(found[1]) * _UNITS[found[2]]) if found else 0
